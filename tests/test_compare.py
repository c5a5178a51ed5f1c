"""Comparison of families: one yardstick, paired differences, planted faults, costs, resuming, and what is refused."""
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, SMALL_NET, exact_generator, toy_cohort

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.errors import DataError, FitError, LeakageError, SchemaError
from synthkit.explanation.edits import prepared_edits, usual_edits
from synthkit.generators.base import Recipe
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.generator import Generator
from synthkit.metrics.comparison import Comparison as Rows
from synthkit.metrics.features import Features
from synthkit.metrics.metric import FeatureMetric
from synthkit.metrics.neighbours import Precision
from synthkit.nets.network import EditableNetwork, Network
from synthkit.phantoms.chest import ChestPhantom
from synthkit.studies.compare import Comparison, compare
from synthkit.studies.families.editing import SEEN, SKILL, TRIP, trials
from synthkit.studies.families.family import announced, named, slug
from synthkit.studies.families.footprint import Peak, footprint
from synthkit.studies.families.scoreboard import BASELINE, COST, FIDELITY, SAME, Scoreboard
from synthkit.studies.families.yardstick import FEWEST_HALVES, Difference, Yardstick
from synthkit.tasks.predictor import Predictor

SMALL = {"options": SMALL_NET, "batch_size": 16}


def quiet(line: str) -> None:
    """Progress nobody reads."""


class Draw(Network):
    """Images like the toy's: the finding's brightness at some strength, and grain of some size; no encoder."""

    def __init__(self, *, strength: float = 1.0, grain: float = 0.15):
        super().__init__()
        self.strength, self.grain = torch.nn.Parameter(torch.tensor(strength)), grain

    def latent_shape(self) -> tuple[int, ...]:
        return (1, 16, 16)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.grain * z + self.strength * (c[:, 1] - c[:, 0]).reshape(-1, 1, 1, 1) / 2


class Idle(EditableNetwork):
    """Gives back what it gets, whatever the condition."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape, self.weight = shape, torch.nn.Parameter(torch.zeros(1))

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return z

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return x


def family(data: Cohort, network: Network, name: str = "toy") -> Generator:
    exact = exact_generator(data)
    return Generator(exact.recipe, network.requires_grad_(False), data.schema, data.space, replace(exact.card, name=name))


def squares(images: torch.Tensor) -> torch.Tensor:
    """Mean and spread of the quarters of an image."""
    parts = images.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4).flatten(1, 3)
    return torch.cat([parts.mean(-1), parts.std(-1)], 1)


EYES = Features("quarters", squares)


class Bright(torch.nn.Module):
    """Says "present" as surely as the image is bright."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = 4 * x.flatten(1).mean(1)
        return torch.stack([-mean, mean], 1)


@pytest.fixture(scope="module")
def data() -> Cohort:
    return toy_cohort(400, per_patient=2)


@pytest.fixture(scope="module")
def judged(data) -> Predictor:
    return Predictor.of(Bright(), SCHEMA["lesion"], data)


@pytest.fixture(scope="module")
def planted(data, judged) -> Comparison:
    """A faithful family, itself again, one that hardly shows the finding, one of a single image per finding, and an editor."""
    families = {
        "faithful": family(data, Draw()), "again": family(data, Draw()), "faint": family(data, Draw(strength=0.2)),
        "collapsed": family(data, Draw(grain=0.0)), "editor": exact_generator(data),
    }  # fmt: skip
    return compare(families, data, judge=judged, extractor=EYES, count=96, footprints=False, say=quiet)


def said(result: Comparison, name: str, measure: str) -> str:
    rows = result.frame()
    return rows[(rows["family"] == name) & (rows["measure"] == measure)]["against_first"].iloc[0]


def test_a_family_does_not_differ_from_itself(planted):
    rows = planted.frame().query("family == 'again' and aspect != 'cost' and difference == difference")
    assert len(rows) >= 8 and (rows["difference"] == 0).all() and (rows["against_first"] == SAME).all()


def test_planted_faults_are_found_where_they_lie(planted):
    assert said(planted, "faint", "KID") == said(planted, "faint", "Precision") == "worse"
    assert said(planted, "collapsed", "Coverage") == said(planted, "collapsed", "Recall") == said(planted, "collapsed", "Vendi") == "worse"
    faithful = planted.frame().query("family == 'faithful' and measure in ['KID', 'Precision', 'Recall', 'Coverage']")
    assert len(faithful) == 4 and faithful["reading"].str.startswith("not told apart from real").all(), faithful[["measure", "value", "floor", "reading"]]


def test_every_family_is_asked_for_the_same_images_of_test_patients(planted, data):
    keys = {name: fake.table["request_id"].tolist() for name, fake in planted.samples.items()}
    assert all(rows == planted.real.table["image_id"].tolist() for rows in keys.values()) and len(planted.real) == 96
    assert np.array_equal(planted.samples["faithful"].images.raw(), planted.samples["again"].images.raw())


def test_what_cannot_edit_says_so_and_what_edits_exactly_is_exact(planted):
    rows = planted.frame().query("aspect == 'editing'").set_index("family")
    assert rows.loc["faithful", "reading"] == "no: its network has no encoder"
    editor = rows.loc["editor"].set_index("measure")
    assert editor.loc[TRIP, "value"] < 0.01 and editor.loc[SEEN, "value"] == 1 and editor.loc[SEEN, "low"] < 0.95, "all read right is not all certain"


def test_every_quality_figure_has_n_and_an_interval(planted):
    rows = planted.frame().query("aspect != 'cost' and value == value")
    assert rows["n"].gt(0).all() and (rows["low"] <= rows["value"] + 1e-9).all() and (rows["value"] <= rows["high"] + 1e-9).all()
    text = " ".join(planted.caveats())
    assert "trained once" in text and "Bonferroni" in text and "under 100" in text and "not 'equal'" in text and "Taken as they were" in text
    assert "editor: the latent holds the whole image" in text


def test_it_shows_itself(planted):
    table = planted.overview()
    assert list(table.columns) == ["aspect", "measure", *planted.samples] and table.set_index("measure").loc["KID", "faint"].endswith("*")
    titles = [note.text for note in planted.figure().layout.annotations]
    assert "KID" in titles and "parameters (millions)" in titles and "Adherence AUC, lesion" in titles
    names = [note.text for note in planted.sheet().layout.annotations]
    assert names[:3] == ["test image", "faithful", "again"] and "families" in planted._repr_mimebundle_()["text/html"]


@dataclass(frozen=True)
class Offset(FeatureMetric):
    """Mean of the fake minus mean of the real features: its errors are known."""

    better = "lower"

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        return float(fake.mean() - real.mean())


def yardstick(real: torch.Tensor) -> Yardstick:
    n = len(real)
    units = {"real": np.arange(n), "fake": np.arange(n)}
    rows = Rows(("real", np.arange(n)), ("fake", np.arange(n)), (("real", np.arange(n)), ("real", np.arange(n))), units, matched=True)
    return Yardstick((Offset(),), EYES, {"Offset": {"real": real}, "Precision": {"real": real}}, rows, toy_cohort(4), seed=0)


def test_the_error_of_a_paired_difference_is_that_of_the_pairs():
    rng = torch.Generator().manual_seed(0)
    common, own = (torch.randn(400, 1, generator=rng, dtype=torch.float64) for _ in range(2))
    found = yardstick(torch.randn(400, 1, generator=rng, dtype=torch.float64)).difference(Offset(), common + 0.1 * own, common)
    assert found.value == pytest.approx(float(0.1 * own.mean()))
    assert found.error == pytest.approx(float((0.1 * own).std()) / 20, rel=0.35), "not 0.07, which unpaired sets would have"


def test_shares_at_their_limit_are_not_called_surely_equal():
    same = torch.arange(40, dtype=torch.float64)[:, None]
    found = yardstick(same).difference(Precision(), same, same)
    # Both are 1 of 40: Wilson's interval reaches down to 0.912.
    assert found.value == 0 and found.error == pytest.approx(2**0.5 * (1 - 0.91238) / (2 * 1.959964), rel=1e-3)


def test_a_generator_of_one_single_image_is_scored_too(data, judged):
    frame = compare([family(data, Draw(strength=0.0, grain=0.0))], data, judge=judged, extractor=EYES, count=24, footprints=False, say=quiet).frame()
    assert frame.set_index("measure").loc["Vendi", "value"] == pytest.approx(1) and frame.set_index("measure").loc["Recall", "value"] == 0


def test_intervals_of_differences_hold_their_level():
    inside = []
    for trial in range(120):
        rng = torch.Generator().manual_seed(trial)
        real, a, b = (torch.randn(60, 1, generator=rng, dtype=torch.float64) for _ in range(3))
        found = yardstick(real).difference(Offset(), a, b)
        inside.append(abs(found.value) <= 1.96 * found.error)
    assert 0.87 <= np.mean(inside) <= 0.995


def test_verdicts_share_the_error_of_all_differences():
    book = Scoreboard()
    common = {"measure": "m", "group": "all", "value": 1.0, "low": 0.0, "high": 2.0, "n": 9}
    book.add("first", FIDELITY, better="lower", **common)
    apart = [(-2.6, "lower", "better"), (2.6, "lower", "worse"), (2.6, "higher", "better"), (2.3, "higher", SAME), (0.0, "lower", SAME)]
    for value, better, _ in apart:
        book.add("other", FIDELITY, Difference(value, 1.0), better=better, **common)
    book.add("other", FIDELITY, better="lower", **common)
    book.add("other", COST, better="lower", **common)
    frame = book.frame()
    # Five differences: 1 - 0.025 / 5 of the normal law lies below 2.576.
    assert frame["against_first"].tolist() == [BASELINE, *(word for *_, word in apart), "not assessed", ""]
    assert frame["diff_high"][1] == pytest.approx(-2.6 + 2.575829, abs=1e-5)


def test_errors_from_few_halves_hold_their_level_over_many_differences():
    """Twenty differences that are none, each with an error from twelve draws: by the normal law far more than 5 in 100 comparisons would accuse one."""
    rng, wrong = np.random.default_rng(0), {11.0: 0, float("inf"): 0}
    common = {"measure": "m", "group": "all", "value": 1.0, "n": 9, "better": "lower"}
    for _ in range(60):
        values, errors = rng.normal(size=20), rng.normal(size=(20, 12)).std(1, ddof=1)
        for freedom in wrong:
            board = Scoreboard()
            board.add("first", FIDELITY, **common)
            for value, error in zip(values, errors):
                board.add("other", FIDELITY, Difference(value, error, freedom), **common)
            wrong[freedom] += any(said in ("better", "worse") for said in board.frame()["against_first"])
    assert wrong[11.0] <= 7 < wrong[float("inf")], "binomial with a chance of .05: more than 7 of 60 happens once in 100"


def test_an_error_knows_how_many_halves_it_comes_from():
    many = torch.arange(9_000, dtype=torch.float64)[:, None] % 7
    assert yardstick(many).difference(Offset(), many + 1, many * 2).freedom == FEWEST_HALVES - 1
    assert yardstick(many[:400]).difference(Offset(), many[:400] + 1, many[:400] * 2).freedom == Offset.halves - 1
    same = torch.arange(40, dtype=torch.float64)[:, None]
    assert yardstick(same).difference(Precision(), same, same).freedom == float("inf"), "Wilson's error at the limit is no estimate from halves"
    with pytest.raises(DataError, match="more than 0 degrees of freedom"):
        Difference(0.0, 1.0, 0)


def test_an_edit_of_nothing_has_no_skill_and_a_perfect_round_trip():
    phantom = ChestPhantom(size=32)
    cohort = phantom.cohort(60, seed=11)
    edits, notes = prepared_edits([{"effusion": "absent"}, {"opacity": 0.4}, {"emerging": "absent"}], cohort, phantom)
    assert [edit.name for edit in edits] == ["effusion → absent", "opacity → 0.4"] and "only 0 test images" in notes[0]
    found = {(one.measure, one.group): one for one in trials(family(cohort, Idle(cohort.space.shape)), cohort, edits, None, seed=0)}
    assert found[(TRIP, "all")].value == 0 and {value.value for (measure, _), value in found.items() if measure == SKILL} == {0.0}
    assert len(found) == 3 and trials(family(cohort, Draw()), cohort, edits, None, seed=0) == []


def test_usual_edits_take_findings_away_first():
    cohort = toy_cohort(40)
    assert usual_edits(cohort.schema, cohort) == [{"lesion": "absent"}, {"sex": "M"}]
    other = Schema((Category("sex", ("F", "M")), Quantity("age", 0, 100)))
    assert usual_edits(other, toy_cohort(10)) == [], "under eight images would change"


def test_recipes_are_fitted_in_one_budget_and_what_is_finished_is_read_back(data, tmp_path):
    recipes = {"one": Diffusion(steps=1, **SMALL), "two": Diffusion(steps=2, **SMALL)}
    lines: list[str] = []
    wanted = {"extractor": EYES, "count": 12, "footprints": False, "budget": "3 steps", "run": tmp_path, "edits": ()}
    first = compare(recipes, data, say=lines.append, **wanted)
    assert lines[0] == "train 2 of 2 families: one 3 steps, two 3 steps; then 12 images of each, for the factors of test patients"
    again = compare(recipes, data, say=quiet, **wanted)
    cost = [result.frame().query("aspect == 'cost'")[["family", "measure", "value"]] for result in (first, again)]
    assert cost[0].equals(cost[1]), "the seconds are those of the first run"
    counted = {name: cost[0].loc[cost[0]["measure"] == name, "value"].tolist() for name in ("training steps", "training images seen")}
    assert counted == {"training steps": [3, 3], "training images seen": [48, 48]}
    assert [Generator.load(tmp_path / name / "generator").evaluations for name in recipes] == [2, 4]
    assert not set(first.real.table["patient_id"]) & set(data.split((0.6, 0.2, 0.2), seed=0)[0].table["patient_id"])


def test_peak_memory_sees_what_is_held_and_let_go():
    peak = Peak(torch.device("cpu"))
    with peak.watched():
        held = torch.ones(200, 2**20)  # 800 MiB of float32
        del held
    assert 700 * 2**20 < peak.most < 1_000 * 2**20


def test_a_footprint_is_measured_in_a_fresh_process(data):
    generator = Diffusion(steps=1, **SMALL).fit(data[:16], budget=Steps(1))
    found = footprint(generator, data, training=False)
    assert len(found.seconds) == 5 and min(found.seconds) > 0 and found.batch in (8, 128) and found.sampling_bytes > 0 and found.training_bytes is None


@dataclass(frozen=True)
class Homeless(Diffusion):
    """A family that no other process can import."""


def test_a_family_that_another_process_cannot_import_is_reported_not_hidden(data, monkeypatch):
    import synthkit.studies.families.footprint as module

    generator = replace(exact_generator(data), recipe=Homeless())
    answer = pd.Series({"returncode": 1, "stderr": "x\nFitError: cannot import 'nowhere'\n", "stdout": ""})
    monkeypatch.setattr(module.subprocess, "run", lambda *a, **k: answer)
    assert footprint(generator, data, training=True) == "FitError: cannot import 'nowhere'"


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"candidates": []}, DataError, "list of families is empty"),
        ({"candidates": [3]}, DataError, "compare: got 3; give a recipe such as sk.Diffusion"),
        ({"candidates": [Diffusion(), Diffusion()]}, DataError, "two families would be called 'Diffusion'"),
        ({"budget": "soon"}, FitError, "budget 'soon'"),
        ({"count": 3}, DataError, "count=3: ask for 12 images or more"),
        ({"data": "folder"}, DataError, "data is str"),
        ({"edits": [{"sex": "M", "age": 3}]}, SchemaError, "must set one factor"),
        ({"edits": [{"weight": 3}]}, SchemaError, "unknown factor 'weight'"),
        ({"edits": [{"age": 300}]}, SchemaError, "age: 300 years is outside"),
        ({"test": toy_cohort(40)}, LeakageError, "stand in both"),
        ({"test": toy_cohort(40, size=(8, 8), prefix="t")}, DataError, r"\(8, 8\)"),
        ({"judge": "me"}, DataError, "judge: a cohort, a fitted predictor or a phantom"),
    ],
)
def test_mistakes_are_said_before_anything_is_trained(change, kind, message, monkeypatch):
    monkeypatch.setattr(Recipe, "fit", lambda *a, **k: pytest.fail("training began"))
    wanted = {"candidates": [Diffusion()], "data": toy_cohort(100), "say": quiet, **change}
    with pytest.raises(kind, match=message):
        compare(wanted.pop("candidates"), wanted.pop("data"), **wanted)


def test_a_fitted_generator_must_fit_and_not_know_the_test_patients(data):
    seen = Diffusion(steps=1, **SMALL).fit(data[:40], budget=Steps(1))
    with pytest.raises(LeakageError, match="learnt from"):
        compare([seen], data, say=quiet)
    with pytest.raises(DataError, match="makes other images than the data are"):
        compare([exact_generator(toy_cohort(4, size=(8, 8)))], data, say=quiet)


def test_names_and_folders():
    assert list(named([Diffusion(), Diffusion(steps=4)])) == ["Diffusion", "Diffusion(steps=4)"] and slug("Diffusion(steps=4)") == "diffusion-steps-4"
    assert announced(named([Diffusion()]), "5 min") == "train 1 of 1 families: Diffusion 5 min; 5 minutes in all"
