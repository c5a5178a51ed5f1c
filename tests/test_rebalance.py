"""Rebalancing: plans in closed form, requests of real people, one joined cohort, and what is refused."""
from dataclasses import replace

import numpy as np
import pytest
from toys import SCHEMA, exact_generator, toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import patient_digest
from synthkit.core.schema import Category, Schema
from synthkit.errors import DataError, LeakageError, SchemaError
from synthkit.generators.generator import Generator
from synthkit.report.report import Report
from synthkit.studies.rebalance import rebalance
from synthkit.studies.rebalancing.plan import NEAREST, NEAREST_ALONE, OWN
from synthkit.studies.rebalancing.result import Rebalanced

REAL = toy_cohort(120, seed=3)
GEN = exact_generator(REAL)


def without(cohort: Cohort, level: str, sex: str, left: int) -> Cohort:
    """The cohort with only so many images of one finding and sex."""
    hit = np.flatnonzero(((cohort.table["lesion"] == level) & (cohort.table["sex"] == sex)).to_numpy(bool))
    return cohort[np.setdiff1d(np.arange(len(cohort)), hit[left:])]


FEW_WOMEN = without(REAL, "present", "F", 3)


def counts(cohort: Cohort, *columns: str) -> dict[object, int]:
    return cohort.table.groupby(list(columns) if len(columns) > 1 else columns[0]).size().to_dict()


def test_balanced_fills_every_cell_to_the_largest_at_each_level_of_the_finding():
    more = rebalance(GEN, FEW_WOMEN, by="sex", within="lesion", seed=1)
    before, after = counts(FEW_WOMEN, "lesion", "sex"), counts(more.joined, "lesion", "sex")
    for level in ("absent", "present"):
        largest = max(before[level, sex] for sex in "FM")
        assert after[level, "F"] == after[level, "M"] == largest
    plan = more.plan.set_index(["sex", "lesion"])
    assert plan.loc[("F", "present"), ["real", "patients"]].tolist() == [3, 3] and plan.loc[("F", "present"), "asked like"] == NEAREST
    assert (plan["real"] + plan["synthetic"] == plan["wanted"]).all() and plan.loc[("M", "present"), "asked like"] == OWN
    notes = more.caveats()
    assert "real people of the same cell" in notes[1] and notes[2].endswith("the other factors are its own and the nearest cells'.")
    assert len(more.complement) == plan["synthetic"].sum() and more.complement.provenance.kind == "synthetic"
    assert any(note.startswith("F, present: 3 real patient(s)") for note in more.caveats())


def test_the_joined_cohort_holds_both_and_the_real_images_are_unchanged():
    grey = toy_cohort(60, seed=4, high=255)
    more = rebalance(exact_generator(grey), without(grey, "present", "F", 12), by="sex", within="lesion", seed=1)
    joined = more.joined
    assert joined.schema == SCHEMA and joined.provenance.kind == "mixed" and len(joined) == len(more.train) + len(more.complement)
    shift = (joined.images.tensor(range(len(more.train))) - more.train.images.tensor()).abs().max()
    assert float(shift) < 1e-4 and joined.table["image_id"].is_unique, "8-bit films move to the scale of the synthetic ones"
    assert not set(more.complement.table["patient_id"]) & set(more.train.table["patient_id"])


def test_requests_are_people_of_the_cell():
    """Ages, diameters and findings belong together as in a real row; a small cell takes those of the other sex."""
    more = rebalance(GEN, FEW_WOMEN, by="sex", within="lesion", seed=1)
    made, real = more.complement.table, FEW_WOMEN.table
    women = made[(made["sex"] == "F") & (made["lesion"] == "present")]
    pairs = set(zip(real["age"][real["lesion"] == "present"], real["diameter"][real["lesion"] == "present"]))
    assert set(zip(women["age"], women["diameter"])) <= pairs and women["age"].nunique() > 10
    assert made["diameter"][made["lesion"] == "absent"].isna().all()
    bright = more.complement.images.tensor().flatten(1).mean(1).numpy()
    assert ((bright > 0) == (made["lesion"] == "present").to_numpy()).all(), "the image is drawn with the finding that its row names"


def test_quantities_are_cut_into_cells_and_their_values_lie_there():
    old = REAL.where("age < 65 or lesion == 'absent'")
    more = rebalance(GEN, old, by="age", within="lesion", seed=1)
    made = more.complement.table
    groups = SCHEMA.groups(made, "age")
    row = more.plan.set_index(["age", "lesion"]).loc[(">=65", "present")]
    assert row["real"] == 0 and ((groups == ">=65") & (made["lesion"] == "present")).sum() == row["wanted"] == row["synthetic"] > 0
    known = set(old.table["age"][old.table["age"] >= 65])
    assert set(made["age"][(groups == ">=65") & (made["lesion"] == "present")]) <= known


def test_a_group_that_nobody_is_in_takes_values_of_its_range():
    young = REAL.where("age < 65")
    more = rebalance(GEN, young, by="age", target={">=65": 30}, seed=2)
    ages = more.complement.table["age"]
    assert more.plan["asked like"].tolist()[-1] == NEAREST_ALONE and not any("of the same cell" in note for note in more.caveats())
    assert len(ages) == 30 and ages.between(65, 100).all() and ages.nunique() > 20 and more.plan.set_index("age").loc[">=65", "real"] == 0


@pytest.mark.parametrize(
    ("target", "wanted"),
    [({"F": 80, "M": 90}, {"F": 80, "M": 90}), ({"M": 75}, {"F": 60, "M": 75}), ({"F": 0.75, "M": 0.25}, {"F": 180, "M": 60}),
     ({"F": 0.4, "M": 0.6}, {"F": 60, "M": 90})],
)  # fmt: skip
def test_targets_in_images_and_in_shares(target, wanted):
    """60 women and 60 men; shares keep every real image and add the fewest."""
    assert counts(REAL, "sex") == {"F": 60, "M": 60}
    assert counts(rebalance(GEN, REAL, by="sex", target=target).joined, "sex") == wanted


def test_several_factors_make_crossed_cells():
    more = rebalance(GEN, REAL, by=("sex", "age"), seed=3)
    joined = more.joined.table.assign(group=SCHEMA.groups(more.joined.table, "age"))
    assert joined.groupby(["sex", "group"]).size().nunique() == 1 and len(more.plan) == 6
    one = rebalance(GEN, REAL, by=("sex", "lesion"), target={("F", "present"): 50}).plan.set_index(["sex", "lesion"])["synthetic"]
    assert one[("F", "present")] == 50 - counts(REAL, "sex", "lesion")["F", "present"] and one.sum() == one[("F", "present")]


def test_the_same_seed_gives_the_same_images():
    first, again, other = (rebalance(GEN, FEW_WOMEN, by="sex", within="lesion", seed=seed).complement for seed in (1, 1, 2))
    assert np.array_equal(first.images.raw(), again.images.raw()) and first.table.equals(again.table)
    assert not np.array_equal(first.images.raw(), other.images.raw())


def test_unknown_values_stay_and_factors_the_generator_lacks_are_blank():
    wide = Schema((*SCHEMA.factors, Category("ward", ("a", "b"))))
    table = FEW_WOMEN.table.assign(ward=np.where(np.arange(len(FEW_WOMEN)) % 2, "a", "b"))
    table["sex"] = table["sex"].where(np.arange(len(table)) % 10 > 0, None)
    train = Cohort(FEW_WOMEN.images, table, wide, FEW_WOMEN.provenance)
    more = rebalance(GEN, train, by="sex", seed=1)
    assert more.complement.table["ward"].isna().all() and more.joined.schema == wide
    notes = "\n".join(more.caveats())
    assert f"{int(table['sex'].isna().sum())} real images belong to no cell" in notes and "does not know ward" in notes
    assert more.joined.table["sex"].isna().sum() == table["sex"].isna().sum()


def test_it_shows_itself():
    more = rebalance(GEN, FEW_WOMEN, by="sex", within="lesion")
    assert isinstance(more, Rebalanced) and [bar.name for bar in more.figure().data] == ["real", "synthetic"]
    assert "Rebalancing of toy by sex within lesion" in Report("r", [more]).html()


NARROW = Generator(GEN.recipe, GEN.trained, SCHEMA.only(("lesion", "diameter")), GEN.space, GEN.card)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"by": "ward"}, SchemaError, "train does not know the factor 'ward'"),
        ({"gen": NARROW}, SchemaError, "the generator does not know the factor 'sex', so no image can be asked for by it; both know lesion, diameter"),
        ({"by": ("sex", "sex")}, SchemaError, "each once"),
        ({"target": "even"}, DataError, "target='even' is neither"),
        ({"target": {"X": 10}}, SchemaError, r"\('X',\) is no cell of sex; each takes one of sex: F, M"),
        ({"target": {1: 50}}, SchemaError, r"\(1,\) is no cell of sex; each takes one of sex: F, M, as text"),
        ({"target": {("F", "M"): 50}}, SchemaError, r"\('F', 'M'\) is no cell of sex"),
        ({"by": ("sex", "lesion"), "target": {("F", 1): 50}}, SchemaError, r"\('F', 1\) is no cell of sex, lesion"),
        ({"target": {"F": 70, ("F",): 80}}, SchemaError, "name a cell twice"),
        ({"target": {"F": 0.5, "M": 0.7}}, DataError, "shares that add up to 1"),
        ({"target": {"F": 0.5, "M": 70}}, DataError, "neither all whole numbers"),
        ({"target": {"F": 1.0}}, DataError, "no share is given to .*'M'.*nothing real is taken away"),
        ({"target": {"F": 3}}, DataError, "there are 60 real images and none is taken away"),
        ({"target": {"F": -3}}, DataError, "give a number of images"),
        ({"target": {"F": 5000}}, DataError, "needs 4940 synthetic images, more than limit=4096"),
        ({"target": "balanced"}, DataError, "already holds what is asked for"),
        ({"test": REAL[:5]}, LeakageError, "both train and test"),
        ({"test": toy_cohort(4, prefix="t"), "gen": replace(GEN, patients=frozenset({patient_digest("t-1")}))}, LeakageError, "learnt from 1 patient"),
        ({"train": toy_cohort(24, size=(8, 8))}, DataError, "the generator makes other images than train holds"),
    ],
)
def test_what_cannot_be_balanced_is_refused_before_any_image_is_drawn(changes, kind, message):
    with pytest.raises(kind, match=message):
        rebalance(**{"gen": GEN, "train": REAL, "by": "sex", "target": {"F": 70}, **changes})
