"""Known faults, what the metrics notice of them, and how scores depend on n."""
import numpy as np
import pytest
import torch
from toys import toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError, LeakageError, SchemaError
from synthkit.metrics.corruptions import Blur, Copies, Corruption, LabelShuffling, ModeDropping, Noise
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.neighbours import Coverage
from synthkit.metrics.sensitivity import sensitivity
from synthkit.metrics.size_curve import size_curve

REAL, TRAIN, OTHER, FAKE = (toy_cohort(240, seed=seed, prefix=name) for seed, name in enumerate(("real", "train", "other", "fake"), start=1))
FAULTS = [Blur(), Noise(), Copies(), ModeDropping("lesion", "present"), LabelShuffling()]


def grain(images: torch.Tensor) -> torch.Tensor:
    """Mean and pixel scatter of each image, and of its neighbours' differences: what tells brightness, noise and blur."""
    return torch.stack([images.mean((1, 2, 3)), images.std((1, 2, 3)), images.diff(dim=-1).std((1, 2, 3))], 1)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_no_degree_of_a_fault_changes_nothing_and_each_repeats(fault: Corruption):
    none = fault.apply(REAL, 0.0, seed=0)
    rows = none.table["image_id"].map({name: row for row, name in enumerate(REAL.table["image_id"])}).to_numpy()
    assert torch.equal(none.images.tensor(), REAL.images.tensor(rows)) and none.table["lesion"].tolist() == REAL.table["lesion"].iloc[rows].tolist()
    first, again = (fault.apply(REAL, fault.degrees[-1], seed=3) for _ in range(2))
    assert torch.equal(first.images.tensor(), again.images.tensor()) and first.table.equals(again.table)
    assert {len(fault.apply(REAL, degree, seed=0)) for degree in fault.degrees} == {len(none)}, "n stays the same, so that scores may be compared"


def test_a_blur_and_noise_are_as_strong_as_they_say():
    dot = torch.full((1, 1, 31, 31), -1.0)
    dot[0, 0, 15, 15] = 1
    one = Cohort.of(REAL.space.to_raw(dot), REAL.table[:1], schema=REAL.schema, space=toy_cohort(1, size=(31, 31)).space, provenance=REAL.provenance)
    blurred = Blur().apply(one, 2.0, seed=0).images[0][0] + 1
    place = torch.arange(31) - 15.0
    assert float((blurred.sum(0) * place**2).sum() / blurred.sum()) == pytest.approx(4, rel=0.02)
    grey = Cohort.of(REAL.space.to_raw(torch.zeros(40, 1, 16, 16)), REAL.table[:40], schema=REAL.schema, space=REAL.space, provenance=REAL.provenance)
    assert float(Noise().apply(grey, 0.05, seed=0).images.tensor().std()) == pytest.approx(0.1, rel=0.03), "5 % of a window 2 wide"


def test_modes_copies_and_labels_are_as_the_degree_says():
    present = [(ModeDropping("lesion", "present").apply(REAL, degree, seed=0).table["lesion"] == "present").mean() for degree in (0, 0.5, 1)]
    assert present[0] == pytest.approx(0.5, abs=0.1) and present[1] < present[0] and present[2] == 0
    copied = Copies().apply(REAL, 0.5, seed=0)
    assert len(copied) == 240 and len(np.unique(copied.images.raw().reshape(240, -1), axis=0)) == 120 and copied.table["image_id"].is_unique
    shuffled = LabelShuffling().apply(REAL, 1.0, seed=0).table
    assert (shuffled["image_id"] == REAL.table["image_id"]).all() and sorted(shuffled["lesion"]) == sorted(REAL.table["lesion"])
    assert 0.3 < (shuffled["lesion"] == REAL.table["lesion"]).mean() < 0.7
    with pytest.raises(DataError, match="lesion: 0 of 240 images are 'mild'"):
        ModeDropping("lesion", "mild").apply(REAL, 0.5, seed=0)


def test_each_metric_sees_the_faults_that_it_can_see():
    study = sensitivity(REAL, train=TRAIN, factor="lesion", metrics=[KID(), Coverage()], extractor=grain, splits=4)
    level = REAL.table["lesion"].value_counts().idxmin()
    last = study.frame().groupby(["corruption", "metric"])["z"].last().unstack()
    assert set(last.columns) == {"KID", "Coverage", "KID within lesion", "Adherence AUC of lesion"}
    assert (last.loc[["Blur", "Noise", ModeDropping("lesion", level).name], "KID"] > 3).all()
    assert last.loc["LabelShuffling", "Adherence AUC of lesion"] > 3 and last.loc["LabelShuffling", "KID within lesion"] > 3
    assert abs(last.loc["LabelShuffling", "KID"]) < 1e-9, "a distance without labels cannot see them shuffled"
    assert last.loc["Copies", "Coverage"] > 3
    none = study.frame().query("degree == 0")
    assert none["z"].abs().max() < 1e-9 and (none["value"] == none["floor"]).all()
    seen = study.seen().set_index("metric")
    assert seen.loc["KID", "LabelShuffling"] == "" and seen.loc["Adherence AUC of lesion", "LabelShuffling"] in LabelShuffling.degrees
    assert len(study.figure().data) >= 4 * 5 and study.caveats()


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"real": REAL[:30]}, DataError, "30 images cannot show what a metric notices"),
        ({"splits": 2}, DataError, "splits=2 cannot show"),
        ({"factor": "age"}, SchemaError, "age is not a category of which two levels occur"),
        ({"train": REAL[:50]}, LeakageError, "both real and train"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, kind, message):
    with pytest.raises(kind, match=message):
        sensitivity(**{"real": REAL, "extractor": grain, **change})


def test_the_frechet_distance_falls_with_n_and_kid_does_not():
    fake = {"same": toy_cohort(240, seed=5, prefix="s")}
    study = size_curve(real=REAL, other=OTHER, fake=fake, train=TRAIN, sizes=(15, 60, 240), extractor=grain, draws=20)
    table = study.frame().pivot_table(index="n", columns=["metric", "compared"], values="value")
    for compared in ("same", "real against real"):
        frechet = table[("FrechetDistance", compared)]
        assert frechet[15] > 2 * frechet[60] > 0, "biased by about 1/n"
    wide = study.frame().query("metric == 'KID' and n == 15")
    assert (wide["low"] < 0).all() and (wide["high"] > 0).all() and set(study.frame()["draws"]) == {20}
    expected = FrechetDistance().compute(grain(REAL.images.tensor()), grain(OTHER.images.tensor()))
    assert table[("FrechetDistance", "real against real")][240] == pytest.approx(expected, rel=1e-6), "all images: one value"
    assert len(study.figure().data) == 8


@pytest.mark.parametrize("sizes", [(), (5,), (50, 500)])
def test_sizes_beyond_the_cohorts_are_refused(sizes):
    with pytest.raises(DataError, match="must lie between 12 and 240, the number of images of 'real'"):
        size_curve(real=REAL, other=OTHER, fake=FAKE, train=TRAIN, sizes=sizes, extractor=grain)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"fake": {"real": TRAIN}}, DataError, "fake: give a cohort, or several by names of their own, got \\['real'\\]"),
        ({"fake": {}}, DataError, "fake: give a cohort"),
        ({"fake": toy_cohort(240, size=(8, 8))}, DataError, r"sizes \(16, 16\) and \(8, 8\)"),
        ({"draws": 2}, DataError, "draws=2 have no scatter"),
        ({"other": REAL[:50]}, LeakageError, "both real and other"),
    ],
)
def test_curves_that_would_mislead_are_refused(change, kind, message):
    with pytest.raises(kind, match=message):
        size_curve(**{"real": REAL, "other": OTHER, "fake": FAKE, "train": TRAIN, "extractor": grain, **change})


def test_sizes_left_out_are_those_that_fit():
    study = size_curve(real=REAL, other=OTHER, fake=FAKE[:60], train=TRAIN, metrics=[KID()], extractor=grain, draws=3)
    assert sorted(set(study.frame()["n"])) == [25, 50] and "range of single subsets" in study.caveats()[0]
