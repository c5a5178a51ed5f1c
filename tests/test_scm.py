"""The causal model of the factors, against closed forms and against known structural equations."""
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, truncnorm

from synthkit.causal.codes import coded, named, set_column, within
from synthkit.causal.graph import CausalGraph
from synthkit.causal.layout import layered
from synthkit.causal.mechanisms import Equation
from synthkit.causal.noise import law, noises_between
from synthkit.causal.scm import SCM
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError, FitError, SchemaError

PRESENCE = ("absent", "present")
SCHEMA = Schema((
    Quantity("age", 20, 90, "years"), Category("sex", ("F", "M")), Quantity("bmi", 15, 45, "kg/m2"), Quantity("heart_ratio", 0.38, 0.70),
    Category("effusion", PRESENCE), Quantity("opacity", 0, 0.5), Quantity("size", 6, 35, "mm", when={"effusion": "present"}),
    Category("stage", ("none", "mild", "severe")),
))  # fmt: skip
GRAPH = CausalGraph(
    SCHEMA, bmi=["age", "sex"], heart_ratio=["age", "bmi"], effusion=["age", "heart_ratio"], opacity=["age", "effusion"], size=["age"], stage=["age", "bmi"]
)


def sigmoid(logit):
    return 1 / (1 + np.exp(-logit))


def spread(age):
    return (age - 58) / 16


def chance(age, heart_ratio):
    """P(effusion) in the true equations."""
    return sigmoid(-0.9 + 0.5 * spread(age) + 9 * (heart_ratio - 0.46))


def stage(noise, age, bmi):
    push = 0.6 * spread(age) + 0.1 * (bmi - 26)
    return (noise > sigmoid(0.4 - push)).astype(int) + (noise > sigmoid(2 - push))


EQUATIONS = {
    "age": Equation(lambda e: 58 + 16 * e),
    "sex": Equation(lambda u: u < 0.5, "uniform"),
    "bmi": Equation(lambda e, age, male: 26 + 0.7 * spread(age) + male + 3.5 * e),
    "heart_ratio": Equation(lambda e, age, bmi: 0.46 + 0.02 * spread(age) + 0.004 * (bmi - 26) + 0.035 * e),
    "effusion": Equation(lambda u, age, heart_ratio: u < chance(age, heart_ratio), "uniform"),
    "opacity": Equation(lambda e, age, effusion: 0.06 + 0.02 * spread(age) + 0.12 * effusion + 0.05 * e),
    "size": Equation(lambda e, age: 15 * np.exp(0.25 * e + 0.1 * spread(age))),
    "stage": Equation(stage, "uniform"),
}
TRUE = SCM(GRAPH, EQUATIONS)


def noises(count, seed):
    rng = np.random.default_rng(seed)
    return {name: equation.law.draw(rng, count) for name, equation in EQUATIONS.items()}


def solved(noise, do=None):
    """The true equations solved for given noise, with factors set."""
    table, do = pd.DataFrame(index=range(len(noise["age"]))), do or {}
    for name in GRAPH.order:
        factor = SCHEMA[name]
        values = within(factor, EQUATIONS[name].value(noise[name], *TRUE.causes(name, table)))
        table[name] = set_column(factor, do[name], table.index) if name in do else named(factor, values, table.index)
    return SCHEMA.clear(table)[[*SCHEMA.names]]


def numbers(table):
    return pd.DataFrame({factor.name: coded(factor, table[factor.name]) for factor in SCHEMA.factors})


def one_category(equation, *, levels=PRESENCE, noise="uniform"):
    """A model of a single category that depends on a dose 0..1."""
    schema = Schema((Quantity("dose", 0, 1), Category("answer", levels)))
    return SCM(CausalGraph(schema, answer=["dose"]), {"dose": Equation(lambda u: u, "uniform"), "answer": Equation(equation, noise)})


@pytest.fixture(scope="module")
def fits():
    """Models learnt from six independent tables of 8,192 rows."""
    return [GRAPH.fit(TRUE.sample(8192, seed=seed)) for seed in range(6)]


# Closed forms


@pytest.mark.parametrize("equation", [lambda u, p: u < p, lambda u, p: u > 1 - p])
@pytest.mark.parametrize(("p", "after"), [(0.3, 0.6), (0.6, 0.3), (0.5, 0.5), (0.2, 1.0), (0.9, 0.0)])
def test_binary_probabilities_are_those_of_monotonicity(equation, p, after):
    table = pd.DataFrame({"dose": [p, p], "answer": ["absent", "present"]})
    answer = one_category(equation).counterfactual(table, {"dose": after}).probabilities["answer"]["present"]
    assert answer.tolist() == pytest.approx([max(0, (after - p) / (1 - p)), min(1, after / p)], abs=1e-12)


def test_probabilities_under_normal_noise():
    table = pd.DataFrame({"dose": [0.2], "answer": ["absent"]})
    twin = one_category(lambda e, dose: e < dose, noise="normal").counterfactual(table, {"dose": 0.7})
    p, after = norm.cdf([0.2, 0.7])
    assert twin.probabilities["answer"]["present"][0] == pytest.approx((after - p) / (1 - p))


def test_three_levels_share_the_interval_of_the_factual_one():
    # Noise intervals at dose 0: [0, .2], [.2, .5], [.5, 1]; at dose .2: [0, 0], [0, .3], [.3, 1].
    scm = one_category(lambda u, dose: (u > 0.2 - dose).astype(int) + (u > 0.5 - dose), levels=("a", "b", "c"))
    twin = scm.counterfactual(pd.DataFrame({"dose": [0.0] * 3, "answer": ["a", "b", "c"]}), {"dose": 0.2})
    assert np.allclose(twin.probabilities["answer"], [[0, 1, 0], [0, 1 / 3, 2 / 3], [0, 0, 1]], atol=1e-12)
    assert twin.edited["answer"].tolist() == ["b", "c", "c"]
    assert twin.caveats()[0] == "answer: the most probable value is shown; in 1 row it is less than 90 % probable"


def test_a_tie_keeps_the_factual_level():
    table = pd.DataFrame({"dose": [0.5], "answer": ["present"]})
    assert one_category(lambda u, p: u < p).counterfactual(table, {"dose": 0.25}).edited["answer"][0] == "present"


def test_a_level_that_the_model_cannot_give_is_kept_and_said():
    table = pd.DataFrame({"dose": [0.0], "answer": ["present"]})
    twin = one_category(lambda u, p: u < p).counterfactual(table, {"dose": 0.4})
    assert twin.edited["answer"][0] == "present" and "cannot give the factual value" in " ".join(twin.caveats())


@pytest.mark.parametrize("curve", [lambda e: 3 + 2 * e, lambda e: 3 - 2 * e, lambda e: np.exp(e), lambda e: -(e**3)])
def test_abduction_inverts_monotone_curves(curve):
    noise = np.linspace(-3, 3, 13)
    low, high = noises_between(curve, curve(noise), curve(noise), (-12.0, 12.0))
    assert np.allclose(low, noise, atol=2e-5) and np.allclose(high, noise, atol=2e-5)


def test_abduction_at_jumps_and_flat_pieces():
    jump = noises_between(lambda u: np.where(u < 0.4, -1.0, 1.0) + u, np.zeros(1), np.zeros(1), (0.0, 1.0))
    assert np.allclose(jump, 0.4), "a value in the gap points at the jump"
    flat = noises_between(lambda e: np.clip(e, -1, 1), np.array([1.0, -1.0]), np.array([1.0, -1.0]), (-12.0, 12.0))
    assert np.allclose(flat, [[1, -12], [12, -1]])


def test_the_mean_of_noise_in_an_interval():
    low, high = np.array([-12.0, -0.5, 1.0, 6.0, 2.0]), np.array([-1.3, 0.7, 12.0, 9.0, 2.0])
    expected = [*truncnorm.mean(low[:4], high[:4]), 2.0]
    assert np.allclose(law("normal").middle(low, high), expected, rtol=1e-6)
    assert law("uniform").middle(np.array([0.2]), np.array([0.6]))[0] == pytest.approx(0.4)


def test_support_is_the_share_beyond_the_conditional_quantiles():
    rest = {"sex": "F", "bmi": 26.0, "heart_ratio": 0.46, "effusion": "absent", "opacity": 0.1, "size": np.nan, "stage": "none"}
    table = pd.DataFrame({"age": [30.0, 58.0, 90.0], **rest})
    edge = 26 + 0.7 * spread(58) + 3.5 * norm.ppf(0.995)
    inside, outside = TRUE.counterfactual(table, {"bmi": edge - 1e-6}), TRUE.counterfactual(table, {"bmi": edge + 1e-6})
    assert inside.frame().set_index("factor").loc["bmi", "outside_support"] == pytest.approx(1 / 3), "the youngest row alone"
    assert outside.frame().set_index("factor").loc["bmi", "outside_support"] == pytest.approx(2 / 3)
    assert outside.caveats()[0].startswith("2 of 3 rows: bmi = 35.0154 lies outside the 0.5–99.5 % quantiles of bmi given its parents")
    rare = one_category(lambda u, p: u < p).counterfactual(pd.DataFrame({"dose": [0.004, 0.006], "answer": "absent"}), {"answer": "present"})
    assert rare.caveats()[0].startswith("1 of 2 rows: answer = present has a probability under 0.5 %")


# The graph


def test_order_parents_and_descendants():
    assert GRAPH.order == ("age", "sex", "bmi", "heart_ratio", "stage", "effusion", "opacity", "size")
    assert GRAPH.parents("effusion") == ("age", "heart_ratio") and GRAPH.parents("age") == ()
    assert GRAPH.descendants(["bmi"]) == ("heart_ratio", "stage", "effusion", "opacity", "size"), "size applies only with an effusion"
    assert GRAPH.descendants(["opacity", "size"]) == ()
    assert GRAPH == CausalGraph(SCHEMA, {name: list(GRAPH.parents(name)) for name in SCHEMA.names}), "as a mapping or by keyword"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CausalGraph(SCHEMA, bmi=["age"], age=["heart_ratio"], heart_ratio=["bmi"]), "the graph has a cycle: age -> bmi -> heart_ratio -> age"),
        (lambda: CausalGraph(SCHEMA, age=["age"]), "the graph has a cycle: age -> age"),
        (lambda: CausalGraph(SCHEMA, effusion=["size"]), "the graph has a cycle: effusion -> size -> effusion"),
        (lambda: CausalGraph(SCHEMA, weight=["age"]), "unknown factor 'weight'; this schema has age, sex, bmi"),
        (lambda: CausalGraph(SCHEMA, bmi=["weight"]), "unknown factor 'weight'"),
        (lambda: CausalGraph(SCHEMA, bmi="age"), r"bmi: give its parents as a list, \['age'\]"),
        (lambda: CausalGraph(SCHEMA, {"bmi": None}), "bmi: its parents are a NoneType; give a list of names"),
        (lambda: CausalGraph(SCHEMA, [("bmi", ["age"])]), "the parents are a list; give a mapping"),
        (lambda: CausalGraph(SCHEMA, "age"), "the parents are a str; give a mapping"),
        (lambda: CausalGraph(None), "the schema is a NoneType; give a Schema"),
        (lambda: CausalGraph(pd.DataFrame({"age": [50]})), "the schema is a DataFrame; give a Schema"),
        (lambda: CausalGraph(SCHEMA, bmi=["age", "age"]), "bmi: a parent is named twice"),
        (lambda: CausalGraph(SCHEMA, {"bmi": ["age"]}, bmi=["sex"]), "bmi: its parents are given twice"),
        (lambda: GRAPH.descendants(["weight"]), "unknown factor 'weight'"),
        (lambda: SCM(GRAPH, {**EQUATIONS, "weight": EQUATIONS["age"]}), "'weight' is unknown"),
        (lambda: SCM(GRAPH, {"age": EQUATIONS["age"]}), "'sex' has none"),
        (lambda: Equation(lambda e: e, "gauss"), "'gauss' is not one of normal, uniform"),
    ],
)
def test_impossible_graphs_and_models_are_refused(make, message):
    with pytest.raises(SchemaError, match=message):
        make()


def test_arrows_point_right_and_nodes_keep_their_distance():
    layout = layered({name: GRAPH.before(name) for name in GRAPH.order})
    for name in GRAPH.order:
        assert all(layout.place[cause][0] < layout.place[name][0] for cause in GRAPH.before(name))
    rows = pd.DataFrame(layout.place.values(), columns=["column", "row"]).sort_values("row").groupby("column")["row"].diff().dropna()
    assert (rows >= 1 - 1e-9).all()


def test_the_figure_shows_every_node_and_arrow():
    figure = GRAPH.figure(set_to=["age"], moved=["bmi"], notes={"bmi": "mean +1"})
    arrows = sum(len(GRAPH.before(name)) for name in GRAPH.order)
    assert len(figure.layout.shapes) == 2 * arrows + len(GRAPH.order)
    texts = [note.text for note in figure.layout.annotations]
    assert [text.split("<br>")[0] for text in texts] == list(GRAPH.order) and "mean +1" in texts[2]
    assert sum(shape.line.dash == "dash" for shape in figure.layout.shapes) == 1, "size depends on effusion only by applying"
    lonely = CausalGraph(Schema((Quantity("a", 0, 1), Quantity("b", 0, 1)))).figure()
    assert len(lonely.layout.shapes) == 2


# Sampling


def test_a_sampled_row_depends_on_seed_and_number_alone():
    table = TRUE.sample(50, seed=3)
    pd.testing.assert_frame_equal(TRUE.sample(20, seed=3), table[:20])
    assert not TRUE.sample(20, seed=4)["age"].equals(table["age"][:20])
    assert SCHEMA.check(table).equals(table) and list(table) == list(SCHEMA.names)
    assert table["size"].notna().equals(table["effusion"] == "present")


def test_an_intervention_moves_descendants_and_nothing_else():
    before, after = TRUE.sample(400, seed=3), TRUE.do({"heart_ratio": 0.6}).sample(400, seed=3)
    assert (after["heart_ratio"] == 0.6).all()
    pd.testing.assert_frame_equal(before[["age", "sex", "bmi", "stage"]], after[["age", "sex", "bmi", "stage"]])
    assert (after["effusion"] == "present").mean() > (before["effusion"] == "present").mean() + 0.2
    assert TRUE.do({"effusion": "absent"}).sample(50, seed=0)["size"].isna().all()
    size = TRUE.do({"size": 12}).sample(50, seed=0)
    assert size["size"].dropna().eq(12).all() and size["size"].isna().equals(size["effusion"] == "absent")


# Counterfactuals


def clinical(count=300, seed=8):
    """A table as it comes: an index of its own, whole years, other columns."""
    table = TRUE.sample(count, seed=seed)
    table["age"] = table["age"].round().astype(int)
    return table.assign(image_id=[f"image-{n}" for n in range(count)], note=1).set_index(pd.Index(range(1000, 1000 + count)))


@pytest.mark.parametrize("effect", ["total", "direct"])
def test_doing_nothing_changes_no_bit(effect, fits):
    for scm in (TRUE, fits[0]):
        twin = scm.counterfactual(clinical(), {}, effect=effect)
        pd.testing.assert_frame_equal(twin.edited, clinical(), check_exact=True)
        assert twin.moved == () and twin.caveats() == []


@pytest.mark.parametrize("effect", ["total", "direct"])
@pytest.mark.parametrize("do", [{"age": 80}, {"effusion": "present"}, {"effusion": "absent", "bmi": 20.0}, {"sex": "M", "heart_ratio": 0.65}])
def test_doing_it_twice_is_doing_it_once(effect, do, fits):
    for scm in (TRUE, fits[0]):
        once = scm.counterfactual(clinical(), do, effect=effect).edited
        pd.testing.assert_frame_equal(scm.counterfactual(once, do, effect=effect).edited, once, check_exact=True)


def test_known_noise_is_kept_exactly():
    noise = noises(500, 1)
    factual = solved(noise)
    inner = ((factual[["bmi", "heart_ratio"]] > [15, 0.38]) & (factual[["bmi", "heart_ratio"]] < [45, 0.7])).all(axis=1)
    truth = solved(noise, {"age": 75})
    edited = TRUE.counterfactual(factual, {"age": 75}).edited
    assert np.allclose(edited.loc[inner, ["bmi", "heart_ratio"]], truth.loc[inner, ["bmi", "heart_ratio"]], atol=1e-9)


def test_direct_holds_the_descendants_and_says_so():
    table = clinical()
    twin = TRUE.counterfactual(table, {"age": 80}, effect="direct")
    pd.testing.assert_frame_equal(twin.edited.drop(columns="age"), table.drop(columns="age"))
    assert twin.moved == () and twin.probabilities.empty
    assert twin.caveats()[-1].endswith("would follow: bmi, heart_ratio, stage, effusion, opacity, size.") and "held" in twin.caveats()[-1]


def test_other_columns_and_the_factual_table_stay():
    table = clinical()
    twin = TRUE.counterfactual(table, {"age": 80})
    pd.testing.assert_frame_equal(twin.factual, clinical())
    pd.testing.assert_frame_equal(table, clinical())
    assert twin.edited["note"].equals(table["note"]) and twin.edited.index.equals(table.index) and list(twin.edited) == list(table)
    assert (twin.edited["age"] == 80).all() and twin.edited["sex"].equals(table["sex"])
    assert {"bmi", "heart_ratio", "opacity"} <= set(twin.moved)


@pytest.mark.parametrize("effect", ["total", "direct"])
def test_values_cease_to_apply_and_come_to_apply(effect):
    table = clinical()
    had = (table["effusion"] == "present").to_numpy()
    healed = TRUE.counterfactual(table, {"effusion": "absent"}, effect=effect)
    assert healed.edited["size"].isna().all() and f"size: blank in {had.sum()} rows, where it no longer applies" in healed.caveats()
    ill = TRUE.counterfactual(table, {"effusion": "present"}, effect=effect, seed=5)
    assert ill.edited["size"].notna().all() and ill.edited["size"][had].equals(table["size"][had])
    assert any(note.startswith(f"size: drawn at random in {(~had).sum()} rows") for note in ill.caveats())
    turned = TRUE.counterfactual(table[::-1], {"effusion": "present"}, effect=effect, seed=5)
    assert turned.edited["size"][::-1].equals(ill.edited["size"]), "the image id keys the draw, not the place"
    other = TRUE.counterfactual(table, {"effusion": "present"}, effect=effect, seed=6)
    assert not other.edited["size"].equals(ill.edited["size"])


def test_what_is_missing_stays_missing():
    table = clinical(6)
    table.loc[1000, "bmi"] = np.nan
    table.loc[1001, "stage"] = None
    table["sex"] = table["sex"].where(table.index != 1002, None)
    twin = TRUE.counterfactual(table, {"age": 80})
    assert twin.edited["bmi"].isna().tolist() == [True, False, True, False, False, False], "itself, or a parent, is unknown"
    assert pd.isna(twin.edited["stage"][1001]) and twin.edited["heart_ratio"].isna().tolist()[:3] == [True, False, True]
    assert "bmi: blank in 2 rows, where it or one of its parents is unknown" in twin.caveats()


def test_one_value_per_row_and_numbers_as_levels():
    table = clinical(4)
    twin = TRUE.counterfactual(table, {"age": [30, 40, 50, 60]})
    assert twin.edited["age"].tolist() == [30, 40, 50, 60] and "a value per row" in twin.title
    schema = Schema((Category("lesion", ("0", "1")), Quantity("x", -9, 9)))
    scm = SCM(CausalGraph(schema, x=["lesion"]), {"lesion": Equation(lambda u: u < 0.5, "uniform"), "x": Equation(lambda e, lesion: e + 2 * lesion)})
    assert scm.counterfactual(pd.DataFrame({"lesion": [0, 1], "x": [0.5, 0.5]}), {"lesion": 1}).edited["x"].tolist() == pytest.approx([2.5, 0.5])


def test_a_value_set_where_it_does_not_apply_stays_blank():
    table = clinical(40)
    twin = TRUE.counterfactual(table, {"size": 20})
    without = (table["effusion"] == "absent").sum()
    assert twin.edited["size"].isna().sum() == without
    assert f"size: set, but it does not apply in {without} rows, which stay blank" in twin.caveats()


def test_the_result_is_a_section():
    twin = TRUE.counterfactual(clinical(64), {"age": 90})
    frame = twin.frame().set_index("factor")
    assert twin.title == "What if: age → 90 (total effect)"
    assert frame.loc["age", "mean_change"] == pytest.approx(90 - clinical(64)["age"].mean()) and frame.loc["age", "part"] == "set"
    assert frame.loc["effusion", "mean_probability"] <= 1 and set(twin.probabilities.columns.levels[0]) == {"effusion", "stage"}
    assert np.allclose(twin.probabilities["stage"].sum(axis=1), 1)
    assert "red: set" in twin.figure().layout.title.subtitle.text and "text/html" in twin._repr_mimebundle_()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: TRUE.counterfactual(t, {"weight": 1}), "unknown factor 'weight'; this schema has age"),
        (lambda t: TRUE.counterfactual(t, {"age": 140}), "age: 140 years is outside 20..90 years"),
        (lambda t: TRUE.counterfactual(t, {"effusion": "maybe"}), "effusion: 'maybe' is not one of absent, present"),
        (lambda t: TRUE.counterfactual(t, {"age": None}), "do: age is set to nothing; give a value"),
        (lambda t: TRUE.counterfactual(t, {"age": [30, 40]}), "do: age has 2 values for 5 rows"),
        (lambda t: TRUE.counterfactual(t, {"age": 50}, effect="indirect"), "effect: 'indirect' is not one of total, direct"),
        (lambda t: TRUE.counterfactual(t.drop(columns=["bmi", "stage"]), {"age": 50}), "the table lacks bmi, stage; a causal model needs a column for every"),
        (lambda t: TRUE.do({"age": [30, 40]}), "do: age is set to .* give one value"),
        (lambda t: TRUE.do({"weight": 3}), "unknown factor"),
        *((lambda t, do=do: TRUE.counterfactual(t, do), "do is a .*; give a mapping") for do in (None, "effusion", [("age", 80)])),
        *((lambda t, do=do: TRUE.do(do), "do is a .*; give a mapping") for do in (None, "effusion", [("age", 80)])),
        *(
            (lambda t, value=value: TRUE.counterfactual(t, {"age": value}), "do: age is set to a .*; give")
            for value in (np.array(80.0), lambda: 80, object(), {"mean": 80}, {80}, [[50]] * 5, 50j, pd.Timestamp(0))
        ),
        *((lambda t, value=value: TRUE.counterfactual(t, {"opacity": value}), "opacity is set to True, which is no") for value in (True, [np.True_] * 5)),
        (lambda t: TRUE.do({"opacity": True}), "opacity is set to True, which is no number"),
        (lambda t: TRUE.do({"age": np.array(80.0)}), "do: age is set to .* give one value"),
        (lambda t: TRUE.sample(0, seed=0), "count: 0 is not a whole number of rows"),
        (lambda t: GRAPH.fit(t.drop(columns="age")), "the table lacks age"),
    ],
)
def test_impossible_questions_are_refused(ask, message):
    with pytest.raises(SchemaError, match=message):
        ask(clinical(5))


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="the table is empty"):
        TRUE.counterfactual(clinical(5)[:0], {"age": 50})


@pytest.mark.parametrize("given", [None, {"age": [50]}, [1], "table.csv"])
def test_what_is_no_table_is_refused(given):
    for ask in (lambda: TRUE.counterfactual(given, {"age": 50}), lambda: GRAPH.fit(given)):
        with pytest.raises(DataError, match=f"the table is a {type(given).__name__}; give a DataFrame or a Cohort"):
            ask()


def test_a_cohort_stands_for_its_table():
    table = clinical(200)
    raw = np.zeros((200, 1, 2, 2), np.uint8)
    cohort = Cohort.of(raw, table, schema=SCHEMA, space=Space((2, 2), (Channel("x"),)), provenance=Provenance("synthetic", "equations"))
    for scm in (TRUE, GRAPH.fit(cohort)):
        expected = scm.counterfactual(cohort.table, {"age": 80}, seed=3).edited
        pd.testing.assert_frame_equal(scm.counterfactual(cohort, {"age": 80}, seed=3).edited, expected, check_exact=True)


def test_the_expected_share_of_changes_is_told_apart_from_the_most_probable_ones():
    """P(present) rises from .2 to .5: three of eight absent ones turn, though absent stays the likelier in each."""
    table = pd.DataFrame({"dose": [0.2] * 4, "answer": ["absent", "absent", "present", None]})
    twin = one_category(lambda u, p: u < p).counterfactual(table, {"dose": 0.5})
    row = twin.frame().set_index("factor").loc["answer"]
    assert row["changed"] == 0 and row["expected_changed"] == pytest.approx((0.375 + 0.375 + 0) / 3)
    assert np.isnan(twin.frame().set_index("factor").loc["dose", "expected_changed"])
    (said,) = [note for note in twin.caveats() if "must not be averaged" in note]
    assert said.startswith("answer: ") and ".probabilities" in said and ".do(...).sample(...)" in said
    sure = one_category(lambda u, p: u < p).counterfactual(table, {"dose": 0.2})
    assert not any("must not be averaged" in note for note in sure.caveats())


def test_rounding_is_no_change():
    schema = Schema((Quantity("age", 0, 100), Quantity("fev", 0, 8), Quantity("late", 0, 8)))
    third = Equation(lambda e, age: 3 + e / 3 + age * 1e-13)
    scm = SCM(
        CausalGraph(schema, fev=["age"], late=["fev"]),
        {"age": Equation(lambda e: 50 + e), "fev": third, "late": Equation(lambda e, fev: fev + e / 3)},
    )
    table = scm.sample(50, seed=0)
    twin = scm.counterfactual(table, {"age": 80})
    assert twin.moved == () and (twin.frame()["mean_change"][1:] == 0).all()
    pd.testing.assert_frame_equal(twin.edited.drop(columns="age"), table.drop(columns="age"), check_exact=True)


def test_a_model_shows_its_graph():
    assert TRUE.figure(set_to=["age"], notes={"bmi": "seen"}).to_json() == GRAPH.figure(set_to=["age"], notes={"bmi": "seen"}).to_json()


def test_an_inferred_schema_is_taken():
    inferred = Schema.infer(TRUE.sample(200, seed=0))
    assert CausalGraph(inferred, bmi=["age"]) == CausalGraph(inferred.schema, bmi=["age"])


# Learning


@pytest.mark.parametrize("child", ["dose", "answer"])
def test_a_parent_of_a_single_level_leaves_the_intercept(child):
    schema = Schema((Category("site", ("A",)), Quantity("dose", 0, 9), Category("answer", PRESENCE)))
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"site": "A", "dose": rng.normal(5, 1, 400), "answer": np.where(rng.random(400) < 0.3, "present", "absent")})
    alone, given = (CausalGraph(schema, edges).fit(table).sample(50, seed=1) for edges in ({}, {child: ["site"]}))
    pd.testing.assert_frame_equal(alone, given)


def test_too_few_rows_are_refused_with_their_number():
    table = TRUE.sample(200, seed=0)
    table.loc[9:, "bmi"] = np.nan
    with pytest.raises(FitError, match=r"bmi: 9 rows know it and its parents \(age, sex\); 40 are needed"):
        GRAPH.fit(table)


def test_rows_with_missing_values_are_left_out_where_they_matter():
    table = TRUE.sample(600, seed=0)
    holes = table.assign(sex=table["sex"].where(table.index % 3 > 0, None))
    part, whole = GRAPH.fit(holes), GRAPH.fit(table[table.index % 3 > 0])
    change = {"sex": "M"}
    pd.testing.assert_series_equal(part.counterfactual(table, change).edited["bmi"], whole.counterfactual(table, change).edited["bmi"])


def test_a_single_level_and_a_parent_that_does_not_apply():
    schema = Schema((
        Category("lesion", PRESENCE), Quantity("radius", 0, 40, when={"lesion": "present"}), Category("rare", PRESENCE), Quantity("dose", 0, 100),
    ))  # fmt: skip
    rng = np.random.default_rng(0)
    lesion, radius = rng.random(3000) < 0.5, rng.uniform(5, 30, 3000)
    dose = np.where(lesion, 40 + radius, 20) + rng.normal(0, 1, 3000)
    table = pd.DataFrame({"lesion": np.where(lesion, "present", "absent"), "radius": np.where(lesion, radius, np.nan), "rare": "absent", "dose": dose})
    scm = CausalGraph(schema, dose=["radius"]).fit(table)
    assert (scm.sample(100, seed=0)["rare"] == "absent").all()
    healed = scm.counterfactual(table[lesion], {"lesion": "absent"}).edited
    assert np.abs(healed["dose"] - 20).mean() < 1.2 and np.corrcoef(healed["dose"], (dose - 40 - radius)[lesion])[0, 1] > 0.98


def test_learnt_mechanisms_invert_their_own_values(fits):
    table = TRUE.sample(500, seed=40)
    for name in ("bmi", "opacity", "size"):
        rows = table[name].notna().to_numpy()
        parents = [cause[rows] for cause in fits[0].causes(name, table)]
        noise = np.random.default_rng(1).standard_normal(rows.sum())
        values = fits[0].mechanisms[name].value(noise, *parents)
        assert np.allclose(fits[0].mechanisms[name].noises(values, values, *parents), noise, atol=1e-6)


def interventions():
    """Twenty random ones: one or two factors, values from the middle 98 % of each."""
    rng, table = np.random.default_rng(0), TRUE.sample(8192, seed=99)
    for number in range(20):
        names = [str(name) for name in rng.choice(["age", "sex", "bmi", "heart_ratio", "effusion"], size=1 + number % 2, replace=False)]
        ends = {name: table[name].quantile([0.01, 0.99]) for name in names if isinstance(SCHEMA[name], Quantity)}
        yield {name: float(rng.uniform(*ends[name])) if name in ends else str(rng.choice(SCHEMA[name].levels)) for name in names}


def test_interventional_means_agree_with_the_true_equations(fits):
    """The standard error is that of the whole procedure, fit to 8,192 rows and sample 8,192, over the six fits.

    Six values say little about one spread, so each variance is moderated by the common ratio to its sampling variance (Smyth 2004).
    """
    errors, spreads, floors = [], [], []
    for number, do in enumerate(interventions()):
        moved = [*GRAPH.descendants(do)]
        truth = numbers(TRUE.do(do).sample(50_000, seed=1000 + number))[moved]
        means = pd.DataFrame([numbers(scm.do(do).sample(8192, seed=2000 + 100 * fit + number))[moved].mean() for fit, scm in enumerate(fits)])
        errors.append((means - truth.mean()).to_numpy())
        spreads.append(means.var())
        floors.append(truth.var() / (8192 * truth.notna().mean()))
    variance, floor, error = pd.concat(spreads).to_numpy(), pd.concat(floors).to_numpy(), np.concatenate(errors, 1)
    free = variance > 0  # A set effusion of absent leaves no size.
    moderated = (variance[free] + floor[free] * np.mean(variance[free] / floor[free])) / 2
    assert len(moderated) > 70 and np.abs(error[:, free] / np.sqrt(moderated)).max() < 3.5


@pytest.mark.parametrize("name", ["bmi", "heart_ratio", "opacity", "size"])
def test_counterfactual_quantities_agree_with_the_true_noise(name, fits):
    """All parents are set to another row's, so that only the mechanism itself is judged; rows cut off at an end of the range count too."""
    noise, rng = noises(4096, 7), np.random.default_rng(0)
    factual = solved(noise)
    do = {parent: factual[parent].to_numpy()[rng.permutation(len(factual))] for parent in GRAPH.parents(name)}
    do |= {gate: factual[gate].to_numpy() for gate in SCHEMA[name].when}
    error = fits[0].counterfactual(factual, do).edited[name] - solved(noise, do)[name]
    assert np.sqrt((error**2).mean()) < 0.1 * factual[name].std()


def test_counterfactual_probabilities_agree_with_the_closed_form(fits):
    """Within .03 in nine of ten; the others stem from the fitted table: the maximum-likelihood fit of the true logit misses by as much."""
    factual = solved(noises(4096, 11))
    p, present = chance(factual["age"], factual["heart_ratio"]), factual["effusion"] == "present"
    missed = []
    for scm in fits:
        for do in ({"age": 75.0, "heart_ratio": factual["heart_ratio"]}, {"age": 40.0, "heart_ratio": factual["heart_ratio"]}, {"heart_ratio": 0.5}):
            after = chance(do.get("age", factual["age"]), do["heart_ratio"])
            truth = np.where(present, np.minimum(1, after / p), np.maximum(0, (after - p) / (1 - p)))
            found = scm.counterfactual(factual, do).probabilities["effusion"]["present"]
            missed.append(np.abs(found - truth))
    assert max(miss.mean() for miss in missed) < 0.03
    assert (np.concatenate(missed) < 0.03).mean() > 0.9


def test_a_category_is_fitted_as_by_maximum_likelihood(fits):
    from sklearn.linear_model import LogisticRegression

    table = TRUE.sample(8192, seed=0)
    columns = np.stack([spread(table["age"]), (table["heart_ratio"] - 0.46) / 0.05], 1)
    expected = LogisticRegression(C=1e6).fit(columns, table["effusion"] == "present").predict_proba(columns)[:, 1]
    low, _ = fits[0].mechanisms["effusion"].noises(np.full(8192, 0.5), np.full(8192, np.inf), table["age"].to_numpy(), table["heart_ratio"].to_numpy())
    assert np.abs((1 - low) - expected).max() < 0.002


def test_the_core_stays_light():
    code = "import sys, synthkit.causal.scm, synthkit.causal.mechanisms; print([m for m in ('sklearn', 'scipy', 'plotly') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
