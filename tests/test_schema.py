"""Factors, their checks, and the condition code that a network reads."""
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import SCHEMA, toy_table

from synthkit.core.schema import Category, Quantity, Schema
from synthkit.errors import SchemaError

LESION, DIAMETER, SEX, AGE = SCHEMA.blocks()
maybe = st.none()
rows = st.lists(
    st.tuples(
        st.sampled_from(["absent", "present", None]), st.one_of(maybe, st.floats(2, 8)),
        st.sampled_from(["F", "M", None]), st.one_of(maybe, st.floats(0, 100)),
    ), min_size=1, max_size=6,
)  # fmt: skip


@given(rows)
def test_code_tells_missing_from_not_applicable(drawn):
    table = pd.DataFrame(drawn, columns=SCHEMA.names, dtype=object)
    table = SCHEMA.check(table.assign(diameter=table["diameter"].where(table["lesion"] != "absent")))
    code = SCHEMA.encode(table)
    assert code.shape == (len(table), SCHEMA.width) and code.dtype == np.float32 and np.isfinite(code).all() and np.abs(code).max() <= 1
    for i, row in enumerate(table.to_dict("records")):
        size, known, unfit = code[i, DIAMETER]
        assert unfit == (row["lesion"] == "absent")
        assert known == (not pd.isna(row["diameter"])) and not (known and unfit)
        assert size == pytest.approx(2 * (row["diameter"] - 2) / 6 - 1, abs=1e-6) if known else size == 0
        one_hot = [float(row["sex"] == level) for level in ("F", "M")]
        assert code[i, SEX].tolist() == [*one_hot, float(row["sex"] is not None), 0.0]


def test_code_of_a_known_row():
    table = pd.DataFrame({"lesion": ["present"], "diameter": [8], "sex": ["M"], "age": [25]})
    assert SCHEMA.encode(table)[0].tolist() == [0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, -0.5, 1, 0]


def test_a_factor_without_a_column_codes_as_missing():
    table = toy_table(5)
    blank = table.assign(age=np.nan, sex=None)
    assert np.array_equal(SCHEMA.encode(table.drop(columns=["age", "sex"])), SCHEMA.encode(blank))
    # Without the parent's value nothing says that the child does not apply.
    assert not SCHEMA.encode(table[["age"]])[:, DIAMETER].any()


def test_rows_are_coded_one_by_one():
    table = toy_table(9)
    order = [4, 0, 8, 2]
    assert np.array_equal(SCHEMA.encode(table.iloc[order]), SCHEMA.encode(table)[order])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"lesion": "maybe"}, "lesion: 'maybe' is not one of absent, present"),
        ({"age": 140}, "age: 140 years is outside 0..100 years"),
        ({"age": -1}, "age: -1 years is outside 0..100 years"),
        ({"age": "old"}, "age: 'old' is not a number; give 0..100 years"),
        ({"age": float("inf")}, "outside 0..100"),
        ({"lesion": "absent", "diameter": 3}, r"diameter: a value is given where it does not apply \(it needs lesion = present\)"),
    ],
)
def test_impossible_values_are_refused(row, message):
    with pytest.raises(SchemaError, match=message):
        SCHEMA.encode(pd.DataFrame([row]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Category("x", ()), "at least one"),
        (lambda: Category("x", ("a", "a")), "distinct"),
        (lambda: Quantity("x", 3, 3), "low must be under high"),
        (lambda: Schema((Quantity("x", 0, 1), Quantity("x", 0, 2))), "'x' is declared twice"),
        (lambda: Schema((Quantity("x", 0, 1, when={"y": "present"}),)), "names no category"),
        (lambda: SCHEMA["weight"], "unknown factor 'weight'; this schema has lesion, diameter, sex, age"),
        (lambda: SCHEMA.grid(weight=[1]), "unknown factor 'weight'"),
        (lambda: SCHEMA.grid(sex="F", each=0), "each=0"),
        (lambda: SCHEMA.do(toy_table(2), {"weight": 1}), "unknown factor"),
    ],
)
def test_impossible_schemas_and_requests_are_refused(make, message):
    with pytest.raises(SchemaError, match=message):
        make()


def test_grid_is_every_combination_with_sizes_only_where_they_apply():
    grid = SCHEMA.grid(lesion=["absent", "present"], diameter=[2, 8], age=30, each=3)
    assert len(grid) == 12
    assert grid.groupby("lesion", dropna=False)["diameter"].apply(lambda d: sorted(d.dropna())).to_dict() == {"absent": [], "present": [2.0] * 3 + [8.0] * 3}
    assert (grid["age"] == 30).all()


def test_do_blanks_what_no_longer_applies_and_leaves_new_values_missing():
    table = pd.DataFrame({"lesion": ["present", "absent"], "diameter": [5.0, np.nan], "age": [40.0, 50.0]})
    healed = SCHEMA.do(table, {"lesion": "absent"})
    assert healed["diameter"].isna().all() and healed["age"].tolist() == [40, 50]
    ill = SCHEMA.do(table, {"lesion": "present"})
    assert ill["diameter"].tolist()[0] == 5 and np.isnan(ill["diameter"][1])
    assert table["lesion"].tolist() == ["present", "absent"], "the table given stays as it was"


def test_levels_may_be_given_as_numbers_everywhere():
    schema = Schema((Category("lesion", ("0", "1")), Quantity("diameter", 1, 10, "mm", when={"lesion": "1"})))
    table = schema.check(pd.DataFrame({"lesion": [1.0, 1.0], "diameter": [3.0, 4.0]}))
    assert table["lesion"].tolist() == ["1", "1"]
    assert schema.do(table, {"lesion": 1})["diameter"].tolist() == [3.0, 4.0]
    assert schema.grid(lesion=[0, 1], diameter=[3])["diameter"].fillna(-1).tolist() == [-1, 3]
    assert schema.grid(diameter=np.float32(3), lesion=1).equals(schema.grid(diameter=3, lesion="1"))


def test_grandchildren_follow_their_grandparents():
    schema = Schema((Category("a", ("no", "yes")), Category("b", ("no", "yes"), when={"a": "yes"}), Quantity("c", 0, 1, when={"b": "yes"})))
    table = schema.clear(schema.check(pd.DataFrame({"a": ["no", "yes", "yes"], "b": [None, "yes", "no"], "c": [None, 0.5, None]})))
    assert schema.applies(schema["c"], table).tolist() == [False, True, False]
    assert schema.do(table, {"a": "no"})[["b", "c"]].isna().all(axis=None)


def test_groups_cut_at_the_cuts_and_keep_missing_values_missing():
    labels = SCHEMA.groups(pd.DataFrame({"age": [0, 39.9, 40, 64.9, 65, 100, np.nan]}), "age")
    assert labels[:6].tolist() == ["<40", "<40", "40-65", "40-65", ">=65", ">=65"] and pd.isna(labels[6])
    assert Quantity("x", 0, 10).groups(pd.Series([4.9, 5.0])).tolist() == ["<5", ">=5"]


def test_json_round_trip_also_with_numbers_from_a_table():
    ages = pd.Series([20, 80])
    schema = Schema((*SCHEMA.factors, Quantity("dose", ages.min(), np.float32(80))), sensitive=("sex",))
    back = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert back == schema and back.sensitive == ("sex",)


def test_only_keeps_order_and_drops_parents_that_are_left_out():
    part = SCHEMA.only(("age", "diameter"))
    assert part.names == ("age", "diameter") and part["diameter"].when == {} and part.sensitive == ("age",)
    assert SCHEMA.only(("lesion", "diameter"))["diameter"].when == {"lesion": "present"}
