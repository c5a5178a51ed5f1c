"""Cohorts: splitting by patient, choosing rows, joining, and what they say about themselves."""
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import SCHEMA, toy_cohort, toy_table

from synthkit.core.cohort import NO_PATIENTS, Cohort, require_disjoint
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError, LeakageError, SchemaError

DOT = Space((1, 1), (Channel("dot"),))


def dots(patients: list[str]) -> Cohort:
    """One-pixel images of these patients."""
    table = pd.DataFrame({"image_id": [f"i{n}" for n in range(len(patients))], "patient_id": patients})
    raw = (np.arange(len(patients)) % 256).astype(np.uint8).reshape(-1, 1, 1, 1)
    return Cohort.of(raw, table, schema=Schema(), space=DOT, provenance=Provenance("real", "dots"))


@given(st.lists(st.integers(1, 9), min_size=3, max_size=30), st.lists(st.integers(1, 10), min_size=1, max_size=3), st.integers(0, 99), st.booleans())
def test_a_split_keeps_patients_whole_parts_disjoint_and_loses_nobody(sizes, weights, seed, whole):
    cohort = dots([f"p{number}" for number, size in enumerate(sizes) for _ in range(size)])
    shares = np.array(weights) / sum(weights) * (1 if whole else 0.8)
    parts = cohort.split(tuple(shares), seed=seed)
    owners = [set(part.table["patient_id"]) for part in parts]
    assert len(set().union(*owners)) == sum(map(len, owners)) and all(owners)
    assert all(len(part) == cohort.table["patient_id"].isin(owner).sum() for part, owner in zip(parts, owners))
    if whole:
        assert sum(map(len, parts)) == len(cohort)
    # Greedy filling is never further from its share than the largest patient.
    assert all(abs(len(part) - share * len(cohort)) <= max(sizes) * len(shares) for part, share in zip(parts, shares))
    again = cohort.split(tuple(shares), seed=seed)
    assert [list(p.table["image_id"]) for p in again] == [list(p.table["image_id"]) for p in parts]


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.1), (0.6, 0.2, 0.2), (0.8, 0.1, 0.1)])
def test_a_large_split_loses_nobody_to_rounding(shares):
    cohort = dots([f"p{number}" for number in range(20_000)])
    assert [len(part) for part in cohort.split(shares)] == [round(share * 20_000) for share in shares]


def test_another_seed_splits_otherwise_and_images_stay_with_their_rows():
    cohort = toy_cohort(40, per_patient=2)
    first, other = cohort.split((0.5, 0.5), seed=0)[0], cohort.split((0.5, 0.5), seed=1)[0]
    assert set(first.table["patient_id"]) != set(other.table["patient_id"])
    where = [int(name.rsplit("-", 1)[1]) for name in first.table["image_id"]]
    assert torch.equal(first.images.tensor(), cohort.images.tensor(where))
    assert first.provenance.recipe["steps"] == [{"split": [0.5, 0.5], "by": "patient_id", "seed": 0, "part": 0}]


@pytest.mark.parametrize(
    ("shares", "by", "kind", "message"),
    [
        ((0.5, 0.6), "patient_id", DataError, "add up to at most 1"),
        ((0.5, 0.0), "patient_id", DataError, "must be positive"),
        ((0.2,) * 5, "patient_id", DataError, "4 distinct patient_id cannot fill 5 parts"),
        ((0.5, 0.5), "hospital", SchemaError, "cannot split by 'hospital': columns are image_id"),
    ],
)
def test_impossible_splits_are_refused(shares, by, kind, message):
    with pytest.raises(kind, match=message):
        toy_cohort(4).split(shares, by=by)


def test_the_same_patient_on_both_sides_is_named():
    cohort = toy_cohort(8, per_patient=2)
    require_disjoint(cohort[:4], cohort[4:], names=("train", "test"))
    with pytest.raises(LeakageError, match=r"1 patient\(s\) stand in both train and test \(first: 'p-1'\)"):
        require_disjoint(cohort[:4], cohort[3:], names=("train", "test"))


@pytest.mark.parametrize("index", [3, -1, slice(2, 7, 2), [5, 0], np.array([True] + [False] * 9), [], np.int64(4)])
def test_choosing_rows_keeps_image_and_row_together(index):
    cohort = toy_cohort(10)
    rows = np.arange(10)[index if isinstance(index, slice) else np.atleast_1d(np.asarray(index, None if len(np.atleast_1d(index)) else int))]
    part = cohort[index]
    assert isinstance(part, Cohort) and part.table["image_id"].tolist() == cohort.table["image_id"].iloc[rows].tolist()
    assert np.array_equal(part.images.raw(), cohort.images.raw()[rows])


def test_rows_beyond_the_end_are_refused_and_iteration_ends():
    with pytest.raises(IndexError, match="image 10 of a cohort of 10"):
        toy_cohort(10)[10]
    assert len([one for one in toy_cohort(3)]) == 3  # noqa: C416


def test_where_is_a_query_that_is_written_down():
    cohort = toy_cohort(20)
    old = cohort.where("age > 60 and sex == 'F'")
    assert (old.table["age"] > 60).all() and len(old) == ((cohort.table["age"] > 60) & (cohort.table["sex"] == "F")).sum() > 0
    assert old.provenance.recipe["steps"] == [{"where": "age > 60 and sex == 'F'"}]
    assert len(cohort.where("age > 200")) == 0
    with pytest.raises(SchemaError, match="weight.*columns are image_id"):
        cohort.where("weight > 3")
    for not_a_question in ("age", "True", "sex"):
        with pytest.raises(SchemaError, match="true or false"):
            cohort.where(not_a_question)


def test_joined_cohorts_keep_rows_pixels_notes_and_both_origins():
    first = toy_cohort(4)
    second = Cohort(toy_cohort(3, prefix="q").images, toy_table(3, prefix="q"), SCHEMA, Provenance("synthetic", "maker", licence="MIT"), notes=("Beware.",))
    both = first + second
    assert len(both) == 7 and both.provenance.kind == "mixed" and both.notes == ("Beware.",)
    assert np.array_equal(both.images.raw(), np.concatenate([first.images.raw(), second.images.raw()]))
    assert [p.source for p in both.provenance.parents] == ["toy", "maker"] and both.provenance.licence == "CC0; MIT"
    assert "Real and synthetic images are mixed." in both.caveats()


def test_joins_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="image_id 'p-image-0' stands on more than one row"):
        toy_cohort(3) + toy_cohort(3)
    other = toy_cohort(3, prefix="q")
    with pytest.raises(SchemaError, match="different factors.*age"):
        toy_cohort(3) + Cohort(other.images, other.table, SCHEMA.only(("lesion", "diameter", "sex")), other.provenance)


def test_without_patients_every_image_is_its_own_and_the_caveat_follows():
    cohort = Cohort(toy_cohort(6).images, toy_table(6).drop(columns="patient_id"), SCHEMA, Provenance("real", "x"))
    assert cohort.table["patient_id"].tolist() == cohort.table["image_id"].tolist()
    for part in (cohort, *cohort.split((0.5, 0.5)), cohort[:2], cohort + toy_cohort(2, prefix="q")):
        assert NO_PATIENTS in part.caveats()


@pytest.mark.parametrize(
    ("table", "kind", "message"),
    [
        (toy_table(3), DataError, "4 images but 3 table rows"),
        (toy_table(4).drop(columns="age"), SchemaError, "no column for factor 'age'"),
        (toy_table(4).assign(age=140.0), SchemaError, "age: 140 years is outside"),
        (toy_table(4).assign(image_id="same"), DataError, "'same' stands on more than one row"),
    ],
)
def test_tables_that_do_not_fit_are_refused(table, kind, message):
    with pytest.raises(kind, match=message):
        Cohort(toy_cohort(4).images, table, SCHEMA, Provenance("real", "x"))


def test_counts_add_up_and_tell_missing_from_not_applicable():
    table = toy_table(10, per_patient=2)
    table.loc[0, "sex"] = None
    counts = Cohort(toy_cohort(10).images, table, SCHEMA, Provenance("real", "x")).counts()
    assert counts.groupby("factor")["images"].sum().tolist() == [10] * 4
    by = counts.set_index(["factor", "level"])["images"]
    assert by["sex", "missing"] == 1 and by["diameter", "not applicable"] == 5 == by["lesion", "absent"]


def test_a_cohort_shows_its_kind_in_a_notebook_cell_and_escapes_names():
    cohort = Cohort(toy_cohort(3).images, toy_table(3), SCHEMA, Provenance("synthetic", "<b>maker</b>"))
    html = cohort._repr_html_()
    assert "Synthetic cohort: &lt;b&gt;maker" in html and "Synthetic images: generated" in html and "data:image/png" in html
    assert "Synthetic: " in cohort.figure().layout.title.text
    assert toy_cohort(3, size=(4, 6, 8)).figure().layout.title.text.startswith("Real: toy (3 volumes)")
