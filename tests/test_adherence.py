"""Adherence: judges, their ceilings, and what is said of a generator that shows more, or less, than real images do."""
import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.result import SCORE_COLUMNS
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.core.space import Space
from synthkit.errors import DataError, LeakageError, SchemaError
from synthkit.metrics import adherence as module
from synthkit.metrics import phantom_judge as judges
from synthkit.metrics.adherence import adherence
from synthkit.metrics.ceiling import ABOVE, BELOW, UNEQUAL, against, common_levels, one_against_rest
from synthkit.metrics.features import Features
from synthkit.metrics.phantom_judge import drawn, phantom_judge
from synthkit.nets.convnet import ConvNet
from synthkit.phantoms.chest import ChestPhantom
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

CHEST = ChestPhantom(size=32)
SMALL = CHEST.schema.only(("age", "marker"))
EYES = Features("eyes", lambda images: torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1))


class Mean(torch.nn.Module):
    """The mean pixel is the logit of the second level, and tells the size of what is there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1, keepdim=True)
        return torch.cat([-mean, mean, (mean - 0.2) / 0.3], 1)


def noisy(cohort: Cohort, spread: float, *, seed: int, kind: str = "real") -> Cohort:
    """The finding (and the diameter, where there is one) set the mean, blurred by noise of its own per image."""
    rng = np.random.default_rng(seed)
    size = np.nan_to_num((cohort.table["diameter"] - 5) / 3)
    mean = np.where(cohort.table["lesion"] == "present", 0.2, -0.2) + 0.3 * size + rng.normal(0, spread, len(cohort))
    images = torch.from_numpy(mean).clamp(-1, 1).reshape(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    space = toy_cohort(4, size=(4, 4)).space
    return Cohort.of(space.to_raw(images), cohort.table, schema=SCHEMA, space=space, provenance=Provenance(kind, "noisy toy"))


REAL = noisy(toy_cohort(300, size=(4, 4), seed=1, prefix="real"), 0.15, seed=1)
BASE = toy_cohort(300, size=(4, 4), seed=2, prefix="fake")
JUDGE = Predictor(Mean(), Schema((SCHEMA["lesion"], Quantity("diameter", 2, 8, "mm"))), REAL.space)


def judged(fake: Cohort, judge: object = JUDGE, **more: object) -> tuple[pd.DataFrame, str]:
    rows, notes = adherence(judge, **{"real": REAL, "fake": fake, "eyes": EYES, "seed": 0, **more})
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS)).set_index("group"), "\n".join(notes)


@pytest.mark.parametrize(("spread", "reading"), [(0.15, ""), (0.02, ABOVE), (0.5, BELOW)])
def test_images_that_show_more_or_less_than_real_ones_are_told_apart(spread, reading):
    rows, notes = judged(noisy(BASE, spread, seed=3, kind="synthetic"))
    assert rows["metric"].to_dict() == {"lesion": "Adherence AUC", "diameter": "Adherence R2"} and rows["reading"].tolist() == [reading] * 2
    assert ("surely above" in notes) == (reading == ABOVE) and ("surely below" in notes) == (reading == BELOW)
    assert (rows["low"] <= rows["value"]).all() and (rows["floor_low"] <= rows["floor"]).all() and (rows["floor"] <= rows["floor_high"]).all()


def test_what_applies_under_a_condition_is_judged_there_alone():
    rows, notes = judged(noisy(BASE, 0.15, seed=3))
    assert rows.loc["diameter", ["n_real", "n_fake"]].tolist() == [150, 150] and rows.loc["lesion", "n_fake"] == 300
    assert "judged only where it applies for diameter (where lesion = present was asked)" in notes
    factor, table = SCHEMA["diameter"], REAL.table
    found = Reading.of(factor, JUDGE.predict(REAL), table)
    assert rows.loc["diameter", "floor"] == found.value() and set(found.truth) == set(table["diameter"].dropna())


def test_r2_of_a_wider_request_is_not_held_against_the_ceiling():
    rows, notes = judged(noisy(BASE.where("diameter < 4 or diameter > 6.5 or lesion == 'absent'"), 0.15, seed=3))
    assert rows.loc["diameter", "reading"] == UNEQUAL and rows.loc["diameter", "value"] > rows.loc["diameter", "floor"]
    assert "asked values of diameter are spread otherwise" in notes and "surely above" not in notes


def test_groups_have_rows_and_ceilings_of_their_own():
    fake = noisy(BASE, 0.15, seed=3)
    rows, _ = judged(fake, by=["sex", "lesion"])
    assert {"lesion, sex=F", "lesion, sex=M", "diameter, sex=F", "diameter, lesion=present"} <= set(rows.index)
    assert "lesion, lesion=present" not in rows.index and "diameter, lesion=absent" not in rows.index
    women = REAL.where("sex == 'F'")
    assert rows.loc["lesion, sex=F", "floor"] == pytest.approx(JUDGE.score(women).set_index("factor").loc["lesion", "value"])
    assert rows.loc["lesion, sex=F", "n_real"] == len(women) and rows.loc["lesion, sex=F", "n_fake"] == len(fake.where("sex == 'F'"))
    few = judged(fake[np.flatnonzero((fake.table["sex"] == "F") | (np.arange(300) < 10))], by=["sex"])[0]
    assert "lesion, sex=M" not in few.index, "a group of a handful is not judged"


def test_a_blind_judge_is_said_to_be_blind():
    foreign = Cohort(REAL.images.take(np.random.default_rng(0).permutation(300)), REAL.table, SCHEMA, REAL.provenance)
    rows, notes = judged(noisy(BASE, 0.15, seed=3), real=foreign)
    assert rows.empty and "not assessed for lesion, diameter" in notes


def test_an_equal_generator_is_seldom_called_unequal():
    """Both sides from one law: the readings err in about 5 % of the studies, all factors of a study taken together."""
    rng, said = np.random.default_rng(0), []
    for trial in range(60):
        sides = [Reading("R2", truth + rng.normal(0, 0.7, 80), truth, np.arange(80)) for truth in (rng.normal(0, 1, 80), rng.normal(0, 1, 80))]
        said.append(against(*sides, "x", count=1, seed=trial)["reading"] in (ABOVE, BELOW))
    assert np.mean(said) <= 0.15


LEVELS = Category("grade", tuple("abcdef"))


class Pixels(torch.nn.Module):
    """Six pixels are the logits of six levels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * x.flatten(1)


def graded(count: int, *, seed: int, prefix: str) -> Cohort:
    """Images whose pixel of the true level is, on the whole, brighter than the others."""
    rng, space = np.random.default_rng(seed), Space((2, 3), REAL.space.channels)
    grade = rng.integers(0, 6, count)
    images = 0.2 * (rng.normal(0, 1, (count, 6)) + np.eye(6)[grade])
    names = [f"{prefix}-{number}" for number in range(count)]
    table = pd.DataFrame({"image_id": names, "patient_id": names, "grade": np.array(LEVELS.levels)[grade], "sex": np.where(rng.random(count) < 0.5, "F", "M")})
    raw = space.to_raw(torch.from_numpy(images).clamp(-1, 1).reshape(-1, 1, 2, 3))
    return Cohort.of(raw, table, schema=Schema((LEVELS, SCHEMA["sex"])), space=space, provenance=Provenance("real", "graded"))


def test_levels_and_groups_share_the_error_with_the_factors(monkeypatch):
    """One factor of six levels in two groups makes nine rows that might be called above or below."""
    asked = []
    monkeypatch.setattr(module, "against", lambda *pair, count, seed: asked.append(count) or against(*pair, count=count, seed=seed))
    real, fake = graded(150, seed=1, prefix="r"), graded(150, seed=2, prefix="f")
    rows, _ = judged(fake, Predictor(Pixels(), Schema((LEVELS,)), real.space), real=real, by=["sex"])
    assert rows.index.tolist() == ["grade", *(f"grade={level}" for level in "abcdef"), "grade, sex=F", "grade, sex=M"] and asked == [9] * 9


def binary(count: int, wrong: int) -> Reading:
    """`count` patients of each class, `wrong` of the second scored below all others."""
    truth, chance = np.array(["a", "b"]).repeat(count), np.linspace(0.4, 0.6, 2 * count)
    chance[len(chance) - wrong :] = 0.1
    return Reading("AUC", np.stack([1 - chance, chance], 1), truth, np.arange(2 * count), ("a", "b"))


@pytest.mark.parametrize(("count", "wrong", "reading"), [(8, 1, ""), (60, 2, ""), (60, 20, BELOW)])
def test_a_ceiling_of_one_is_not_taken_for_certain(count, wrong, reading):
    fake, ceiling = binary(100, 100 * wrong // count), binary(count, 0)
    row = against(fake, ceiling, "x", count=1, seed=0)
    assert row["floor"] == 1 and row["floor_low"] == pytest.approx(0.025 ** (1 / count)) and row["reading"] == reading


def levels(truth: str, seed: int) -> Reading:
    values = np.array(list(truth))
    chances = np.random.default_rng(seed).dirichlet(np.ones(3), len(values)) + np.stack([values == level for level in "abc"], 1)
    return Reading("AUC", chances, values, np.arange(len(values)), ("a", "b", "c"))


def test_several_levels_are_compared_on_those_that_both_have_and_one_by_one():
    fake, real = levels("abab" * 10, 0), levels("aabbcc" * 10, 1)
    both = common_levels(fake, real)
    assert [sorted(set(side.truth)) for side in both] == [["a", "b"], ["a", "b"]] and len(both[1]) == 40
    assert both[1].value() == pytest.approx(Reading("AUC", real.guess[real.truth != "c"], real.truth[real.truth != "c"], np.arange(40), real.levels).value())
    each = list(one_against_rest(real, levels("abc" * 8, 2), "side"))
    assert [label for _, _, label in each] == ["side=a", "side=b", "side=c"]
    assert np.mean([one.value() for one, _, _ in each]) == pytest.approx(real.value()), "the AUC of several levels is the mean of these"


def test_the_chest_judge_knows_its_phantom_and_is_learnt_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    calls = []
    monkeypatch.setattr(judges, "_learnt", lambda recipe, cohort, steps: calls.append(len(cohort)) or recipe.network(cohort, SMALL).backbone.state_dict())
    test = CHEST.cohort(16, seed=5)
    first = phantom_judge(CHEST, ["marker", "age"], images=16, steps=40)
    again = phantom_judge(CHEST, ("age", "marker"), images=16, steps=40)
    assert calls == [16] and first.schema.names == ("age", "marker") and torch.equal(first.outputs(test.images.tensor()), again.outputs(test.images.tensor()))
    others = [(ChestPhantom(size=32, confounding=0.1), {}), (CHEST, {"images": 17}), (CHEST, {"steps": 41}), (CHEST, {"seed": 7})]
    for phantom, changes in others:
        phantom_judge(phantom, ["marker", "age"], **{"images": 16, "steps": 40, **changes})
    assert len(calls) == 1 + len(others), "another phantom, count, length or seed is another judge"
    monkeypatch.setattr(ChestPhantom, "paint", lambda self, subjects, **more: torch.zeros(len(subjects), 1, 32, 32))
    phantom_judge(CHEST, ["marker", "age"], images=16, steps=40)
    assert len(calls) == 2 + len(others), "when the drawing changes the judge is learnt again"


def test_the_judge_has_patients_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(judges, "_learnt", lambda recipe, cohort, steps: recipe.network(cohort, CHEST.schema.only(("marker",))).backbone.state_dict())
    judge = phantom_judge(CHEST, "marker", images=16, seed=3)
    assert judge.patients == set(drawn(CHEST, 16, ["marker"], seed=3).table["patient_id"]) == set(CHEST.cohort(16, seed=3).table["patient_id"])
    with pytest.raises(LeakageError):
        judge.score(CHEST.cohort(16, seed=3))
    assert "fresh subjects of the chest phantom" in judge.trained["source"]


def test_the_judges_subjects_break_what_the_phantom_ties_together(monkeypatch):
    monkeypatch.setattr(ChestPhantom, "render", lambda self, table: torch.zeros(len(table), 1, 32, 32))
    table, natural = drawn(CHEST, 400, ["effusion"], seed=9).table, CHEST.factors_table(400, seed=9)
    for first, second in (("effusion", "marker"), ("pneumothorax", "effusion")):
        shares = pd.crosstab(table[first], table[second], normalize="index")["present"]
        assert shares.tolist() == pytest.approx([0.5, 0.5], abs=0.12)
    assert abs(pd.crosstab(natural["effusion"], natural["marker"], normalize="index")["present"].diff().iloc[-1]) > 0.6
    assert table["effusion_fill"].notna().equals(table["effusion"] == "present") and set(table["emerging"]) == {"absent"}


@pytest.mark.parametrize(
    ("phantom", "names", "kind", "message"),
    [(CHEST, ["effusion", "ward"], SchemaError, "unknown factor 'ward'"), (CHEST, [], SchemaError, "ask for at least one factor"),
     (REAL, ["lesion"], DataError, "Cohort is no phantom")],
)  # fmt: skip
def test_factors_that_the_phantom_lacks_are_refused(phantom, names, kind, message):
    with pytest.raises(kind, match=message):
        phantom_judge(phantom, names)


def test_a_phantom_may_be_the_judge(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "phantom_judge", lambda phantom: phantom_judge(phantom, SMALL.names, images=96, steps=40))
    real, fake = CHEST.cohort(48, seed=1), CHEST.cohort(48, seed=2)
    row = judged(fake, CHEST, real=real)[0].loc["marker"]
    assert row["floor"] > 0.75 and row["value"] > 0.75 and row["reading"] == "" and row["extractor"] == "judge of 96 fresh subjects of the chest phantom"
    assert "marker" not in judged(fake.where("marker == 'present'"), CHEST, real=real)[0].index


def test_a_judge_that_was_trained_on_those_it_judges_is_refused():
    network = ConvNet(channels=1, size=(4, 4), outputs=2, widths=(8,))
    judge = Predictor(network, SCHEMA.only(("lesion",)), REAL.space, frozenset(BASE.table["patient_id"]))
    with pytest.raises(LeakageError, match="split by patient before fitting"):
        judged(noisy(BASE, 0.1, seed=0), judge)


def test_small_and_large_cohorts_get_their_kind_of_judge(monkeypatch):
    taught = []
    monkeypatch.setattr(Classifier, "fit", lambda self, cohort, **more: taught.append(self.targets) or JUDGE)
    few = noisy(toy_cohort(80, size=(4, 4), seed=6, prefix="j"), 0.15, seed=6)
    rows, _ = judged(noisy(BASE, 0.15, seed=3), few)
    assert not taught and rows.loc["lesion", "value"] > 0.6
    judged(noisy(BASE, 0.15, seed=3), noisy(toy_cohort(1000, size=(4, 4), seed=7, prefix="k"), 0.15, seed=6))
    assert taught == [SCHEMA.names]


def test_a_factor_of_one_asked_value_is_left_out():
    rows, _ = judged(noisy(BASE.where("lesion == 'present'"), 0.15, seed=3))
    assert rows.index.tolist() == ["diameter"]
    with pytest.raises(SchemaError, match="the judge predicts ward"):
        judged(BASE, Predictor(Mean(), Schema((Category("ward", ("A", "B")),)), BASE.space))
