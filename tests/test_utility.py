"""Utility: equal arms, paired differences with honest intervals, verdicts, and what is refused."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm, t
from toys import SCHEMA, toy_cohort, toy_table

from synthkit.core.budget import Minutes, Steps
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.randomness import permutation
from synthkit.core.schema import Category, Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError, FitError, LeakageError, SchemaError
from synthkit.metrics.arms import BASELINE, MIXED, SYNTHETIC, prepared
from synthkit.metrics.paired import Estimate, Paired, estimate, verdict
from synthkit.metrics.utility import COLUMNS, NAMES, REVERSED, Utility, utility
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.scoring import Reading

TASK = Classifier("lesion", options={"widths": (8, 16)}, augment=False, batch_size=16, learning_rate=4e-3)
APART = 3.0  # distance of the two classes, in standard deviations of the only direction that tells them apart
SPACE = Space((16, 16), (Channel("grey", high=65535),))
ORDER = permutation(90, seed=0, identity="real", stream="utility, equal n")  # in which the cut takes real images
RARE_ROW = ORDER[-1]


def waves(count: int, *, seed: int, prefix: str, kind: str = "real") -> Cohort:
    """Images of six waves of random heights; the finding raises one of them, and an older patient another."""
    table, rng = toy_table(count, seed=seed, prefix=prefix), np.random.default_rng(seed + 77)
    heights = rng.normal(0, 1, (count, 6))
    heights[:, 0] += APART * (table["lesion"] == "present")
    heights[:, 1] = (table["age"] - 55) / 20
    places = (np.arange(16) + 0.5) / 16
    basis = [np.outer(np.cos(np.pi * a * places), np.cos(np.pi * b * places)) for a, b in ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (2, 2))]
    images = 0.12 * np.einsum("nk,khw->nhw", heights, np.stack(basis))[:, None]
    return Cohort.of(SPACE.to_raw(torch.from_numpy(images)), table, schema=SCHEMA, space=SPACE, provenance=Provenance(kind, f"{prefix} waves"))


def shuffled(cohort: Cohort, seed: int = 0) -> Cohort:
    """The same images with the findings of others."""
    order = np.random.default_rng(seed).permutation(len(cohort))
    return Cohort(cohort.images.take(order), cohort.table, SCHEMA, cohort.provenance)


REAL, FAKE, TEST = waves(90, seed=1, prefix="r"), waves(80, seed=2, prefix="f", kind="synthetic"), waves(150, seed=3, prefix="t")


def study(**changes: object) -> Utility:
    return utility(**{"task": TASK, "real": REAL, "fake": FAKE, "test": TEST, "budget": Steps(40), "progress": False, **changes})


@pytest.fixture(scope="module")
def perfect() -> Utility:
    return study(mixed=True)


def test_a_perfect_generator_teaches_what_real_images_teach(perfect):
    rows = perfect.frame().set_index("arm")
    best = norm.cdf(APART / 2**0.5)  # the AUC of two normal classes this far apart
    assert rows.loc[BASELINE, "low"] < best < rows.loc[BASELINE, "high"] + 0.02 and rows.loc[SYNTHETIC, "value"] == pytest.approx(best, abs=0.06)
    assert rows.loc[[BASELINE, SYNTHETIC, MIXED, REVERSED], "verdict"].tolist() == ["baseline", "no difference shown", "no difference shown", "not compared"]
    assert rows.loc[SYNTHETIC, "diff_low"] < 0 < rows.loc[SYNTHETIC, "diff_high"] and rows.loc[BASELINE, "difference"] == 0
    assert rows.loc[SYNTHETIC, "difference"] == pytest.approx(rows.loc[SYNTHETIC, "value"] - rows.loc[BASELINE, "value"])
    assert rows.loc[REVERSED, "value"] > 0.9 and np.isnan(rows.loc[REVERSED, "difference"])


def test_arms_are_equal_and_the_frame_says_so(perfect):
    frame = perfect.frame()
    assert tuple(frame.columns) == COLUMNS and (frame["steps"] == 40).all() and (frame["seeds"] == 3).all() and (frame["measure"] == "AUC").all()
    rows = frame.set_index("arm")
    assert rows["n_train"].to_dict() == {BASELINE: 80, SYNTHETIC: 80, MIXED: 160, REVERSED: 80}
    assert rows["n_test"].to_dict() == {BASELINE: 150, SYNTHETIC: 150, MIXED: 150, REVERSED: 80}
    assert ((frame["low"] <= frame["value"]) & (frame["value"] <= frame["high"]) & (frame["high"] <= 1)).all()


def test_caveats_and_figure_say_what_is_compared(perfect):
    notes = "\n".join(perfect.caveats())
    assert "40 steps" in notes and "80 images (of 90 real and 80 synthetic ones" in notes and "other patients than `test`" in notes
    assert f"lesion, {SYNTHETIC}: no difference shown, which leaves open anything from" in notes and "not another draw of the training patients" in notes
    figure, (value, mark) = perfect.figure(), NAMES
    scores, differences = [trace for trace in figure.data if trace.name == value]
    assert [title.text for title in figure.layout.annotations] == ["AUC of lesion", "Difference in AUC of lesion"]
    assert list(figure.layout.yaxis.ticktext) == [BASELINE, SYNTHETIC, MIXED, REVERSED] and list(figure.layout.yaxis2.ticktext) == [SYNTHETIC, MIXED]
    assert list(scores.x) == perfect.frame()["value"].tolist() and list(differences.x) == perfect.frame()["difference"][1:3].tolist()
    marks = [list(trace.x) for trace in figure.data if trace.name == mark]
    assert marks == [[perfect.frame()["value"][0]] * 4, [0, 0]], "the baseline is the mark, and zero that of the differences"


def test_labels_of_others_teach_nothing_and_are_called_worse():
    rows = study(fake=shuffled(FAKE), seeds=range(4)).frame().set_index("arm")
    assert rows.loc[SYNTHETIC, "low"] < 0.5 < rows.loc[SYNTHETIC, "high"] and rows.loc[SYNTHETIC, "verdict"] == "worse"
    assert rows.loc[SYNTHETIC, "diff_high"] < 0 and rows.loc[REVERSED, "value"] == pytest.approx(0.5, abs=0.15)


def test_synthetic_images_help_where_the_real_labels_are_wrong():
    rows = study(real=shuffled(REAL)).frame().set_index("arm")
    assert rows.loc[SYNTHETIC, "verdict"] in ("better", "not assessed") and rows.loc[SYNTHETIC, "difference"] > 0.2


def test_quantities_are_scored_by_r2_and_the_same_seeds_give_the_same_frame():
    task = replace(TASK, target="age")
    first, again = (study(task=task, seeds=(0, 1), budget=Steps(60)) for _ in range(2))
    assert first.frame().equals(again.frame())
    rows = first.frame().set_index("arm")
    assert (rows["measure"] == "R2").all() and rows.loc[BASELINE, "value"] > 0.5
    assert rows.loc[SYNTHETIC, "verdict"] == "not assessed" and any(note.startswith("2 seed(s): training runs differ by chance") for note in first.caveats())


def test_a_task_that_is_not_learnt_gets_no_verdict():
    result = study(real=shuffled(REAL), fake=shuffled(FAKE, 1), budget=Steps(5))
    rows = result.frame().set_index("arm")
    assert not rows.loc[BASELINE, "low"] > 0.5 and rows.loc[SYNTHETIC, "verdict"] != "no difference shown"
    assert any("the task itself is not surely learnt" in note for note in result.caveats())


def test_values_that_are_not_known_are_not_counted():
    table = FAKE.table.assign(lesion=FAKE.table["lesion"].where(np.arange(80) < 50), diameter=np.nan)
    result = study(fake=Cohort(FAKE.images, table, SCHEMA, FAKE.provenance), budget=Steps(2), seeds=[0])
    assert result.frame()["n_train"].tolist() == [50] * 3 and result.frame()["n_test"].tolist() == [150, 150, 50]
    conditional = study(task=replace(TASK, target="diameter"), budget=Steps(2), seeds=[0]).frame()
    assert conditional["n_train"].tolist() == [40] * 3 and conditional["n_test"].tolist() == [75, 75, 40]


def test_edits_of_the_training_patients_may_teach_but_not_test():
    edits = Cohort(REAL.images, REAL.table.assign(image_id=[f"edit-{i}" for i in range(len(REAL))]), SCHEMA, Provenance("edited", "edits"))
    result = study(fake=edits, budget=Steps(2), seeds=[0])
    assert result.frame()["arm"].tolist() == [BASELINE, SYNTHETIC] and any("edits of patients in `real`" in note for note in result.caveats())


def test_a_generator_that_learnt_from_the_test_images_is_pointed_out():
    whole = waves(100, seed=5, prefix="w")
    learnt, kept = whole.split((0.5, 0.5))
    from_kept, from_learnt = (replace(FAKE, provenance=replace(FAKE.provenance, parents=(part.provenance,))) for part in (kept, learnt))
    notes = [study(fake=fake, test=kept, budget=Steps(1), seeds=[0]).caveats() for fake in (from_kept, from_learnt)]
    assert [any("same record as `test` (w waves)" in note for note in said) for said in notes] == [True, False]


def one_sided(cohort: Cohort) -> Cohort:
    return cohort.where("lesion == 'present'")


def renamed(cohort: Cohort, factor: Category) -> Cohort:
    return Cohort(cohort.images, cohort.table.assign(**{factor.name: factor.levels[0]}), Schema((factor,)), cohort.provenance)


def windowed(cohort: Cohort) -> Cohort:
    space = Space((16, 16), (Channel("grey", low=0, high=500, unit="HU"),))
    return Cohort.of(space.to_raw(cohort.images.tensor()), cohort.table, schema=SCHEMA, space=space, provenance=cohort.provenance)


def test_a_level_that_is_rare_is_not_lost_by_the_cut():
    """One patient of 90 has the finding, and only 8 of the 90 are kept."""
    table = REAL.table.assign(lesion=np.where(np.arange(90) == RARE_ROW, "present", "absent"), diameter=np.nan)
    real = Cohort(REAL.images, table, SCHEMA, REAL.provenance)
    arms = prepared(TASK, real=real, fake=FAKE[:8], test=TEST, mixed=False)
    kept = arms.train[BASELINE].table
    assert len(kept) == 8 and (kept["lesion"] == "present").sum() == 1 and kept["image_id"].is_unique
    plain = prepared(TASK, real=REAL, fake=FAKE[:8], test=TEST, mixed=False).train[BASELINE].table
    assert plain["image_id"].tolist() == REAL.table["image_id"][np.sort(ORDER[:8])].tolist(), "where the cut loses nothing, it is any draw"


def test_levels_that_a_cut_cannot_keep_are_put_down_to_the_smaller_set():
    """Four rare levels of two factors in four images, two images in the other set that show all of two levels only at once."""
    task = replace(TASK, target=("lesion", "sex"))

    def made(cohort: Cohort, lesion: list[str | None], sex: list[str | None]) -> Cohort:
        return Cohort(cohort.images, cohort.table.assign(lesion=lesion, sex=sex, diameter=np.nan), SCHEMA, cohort.provenance)

    real = made(REAL[:4], ["absent", "present", None, None], [None, None, "F", "M"])
    fake = made(FAKE[:2], ["absent", "present"], ["F", "M"])
    with pytest.raises(DataError, match="real: .* among 2 training images.*cut to as many as there are synthetic images: give more synthetic ones"):
        prepared(task, real=real, fake=fake, test=TEST, mixed=False)


def test_arms_that_make_no_error_still_leave_a_difference_open():
    """12 and 12 patients kept fully apart by every run of both arms: no resample differs, and yet nothing is certain."""
    truth, chance = np.array(["a", "b"]).repeat(12), np.linspace(0.1, 0.9, 24)
    best = Reading("AUC", np.stack([1 - chance, chance], 1), truth, np.arange(24), ("a", "b"))
    low = 0.025 ** (1 / 12)
    scores = Paired.of({"a": [best] * 3, "b": [best] * 3}, times=60)
    mean, difference, itself = scores.mean("a"), scores.difference("b", "a"), scores.difference("a", "a")
    assert (mean.value, mean.high) == (1, 1) and mean.low == pytest.approx(low, abs=1e-5)
    assert (difference.low, difference.high) == pytest.approx((-(2**0.5) * (1 - low), 2**0.5 * (1 - low)), abs=1e-5)
    assert (itself.low, itself.high) == (0, 0), "an arm does not differ from itself"
    chance = chance.copy()
    chance[12] = 0.2
    close = Reading("AUC", np.stack([1 - chance, chance], 1), truth, np.arange(24), ("a", "b"))
    assert verdict(Paired.of({"a": [best] * 3, "b": [close] * 3}, times=60).difference("b", "a")) == "no difference shown"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"real": TEST[:30]}, LeakageError, "both real and test"),
        ({"fake": TEST[:30]}, LeakageError, "both fake and test"),
        ({"fake": one_sided(FAKE)}, DataError, "fake: no image with lesion = absent among 40 training images, which `test` asks for; ask the generator"),
        ({"real": one_sided(REAL)}, DataError, "real: no image with lesion = absent among .*give more real patients"),
        ({"test": one_sided(TEST)}, DataError, "test: lesion has fewer than two values"),
        ({"fake": toy_cohort(12, size=(8, 8))}, DataError, r"fake and test images do not fit together: sizes \(8, 8\) and \(16, 16\); load both"),
        ({"fake": windowed(FAKE)}, DataError, "windows of grey 0..500 HU and 0..65535 .no unit.; load both with the same size=, window="),
        ({"fake": FAKE[:1], "real": REAL}, DataError, "fake: no image with lesion = .* among 1 training images.*ask the generator"),
        ({"task": "ward"}, SchemaError, "unknown factor 'ward'"),
        ({"fake": renamed(FAKE, Category("other", ("a",)))}, SchemaError, "fake has no factor 'lesion'; it has other"),
        ({"fake": renamed(FAKE, Category("lesion", ("no", "yes")))}, SchemaError, "lesion is declared as .* in fake and as"),
        ({"budget": Minutes(1)}, DataError, "equal steps, which minutes do not give"),
        ({"seeds": []}, DataError, "give distinct whole numbers"),
        ({"seeds": [1, 1, 2]}, DataError, "give distinct whole numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, kind, message):
    with pytest.raises(kind, match=message):
        study(**changes)


def test_without_early_stopping_all_patients_teach_for_all_steps():
    fitted = TASK.fit(REAL, budget=Steps(3), early_stopping=False, progress=False)
    assert fitted.trained["steps"] == 3 and fitted.patients == frozenset(REAL.table["patient_id"])
    with pytest.raises(FitError, match="valid= serves early stopping"):
        TASK.fit(REAL, valid=TEST, budget=Steps(3), early_stopping=False, progress=False)


def test_the_interval_adds_the_variance_of_patients_and_of_seeds():
    rng = np.random.default_rng(0)
    patients = rng.normal(0, 0.04, 4000)
    still = estimate(np.full(3, 0.8), 0.8 + patients[:, None].repeat(3, 1))
    assert (still.high - still.low) / 2 == pytest.approx(1.96 * 0.04, rel=0.03)
    # Without any spread among patients only the seeds are left: the t interval of three values.
    seeds = np.array([0.7, 0.8, 0.9])
    moving = estimate(seeds, np.tile(seeds, (50, 1)))
    assert (moving.low, moving.high) == pytest.approx((0.8 - t.ppf(0.975, 2) * 0.1 / 3**0.5, 0.8 + t.ppf(0.975, 2) * 0.1 / 3**0.5))
    both = estimate(seeds, seeds + patients[:, None])
    assert both.high - both.low > max(still.high - still.low, moving.high - moving.low) * 0.6
    assert np.isnan(estimate(seeds, np.full((50, 3), np.nan)).low), "no resample has both classes"


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_differences_cover_the_truth_about_95_times_in_100(shift):
    """R² of guesses with errors that patients and seeds share between the arms; the truth is the mean over many studies."""

    def draw(trial: int) -> Paired:
        rng = np.random.default_rng([trial, int(10 * shift)])
        truth, shared = rng.normal(0, 1, 60), rng.normal(0, 0.5, 60)
        arms = {}
        for arm, bias in (("a", 0.0), ("b", shift)):
            errors = [shared + rng.normal(0, 0.3, 60) + rng.normal(0, 0.15) + bias for _ in range(3)]
            arms[arm] = [Reading("R2", truth + error, truth, np.arange(60)) for error in errors]
        return Paired.of(arms, times=100, seed=trial)

    found = [draw(trial).difference("b", "a") for trial in range(150)]
    expected = np.mean([one.value for one in found])
    inside = np.mean([one.low <= expected <= one.high for one in found])
    assert 0.9 <= inside <= 1.0 and np.mean([one.high - one.low for one in found]) < 8 * np.std([one.value for one in found])
    wrong = np.mean([verdict(one) in ("better", "worse") for one in found])
    assert wrong <= 0.1 if shift == 0 else wrong > 0.5


@pytest.mark.parametrize(
    ("low", "high", "able", "said"),
    [(0.01, 0.2, True, "better"), (-0.2, -0.01, True, "worse"), (-0.1, 0.1, True, "no difference shown"), (-0.1, 0.1, False, "not assessed"),
     (0.1, 0.2, False, "better"), (-0.2, -0.1, False, "not assessed"), (float("nan"), float("nan"), True, "not assessed")],
)  # fmt: skip
def test_verdicts(low, high, able, said):
    assert verdict(Estimate(0.0, low, high), able=able) == said
