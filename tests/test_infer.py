"""Guessing factors: every rule on a column made for it, and no value changed on the way."""
import numpy as np
import pandas as pd
import pytest

from synthkit.core.guesses import parse_age
from synthkit.core.headings import snake, standard_name
from synthkit.core.infer import infer
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.errors import SchemaError


def cells(guess, name):
    return [None if pd.isna(v) else v for v in guess.table[name]]


def label(guess, column):
    return guess.notes.set_index("column").loc[column, "guess"]


def test_a_list_column_becomes_one_category_per_finding():
    guess = infer(pd.DataFrame({"Finding Labels": ["Effusion|Pleural_Thickening", "No Finding", None, "Mass", ""]}))
    assert guess.schema.names == ("effusion", "mass", "pleural_thickening")
    assert guess.schema["effusion"] == Category("effusion", ("absent", "present"))
    assert cells(guess, "effusion") == ["present", "absent", None, "absent", None]
    assert cells(guess, "pleural_thickening") == ["present", "absent", None, "absent", None]
    assert "Finding Labels" not in guess.table


def test_any_text_column_with_bars_is_a_list():
    guess = infer(pd.DataFrame({"radiology": ["Mass | Edema", "Edema", "-1"]}))
    assert cells(guess, "mass") == ["present", "absent", None] and cells(guess, "edema") == ["present", "present", None]


def test_a_finding_with_its_own_column_is_not_made_twice():
    guess = infer(pd.DataFrame({"labels": ["Mass|Edema", "No Finding", "Mass"], "Mass": [1, 0, 1]}))
    assert sorted(guess.schema.names) == ["edema", "mass"] and list(guess.table.columns).count("mass") == 1


@pytest.mark.parametrize("values", [[1, 0, -1, None], [1.0, 0.0, -1.0, np.nan], ["1", "0", "-1", ""], ["1.0", "0.0", "-1.0", None]])
def test_uncertain_and_blank_labels_are_missing(values):
    guess = infer(pd.DataFrame({"Edema": values}))
    assert cells(guess, "edema") == ["present", "absent", None, None]
    assert "uncertain" in guess.notes["why"][0]


def test_truth_values_are_labels():
    assert cells(infer(pd.DataFrame({"smoker": [True, False, True]})), "smoker") == ["present", "absent", "present"]


@pytest.mark.parametrize("values", [["Male", "Female"], ["male", "female"], ["M", "F"], ["m", "f"], ["MALE", "f"]])
def test_sex_is_read_in_any_spelling(values):
    guess = infer(pd.DataFrame({"Patient Gender": [*values, "O", None]}))
    assert guess.schema["sex"].levels == ("F", "M") and cells(guess, "sex") == ["M", "F", None, None]
    assert guess.schema.sensitive == ("sex",)


def test_coded_sex_is_left_out_until_it_is_declared():
    table = pd.DataFrame({"Sex": [1, 0, 1, None]})
    guess = infer(table)
    assert "sex" not in guess.schema and label(guess, "Sex") == "left out: coded" and "levels=" in guess.notes["why"][0]
    declared = infer(table, levels={"sex": {1: "M", 0: "F"}})
    assert cells(declared, "sex") == ["M", "F", "M", None]


def test_a_column_called_male_is_unambiguous():
    assert cells(infer(pd.DataFrame({"is_male": [1, 0, 1]})), "sex") == ["M", "F", "M"]


def test_ages_in_every_notation():
    got = parse_age(pd.Series(["056Y", "6M", "52W", "56", "56.0", "62 years", "414", "-1", None, "old"], dtype=object))
    assert got[:6].tolist() == pytest.approx([56, 0.5, 0.997, 56, 56, 62], abs=1e-3) and got[6:].isna().all()


@pytest.mark.parametrize("heading", ["Patient Age", "PatientAge", "age", "AGE", "Age (years)", "Patient's Age"])
def test_age_is_found_under_any_heading(heading):
    guess = infer(pd.DataFrame({heading: ["034Y", "77", "414"]}))
    assert guess.schema["age"] == Quantity("age", 0, 100, "years", cuts=(40, 65))
    assert cells(guess, "age") == [34, 77, None] and "1 beyond 120" in guess.notes["why"][0]


def test_view_and_names():
    guess = infer(pd.DataFrame({"View Position": ["pa", "AP", "PA", None]}))
    assert guess.schema["view"].levels == ("PA", "AP") and cells(guess, "view") == ["PA", "AP", "PA", None]
    assert standard_name("ViewPosition") == "view" and standard_name("Patient Gender") == "sex"
    assert [snake(n) for n in ("Pleural_Thickening", "PleuralThickening", "SOPInstanceUID", "Follow-up #")] == [
        "pleural_thickening", "pleural_thickening", "sop_instance_uid", "follow_up",
    ]  # fmt: skip


def test_words_and_numbers():
    words = {"grade": [2, 3, 2, 3] * 6, "side": ["Left", "left", "right", None] * 6}
    table = pd.DataFrame({**words, "size_mm": np.linspace(3.2, 41.7, 24), "delta": np.linspace(-7, 9, 24)})
    guess = infer(table)
    assert guess.schema["grade"].levels == ("2", "3")
    assert guess.schema["side"].levels in (("Left", "right"), ("left", "right")) and guess.table["side"].isna().sum() == 6
    assert guess.schema["size_mm"] == Quantity("size_mm", 0, 45, "mm") and guess.schema["delta"].low <= -7
    assert np.array_equal(guess.table["size_mm"], table["size_mm"])


def test_minus_one_among_positive_numbers_is_missing():
    guess = infer(pd.DataFrame({"volume_ml": [-1, *range(3, 63, 2)]}))
    assert guess.table["volume_ml"].isna().sum() == 1 and guess.schema["volume_ml"].low == 0


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("Patient Name", ["DOE^JANE", "ROE^RICHARD"] * 10, "personal"),
        ("BirthDate", ["19500101", "19600202"] * 10, "personal"),
        ("MRN", [f"{i:08d}" for i in range(20)], "personal"),
        ("phone", ["555-1", "555-2"] * 10, "personal"),
        ("Patient ID", list(range(10)) * 2, "id"),
        ("case no", list(range(10)) * 2, "id"),
        ("serial", list(range(100, 121)), "id"),
        ("chart", [880_000 + 37 * i for i in range(20)], "id"),
        ("code", [f"00{i}" for i in range(20)], "id"),
        ("Image Index", [f"{i}.png" for i in range(20)], "id"),
        ("scan", [f"a/{i}.dcm" for i in range(20)], "file name"),
        ("when", ["2020-01-02", "2021-03-04"] * 10, "date"),
        ("study_date", ["Monday", "Tuesday"] * 10, "date"),
        ("link", ["https://a.org/1", "https://a.org/2"] * 10, "address"),
        ("hospital", ["A"] * 20, "constant"),
        ("remarks", ["fine", "ill"] * 10, "free text"),
        ("story", [f"text {i}" for i in range(20)], "free text"),
        ("split", ["train", "test"] * 10, "split"),
        ("licence", ["CC BY", "CC0"] * 10, "about the file"),
        ("blank", [None] * 20, "empty"),
        ("No Finding", [1, 0] * 10, "repeated"),
    ],
)
def test_what_is_no_factor_is_left_out_with_a_note(column, values, why):
    guess = infer(pd.DataFrame({column: values}))
    assert label(guess, column) == f"left out: {why}" and not guess.schema.names
    assert guess.left_out()["column"].tolist() == [column]


def test_declared_factors_are_filled_and_the_rest_is_guessed():
    table = pd.DataFrame({"Effusion": [1, 0, -1], "size": [4, 9, None], "findings": ["Mass", "No Finding", None], "sex": ["Male", "F", "O"]})
    factors = (Category("effusion", ("absent", "present")), Quantity("size", 0, 10, "mm"), Category("hernia", ("absent", "present")))
    guess = infer(table, factors=factors)
    assert guess.schema.names[:3] == ("effusion", "size", "hernia") and {"mass", "sex"} <= set(guess.schema.names)
    assert cells(guess, "effusion") == ["present", "absent", None]
    assert cells(guess, "hernia") == ["absent", "absent", None]  # never listed, yet it was asked for


def test_the_guess_holds_its_own_table():
    rng = np.random.default_rng(0)
    words = {"Sex": rng.choice(["M", "F"], 60), "findings": rng.choice(["A|B", "No Finding", "C"], 60)}
    table = pd.DataFrame({"Age": rng.integers(1, 95, 60), **words, "bmi": rng.normal(27, 4, 60)})
    guess = Schema.infer(table)
    assert guess.schema.check(guess.table).equals(guess.schema.check(guess.schema.check(guess.table)))
    assert guess.schema.encode(guess.table).shape == (60, guess.schema.width)
    again = infer(guess.table)
    assert set(again.schema.names) == set(guess.schema.names)
    assert "effusion" not in guess._repr_html_() and "bmi" in guess._repr_html_()


def test_mistakes_are_named():
    table = pd.DataFrame({"gender": ["M", "F"]})
    with pytest.raises(SchemaError, match="did you mean 'gender'"):
        infer(table, levels={"gendre": {"M": "M"}})
    with pytest.raises(SchemaError, match="two columns 'a'"):
        infer(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(SchemaError, match="'big' is not a number"):
        infer(pd.DataFrame({"size": ["big"]}), factors=[Quantity("size", 0, 10, "mm")])


def test_real_tables_are_understood(real_data):
    nih = infer(pd.read_csv(real_data / "cxr_nih64" / "metadata.csv", dtype=str))
    assert {"age", "sex", "view", "pleural_thickening", "hernia"} <= set(nih.schema.names)
    skin = infer(pd.read_csv(real_data / "skin_ham64" / "metadata.csv"))
    assert len(skin.schema["dx"].levels) == 7 and skin.table["localization"].isna().any()
    for guess in (nih, skin):
        guess.schema.check(guess.table)
