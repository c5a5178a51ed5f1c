"""evaluate: who may be compared with whom, and what stands beside each score."""
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.result import SCORE_COLUMNS
from synthkit.core.schema import Category, Schema
from synthkit.core.space import Channel
from synthkit.errors import DataError, LeakageError, SchemaError
from synthkit.metrics import encoder
from synthkit.metrics.comparison import Comparison
from synthkit.metrics.defaults import OF_FEATURES, OF_IMAGES, default_metrics
from synthkit.metrics.encoder import trained_encoder
from synthkit.metrics.evaluate import evaluate
from synthkit.metrics.features import Features
from synthkit.metrics.frechet import FrechetDistance, FrechetInfinity
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import ImageMetric
from synthkit.metrics.neighbours import Coverage
from synthkit.metrics.similarity import MSSSIM
from synthkit.metrics.two_sample import C2ST
from synthkit.metrics.vendi import Vendi
from synthkit.phantoms.chest import ChestPhantom
from synthkit.tasks.predictor import Predictor


def eyes(images: torch.Tensor) -> torch.Tensor:
    """Means of the four quarters of an image."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def spoilt(cohort: Cohort, amount: float) -> Cohort:
    images = cohort.images.tensor() + amount * torch.linspace(0, 1, 16)
    return Cohort.of(cohort.space.to_raw(images), cohort.table, schema=SCHEMA, space=cohort.space, provenance=Provenance("synthetic", "spoilt toy"))


REAL, TRAIN, JUDGE, FAKE = (toy_cohort(60, seed=seed, prefix=name) for seed, name in enumerate(("real", "train", "judge", "fake")))


class Brightness(torch.nn.Module):
    """A perfect judge of the toy: the mean pixel is the logit of `present`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1, keepdim=True)
        return torch.cat([-mean, mean], 1)


def test_scores_carry_value_interval_n_floor_and_extractor():
    scores = evaluate(real=REAL, fake=FAKE, train=TRAIN, extractor=eyes).frame()
    assert list(scores.columns) == list(SCORE_COLUMNS) and scores["metric"].tolist() == [metric.name for metric in (*OF_FEATURES, *OF_IMAGES)]
    assert (scores["low"] <= scores["value"]).all() and (scores["value"] <= scores["high"]).all()
    assert (scores["n_real"] == 60).all() and (scores["n_fake"] == 60).all() and scores["floor"].notna().all()
    own = [metric.origin for metric in OF_IMAGES]
    assert scores["extractor"].tolist() == ["eyes"] * len(OF_FEATURES) + own and scores["group"].unique().tolist() == ["all"]
    expected = KID().compute(eyes(REAL.images.tensor()), eyes(TRAIN.images.tensor()))
    assert scores.set_index("metric").loc["KID", "floor"] == pytest.approx(expected, rel=1e-5)


def test_scores_repeat_and_a_bounded_one_stays_in_its_bounds():
    first, again = (evaluate(real=REAL, fake=spoilt(FAKE, 3), extractor=eyes, seed=3).frame() for _ in range(2))
    assert first.equals(again)
    share = first.set_index("metric").loc["Coverage"]
    assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1


def test_distances_grow_with_corruption_and_leave_the_floor():
    frames = [evaluate(real=REAL, fake=spoilt(FAKE, amount), train=TRAIN, extractor=eyes).frame().set_index("metric") for amount in (0, 0.3, 0.8)]
    for metric in ("KID", "FrechetDistance"):
        values = [frame.loc[metric, "value"] for frame in frames]
        assert values == sorted(values) and frames[2].loc[metric, "low"] > frames[2].loc[metric, "floor"]
    assert frames[0].loc["Coverage", "value"] > frames[2].loc["Coverage", "value"]


@pytest.mark.parametrize("metric", [KID(), FrechetDistance(), Coverage()], ids=lambda metric: metric.name)
def test_intervals_are_as_wide_as_fresh_draws_scatter(metric):
    units = {name: np.arange(80) for name in ("real", "fake", "other")}
    comparison = Comparison.of(units, units, seed=0)

    def draw(seed: int) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(seed)
        return {name: torch.from_numpy(rng.normal(shift, 1, (80, 4))) for name, shift in (("real", 0), ("fake", 0.5), ("other", 0))}

    draws = [draw(seed) for seed in range(80)]
    for value, low, high, other in (("value", "low", "high", "fake"), ("floor", "floor_low", "floor_high", "other")):
        scatter = np.std([metric.compute(d["real"], d[other]) for d in draws])
        rows = [comparison.row(metric, sets, seed=seed) for seed, sets in enumerate(draws[:12])]
        assert np.mean([row[high] - row[low] for row in rows]) == pytest.approx(2 * 1.96 * scatter, rel=0.6)
        assert all(row[low] <= row[value] <= row[high] for row in rows)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({"train": REAL[:30]}, "both real and train"),
        ({"judge": REAL[:30]}, "both real and judge"),
        ({"train": TRAIN, "judge": TRAIN[:20]}, "both train and judge"),
    ],
)
def test_a_patient_on_two_sides_is_refused(sets, message):
    with pytest.raises(LeakageError, match=message):
        evaluate(real=REAL, fake=FAKE, extractor=eyes, **sets)


def test_a_judge_that_was_trained_on_the_test_patients_is_refused():
    judge = Predictor(Brightness(), SCHEMA.only(("lesion",)), REAL.space, frozenset(REAL.table["patient_id"]))
    with pytest.raises(LeakageError, match="split by patient before fitting"):
        evaluate(real=REAL, fake=FAKE, judge=judge, extractor=eyes)


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(DataError, match=r"real and the fake images do not fit together: sizes \(16, 16\) and \(8, 8\)"):
        evaluate(real=REAL, fake=toy_cohort(20, size=(8, 8)), extractor=eyes)
    with pytest.raises(DataError, match="fake: 5 images are too few to score; give at least 12"):
        evaluate(real=REAL, fake=FAKE[:5], extractor=eyes)
    with pytest.raises(SchemaError, match="unknown factor 'ward'"):
        evaluate(real=REAL, fake=FAKE, by=["ward"], extractor=eyes)


def test_small_and_lone_cohorts_carry_their_caveats():
    notes = "\n".join(evaluate(real=REAL, fake=FAKE, extractor=eyes).caveats())
    assert "fewer than 100 images a side: all (n = 60)" in notes and "two halves of the real one" in notes and "not assessed" in notes
    large = "\n".join(evaluate(real=toy_cohort(100, prefix="a"), fake=toy_cohort(100, prefix="b"), train=toy_cohort(100, prefix="c"), extractor=eyes).caveats())
    assert "fewer than 100" not in large and "halves" not in large


def test_all_sets_are_cut_to_the_same_n():
    scores = evaluate(real=REAL[:40], fake=FAKE, train=TRAIN[:30], extractor=eyes).frame()
    assert (scores["n_real"] == 30).all() and (scores["n_fake"] == 30).all()


def test_groups_are_scored_apart_and_small_ones_left_out_aloud():
    by_sex = evaluate(real=REAL, fake=FAKE, by=["sex", "age"], extractor=eyes, metrics=[KID()])
    frame = by_sex.frame().set_index("group")
    assert {"all", "sex=F", "sex=M", "age=40-65"} <= set(frame.index)
    members = [c.images.tensor()[c.table["sex"].eq("F").tolist()] for c in (REAL, FAKE)]
    if len(members[0]) == len(members[1]):
        assert frame.loc["sex=F", "value"] == pytest.approx(KID().compute(*map(eyes, members)), rel=1e-5)
    few = REAL[np.flatnonzero((REAL.table["sex"] == "F") | (np.arange(60) < 10))]
    notes = evaluate(real=few, fake=FAKE, by=["sex"], extractor=eyes).caveats()
    assert any(note.startswith("sex=M: no score is given, real has ") for note in notes)


def test_a_class_that_one_side_lacks_is_said():
    without = FAKE[np.flatnonzero(FAKE.table["lesion"] == "absent")]
    scores = evaluate(real=REAL, fake=without, by="lesion", extractor=eyes, metrics=[KID()])
    assert scores.frame()["group"].tolist() == ["all", "lesion=absent"]
    assert "lesion=present: no score is given, fake has 0 of these images and at least 12 are needed." in scores.caveats()


def test_a_score_is_read_against_its_floor():
    sets = {name: toy_cohort(120, seed=seed, prefix=name) for seed, name in enumerate(("real", "train", "fake"))}
    sets["spoilt"] = spoilt(sets["fake"], 0.8)
    readings = {}
    for name in ("fake", "spoilt"):
        three = [KID(), FrechetDistance(), Coverage()]
        scores = evaluate(real=sets["real"], fake=sets[name], train=sets["train"], metrics=three, extractor=eyes).frame().set_index("metric")
        readings[name] = scores["reading"].to_dict()
        assert (scores["floor_low"] <= scores["floor"]).all() and (scores["floor"] <= scores["floor_high"]).all()
    assert set(readings["fake"].values()) == {"not told apart from real"}
    assert set(readings["spoilt"].values()) == {"further than real from real"}
    small = evaluate(real=REAL, fake=FAKE, train=TRAIN, extractor=eyes).frame()
    assert small["reading"].str.endswith("n < 100: rough").all()
    lone = evaluate(real=sets["real"], fake=sets["fake"], metrics=[KID(), Coverage()], extractor=eyes).frame()
    assert (lone["reading"] == "").all(), "the floor of two halves has another n"


def test_the_floor_is_taken_from_patients_whom_the_encoder_has_not_learnt_from(tmp_path, monkeypatch):
    """Three draws of one law: against patients that the encoder knows by heart the floor would stand apart from the value."""
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(trained_encoder, "__kwdefaults__", {"steps": 60})
    sets = {name: toy_cohort(120, seed=seed, prefix=name) for seed, name in enumerate(("real", "train", "fake", "judge"))}
    taught: list[set[str]] = []
    monkeypatch.setattr(encoder, "_train", lambda learner, cohort, steps: taught.append(set(cohort.table["patient_id"])))
    halved = evaluate(real=sets["real"], fake=sets["fake"], train=sets["train"], metrics=[C2ST()]).frame().iloc[0]
    assert len(taught[0]) == 60 and halved["n_real"] == 60 and halved["reading"] == "not told apart from real; n < 100: rough"
    judged = evaluate(real=sets["real"], fake=sets["fake"], train=sets["train"], judge=sets["judge"], metrics=[C2ST()])
    assert len(taught[1]) == 120 and judged.frame()["n_real"].iloc[0] == 120


def test_the_rows_order_decides_nothing():
    order = np.random.default_rng(0).permutation(60)
    first, again = (evaluate(real=real, fake=fake, train=TRAIN, extractor=eyes, metrics=[KID(), Vendi()]).frame()
                    for real, fake in ((REAL[:50], FAKE), (REAL[:50][np.arange(50)[::-1]], FAKE[order])))  # fmt: skip
    assert first.equals(again)


def test_copies_of_real_patients_other_spacing_and_many_images_of_few_patients_are_said():
    notes = "\n".join(evaluate(real=REAL, fake=REAL, train=TRAIN, extractor=eyes, metrics=[KID()]).caveats())
    assert "60 patient(s) stand in fake and in real" in notes
    few = toy_cohort(60, per_patient=6, prefix="few")
    assert "The 60 real images are of 10 patients" in "\n".join(evaluate(real=few, fake=FAKE, extractor=eyes, metrics=[KID()]).caveats())
    wide, narrow = (Cohort(c.images.to_space(replace(c.space, spacing_mm=(mm, mm))), c.table, SCHEMA, c.provenance) for c, mm in ((REAL, 1.0), (FAKE, 3.0)))
    assert "of different sizes (real 1 x 1 mm, fake 3 x 3 mm)" in "\n".join(evaluate(real=wide, fake=narrow, extractor=eyes, metrics=[KID()]).caveats())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": [KID]}, "is no metric; give objects such as"),
        ({"metrics": ["KID"]}, "'KID' is no metric"),
        ({"metrics": [KID(), KID()]}, "metrics: two are called 'KID'"),
        ({"metrics": []}, "metrics: the list is empty"),
        ({"extractor": []}, "extractors: the list is empty"),
        ({"extractor": [eyes, eyes]}, "extractors: two are called 'eyes'"),
        ({"judge": "phantom"}, "judge: a cohort, a fitted predictor or a phantom is needed, got str"),
        ({"fake": torch.zeros(3)}, "fake: a cohort is needed, got Tensor"),
        ({"judge": ChestPhantom(size=32)}, r"the judge reads other images than the real ones: sizes \(16, 16\) and \(32, 32\)"),
        ({"extractor": lambda x: torch.ones(len(x), 3)}, "one and the same features for all images"),
    ],
)
def test_what_is_no_question_is_refused(change, message):
    with pytest.raises(DataError, match=message):
        evaluate(**{"real": REAL, "fake": FAKE, "extractor": eyes, **change})


def test_one_metric_needs_no_list():
    assert evaluate(real=REAL, fake=FAKE, metrics=KID(), extractor=eyes).frame()["metric"].tolist() == ["KID"]


def test_small_images_are_scored_by_what_fits_them_and_few_rows_say_what_is_missing():
    names = [metric.name for metric in default_metrics(replace(REAL.space, size=(9, 9)))]
    assert names[-3:] == ["SpectrumDistance", "HistogramDistance", "FrechetRadiomicsDistance"]
    few = evaluate(real=REAL, fake=FAKE, train=TRAIN, extractor=lambda x: x.flatten(1)[:, :20], metrics=[FrechetInfinity()]).frame().iloc[0]
    assert few["reading"] == "needs n >= 110" and np.isnan(few["value"])


def test_diversity_is_read_as_lower_or_higher_than_real():
    same = Cohort.of(REAL.images.raw([0] * 60), FAKE.table, schema=SCHEMA, space=REAL.space, provenance=Provenance("synthetic", "one image"))
    rows = evaluate(real=REAL, fake=same, train=TRAIN, metrics=[Vendi(), MSSSIM()], extractor=eyes).frame().set_index("metric")
    assert rows.loc["Vendi", "reading"].startswith("lower than real") and rows.loc["MSSSIM", "reading"].startswith("higher than real")
    assert rows.loc["Vendi", "value"] == pytest.approx(1) and rows.loc["MSSSIM", "value"] == pytest.approx(1)


def test_volumes_in_two_channels_are_scored_by_everything(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(trained_encoder, "__kwdefaults__", {"steps": 2})

    def scans(seed: int, name: str, shift: float = 0.0) -> Cohort:
        one = toy_cohort(24 if name == "t" else 12, size=(11, 12, 13), seed=seed, prefix=name)
        space = replace(one.space, channels=(Channel("T1", high=65535), Channel("T2", high=65535)))
        images = one.images.tensor()
        return Cohort.of(space.to_raw(torch.cat([images, -images + shift], 1)), one.table, schema=SCHEMA, space=space, provenance=one.provenance)

    frame = evaluate(real=scans(0, "r"), fake=scans(1, "f", 0.4), train=scans(2, "t")).frame()
    assert len(frame) == len(OF_FEATURES) + len(OF_IMAGES) and frame["value"].notna().all()
    rows = frame.set_index("metric")
    assert rows.loc["HistogramDistance", "value"] == pytest.approx(0.1, abs=0.03), "half of the channels moved by a fifth of the window"
    assert rows.loc["FrechetRadiomicsDistance", "value"] > 1.2 * rows.loc["FrechetRadiomicsDistance", "floor"]


def test_a_window_in_physical_units_must_be_the_same():
    def scan(low: float, high: float) -> Cohort:
        space = replace(REAL.space, channels=(Channel("CT", low=low, high=high, unit="HU"),))
        return Cohort.of(space.to_raw(REAL.images.tensor()), REAL.table, schema=SCHEMA, space=space, provenance=Provenance("real", "scan"))

    with pytest.raises(DataError, match=r"windows of CT -1000..400 HU and -160..240 HU; load both with the same size=, channels and window="):
        evaluate(real=scan(-1000, 400), fake=scan(-160, 240), extractor=eyes)


@dataclass(frozen=True)
class Brightest(ImageMetric):
    """Difference of the mean brightest pixels."""

    better = "lower"
    origin = "brightest pixel"

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(2).amax(2)[..., None, None]

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        assert real.shape[1:] == fake.shape[1:] == (1, 1, 1)
        return float((real.mean() - fake.mean()).abs())


def test_each_metric_is_taken_with_each_eye_and_image_metrics_with_their_own():
    both = [eyes, Features("means", lambda x: x.mean((2, 3)))]
    scores = evaluate(real=REAL, fake=spoilt(FAKE, 0.3), train=TRAIN, metrics=[KID(), Brightest(), Coverage()], extractor=both).frame()
    assert list(zip(scores["metric"], scores["extractor"])) == [
        ("KID", "eyes"), ("Coverage", "eyes"), ("KID", "means"), ("Coverage", "means"), ("Brightest", "brightest pixel")
    ]  # fmt: skip
    seen = scores.set_index("metric").loc["Brightest"]
    assert seen["value"] == pytest.approx(Brightest().compute(REAL.images.tensor(), spoilt(FAKE, 0.3).images.tensor())) and seen["value"] > seen["floor_high"]


@pytest.mark.parametrize("wrong", [lambda x: x.mean(), lambda x: x[:1], lambda x: "features"])
def test_an_extractor_that_gives_no_features_is_refused(wrong):
    with pytest.raises(DataError, match=r"must turn 60 images into a tensor \(60, d\) of features, it gave"):
        evaluate(real=REAL, fake=FAKE, extractor=wrong)


def test_a_perfect_judge_finds_obedient_images_obedient_and_deaf_ones_deaf():
    judge = Predictor.of(Brightness(), SCHEMA["lesion"], REAL)
    rows = evaluate(real=REAL, fake=FAKE, judge=judge, extractor=eyes).frame().set_index("metric")
    assert rows.loc["Adherence AUC", ["value", "floor", "n_fake"]].tolist() == [1, 1, 60]
    shuffled = FAKE.table.assign(lesion=FAKE.table["lesion"].sample(frac=1, random_state=1).to_numpy(), diameter=np.nan)
    deaf = Cohort(FAKE.images, shuffled, SCHEMA, Provenance("synthetic", "deaf"))
    seen = evaluate(real=REAL, fake=deaf, judge=judge, extractor=eyes).frame().set_index("metric").loc["Adherence AUC"]
    assert seen["value"] < 0.75 and seen["low"] < 0.5 < seen["high"] and seen["floor"] == 1


def test_a_factor_of_one_value_is_said_not_to_be_judged():
    judge = Predictor.of(Brightness(), SCHEMA["lesion"], REAL)
    scores = evaluate(real=REAL, fake=FAKE.where("lesion == 'present'"), judge=judge, extractor=eyes, metrics=KID())
    assert "Adherence is not assessed for lesion: only one value was asked for." in scores.caveats()


def test_a_level_of_few_images_is_not_judged():
    present = np.flatnonzero(FAKE.table["lesion"] == "present")
    few = FAKE[np.sort(np.concatenate([np.flatnonzero(FAKE.table["lesion"] == "absent"), present[:4]]))]
    scores = evaluate(real=REAL, fake=few, judge=Predictor.of(Brightness(), SCHEMA["lesion"], REAL), extractor=eyes, metrics=[KID()])
    assert scores.frame()["metric"].tolist() == ["KID"]
    assert "Adherence is not assessed for lesion: a level has fewer than 5 real or synthetic images." in scores.caveats()


def test_a_judge_of_a_factor_that_the_synthetic_table_lacks_is_refused():
    judge = Predictor.of(Brightness(), Category("ward", ("A", "B")), REAL)
    with pytest.raises(SchemaError, match="the judge predicts ward"):
        evaluate(real=REAL, fake=FAKE, judge=judge, extractor=eyes)


@pytest.mark.parametrize(
    ("extractor", "name"),
    [(torch.nn.Flatten(), "Flatten"), (eyes, "eyes"), (Features("mine", lambda x: x.mean((2, 3))), "mine"), (lambda x: x[..., ::4].half(), "<lambda>")],
)
def test_any_callable_may_be_the_extractor(extractor, name):
    scores = evaluate(real=REAL, fake=FAKE, extractor=extractor, metrics=[Coverage()]).frame()
    assert scores["extractor"].tolist() == [name] and 0 < scores["value"][0] <= 1


def test_the_built_in_encoder_is_trained_once_and_then_read_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    first = trained_encoder(TRAIN[:20], steps=3)
    (path,) = (tmp_path / "encoders").glob("*.safetensors")
    monkeypatch.setattr(encoder, "_train", lambda *a: pytest.fail("the cached encoder was not used"))
    again = trained_encoder(TRAIN[:20], steps=3)
    assert again.name == first.name and torch.equal(again.of(REAL), first.of(REAL))
    own = first.of(TRAIN[:20])
    spread = own.T @ own / 19
    assert own.mean(0).abs().max() < 1e-3 and (spread - spread.diag().diag()).abs().max() < 1e-3, "components that go apart"
    assert 0.5 < spread.diag().max() < 1.2 and spread.diag().min() < 1e-3, "brought to one spread, but mere rounding is not"
    with pytest.raises(pytest.fail.Exception, match="was not used"):
        trained_encoder(TRAIN[:21], steps=3)
    path.write_bytes(path.read_bytes()[:-8])
    monkeypatch.undo()
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    assert torch.equal(trained_encoder(TRAIN[:20], steps=3).of(REAL), first.of(REAL)), "a damaged cache is made again"


def test_the_built_in_encoder_learns_without_factors_too(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    bare = Cohort(TRAIN.images, TRAIN.table[["image_id", "patient_id"]], Schema(()), TRAIN.provenance)
    plain, told = trained_encoder(bare, steps=2), trained_encoder(TRAIN, steps=2)
    assert "(two views of 60 images" in plain.name and "(two views and factors of 60 images" in told.name
    assert plain.of(REAL).shape == (60, 64) and not torch.equal(plain.of(REAL), told.of(REAL))


def test_the_built_in_encoder_sees_what_the_toy_varies(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(trained_encoder, "__kwdefaults__", {"steps": 30})
    near, far = (evaluate(real=REAL, fake=fake, train=TRAIN).frame().set_index("metric") for fake in (FAKE, spoilt(FAKE, 0.8)))
    assert far.loc["KID", "value"] > near.loc["KID", "high"] and far.loc["KID", "extractor"].startswith("synthkit encoder")
    assert pd.notna(near["floor"]).all()
