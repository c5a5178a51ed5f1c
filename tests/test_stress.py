"""Stress tests of a classifier: planted breaks are found where they lie, what changes nothing breaks nothing, and what is refused."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort, toy_table

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Schema
from synthkit.errors import AbilityError, DataError, LeakageError, SchemaError
from synthkit.generators.generator import Generator
from synthkit.nets.network import EditableNetwork, Network
from synthkit.phantoms.chest import ChestPhantom
from synthkit.studies.stress import Stress, stress
from synthkit.studies.sweeps.scores import AUC, CHANCE, SENSITIVITY, SPECIFICITY, Watched
from synthkit.studies.sweeps.seen import EXACTNESS, SHOWN
from synthkit.tasks.predictor import Predictor

AGE = 11  # where the age stands in the toy's condition code
AGES = (0, 25, 50, 75, 100)


class Ageing(Network):
    """Bright with the finding, and darker with age by 1 from 0 to 100 years; no encoder."""

    def __init__(self, *, grain: float = 0.02):
        super().__init__()
        self.weight, self.grain = torch.nn.Parameter(torch.ones(1)), grain

    def latent_shape(self) -> tuple[int, ...]:
        return (1, 16, 16)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        ill, share = (c[:, 1] - c[:, 0]) / 2, (c[:, AGE] + 1) / 2
        return self.weight * (self.grain * z + (0.8 * ill - 0.8 * share).reshape(-1, 1, 1, 1))


class Idle(EditableNetwork):
    """Gives back what it gets."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape, self.weight = shape, torch.nn.Parameter(torch.zeros(1))

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return z

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return x


class Bright(torch.nn.Module):
    """Says "present" where the image is brighter than a level."""

    def __init__(self, level: float = 0.0):
        super().__init__()
        self.level = level

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = 4 * (x.flatten(1).mean(1) - self.level)
        return torch.stack([-mean, mean], 1)


class ReadsAge(torch.nn.Module):
    """The age that a healthy `Ageing` image was made with, scaled to [-1, 1]; blind to the finding."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (-2 * (x.flatten(1).mean(1) + 0.4) / 0.8 - 1)[:, None]


def made_by(network: Network, like: Cohort) -> Generator:
    exact = exact_generator(like)
    return Generator(exact.recipe, network.requires_grad_(False), like.schema, like.space, exact.card)


@pytest.fixture(scope="module")
def toy() -> Cohort:
    return toy_cohort(60, per_patient=2)


@pytest.fixture(scope="module")
def classifier(toy) -> Predictor:
    return Predictor.of(Bright(), SCHEMA["lesion"], toy)


@pytest.fixture(scope="module")
def planted(classifier, toy) -> Stress:
    """With the finding the image is above the level up to 50 years, without it never."""
    return stress(classifier, made_by(Ageing(), toy), sweeps={"age": AGES, "sex": ("F", "M")}, count=60, threshold=0.5)


def test_it_breaks_at_the_value_where_the_finding_sinks_below_the_level(planted):
    ages = planted.breaks().query("factor == 'age'").set_index("measure")
    assert ages.loc[SENSITIVITY, "breaks_at"] == 50 and ages.loc[SPECIFICITY, "breaks_at"] == "none shown up to 100"
    assert ages.loc[AUC, "breaks_at"] == "none shown up to 100", "both classes darken alike, so their order stays"
    rows = planted.frame().query("factor == 'age'").pivot(index="value", columns="measure", values="score")
    assert rows.loc[[0, 25], SENSITIVITY].eq(1).all() and rows.loc[[75, 100], SENSITIVITY].eq(0).all() and rows[SPECIFICITY].eq(1).all()
    assert rows[CHANCE].is_monotonic_decreasing


def test_what_changes_no_image_breaks_nothing_and_is_not_called_certain(planted):
    rows = planted.frame().query("factor == 'sex' and value == 'M'").set_index("measure")
    assert not planted.breaks().query("factor == 'sex'")["breaks_at"].ne("none shown up to M").any()
    assert (rows["change"] == 0).all() and rows.loc[SENSITIVITY, "change_low"] == pytest.approx(-(1 - 0.025 ** (1 / 30)))
    assert (rows.loc[[AUC, SENSITIVITY, SPECIFICITY], "low"] < 1).all()


def test_all_values_are_shown_on_the_same_noise(planted):
    series = [planted.samples["age"][value].images.tensor() for value in AGES]
    assert torch.allclose(series[0] - series[1], torch.full_like(series[0], 0.2), atol=1e-4)
    assert planted.samples["age"][0].table["lesion"].equals(planted.samples["age"][100].table["lesion"])
    assert "over the 15 that could be called broken" in " ".join(planted.caveats()), "five values after the first, three measures"
    assert "left open" in " ".join(planted.caveats()) and "does not replace validation" in planted.caveats()[0]


def test_it_shows_itself(planted):
    titles = [note.text for note in planted.figure().layout.annotations]
    assert "sensitivity, age" in titles and "AUC, sex" in titles
    assert [note.text for note in planted.sheet("age").layout.annotations][:5] == [str(value) for value in AGES]
    with pytest.raises(SchemaError, match="'view' was not swept; this result has age, sex"):
        planted.sheet("view")


def test_a_judge_says_whether_the_sweep_shows_what_it_says(classifier, toy):
    healthy = toy_table(40).assign(lesion=lambda t: np.where(t.index < 8, "present", "absent"), diameter=np.nan)
    judge = Predictor(ReadsAge(), Schema((SCHEMA["age"],)), toy.space)
    table = healthy[["image_id", "patient_id", "lesion"]]
    found = stress(classifier, made_by(Ageing(grain=0.001), toy), sweeps={"age": (0, 50)}, base=table, judge=judge).frame().set_index(["measure", "value"])
    # 8 of 40 have the finding and look 0.8 brighter, which the judge takes for being younger: clipped at 0 years.
    assert found.loc[(SHOWN, 0), "score"] == pytest.approx(0, abs=0.2) and found.loc[(SHOWN, 50), "score"] == pytest.approx(50 * 32 / 40, abs=0.5)
    constant = Predictor.of(Bright(9.0), Category("sex", ("F", "M")), toy)
    blind = stress(classifier, made_by(Ageing(), toy), sweeps={"sex": ("F", "M")}, base=table, judge=constant).frame().set_index("measure")
    assert blind.loc["adherence of the sweep (AUC)", "score"] == pytest.approx(0.5), "sex leaves no trace, and the sweep says so"


def test_patients_count_not_images():
    rng = np.random.default_rng(0)
    chances, truth = rng.random((2, 40)), np.arange(40) % 2 == 0
    units = np.array([f"p{i:02d}" for i in range(40)])
    single = pd.DataFrame(Watched(chances, truth, units, 0.5, 0).rows(share=0.9))
    fold = Watched(np.repeat(chances, 5, 1), np.repeat(truth, 5), np.repeat(units, 5), 0.5, 0)
    clustered = pd.DataFrame(fold.rows(share=0.9))
    columns = ["score", "low", "high", "change", "change_low", "change_high", "patients", "broken"]
    pd.testing.assert_frame_equal(single[columns], clustered[columns])
    assert (clustered["n"] == 5 * single["n"]).all()


def test_a_classifier_that_only_wavers_is_not_called_broken():
    rng, broken = np.random.default_rng(1), 0
    truth, units = np.arange(60) % 2 == 0, np.arange(60).astype(str)
    for trial in range(25):
        chances = np.where(rng.random((2, 60)) < 0.8, truth, ~truth).astype(float)
        rows = Watched(chances, truth, units, 0.5, trial).rows(share=0.9)
        broken += any(row["broken"] for row in rows)
    assert broken <= 2
    half = np.where(rng.random((2, 60)) < np.array([[1.0], [0.5]]), truth, ~truth).astype(float)
    assert any(row["broken"] for row in Watched(half, truth, units, 0.5, 0).rows(share=0.9)), "half of all wrong is broken"


def test_edits_of_a_phantoms_patients_stand_beside_the_exact_truth():
    phantom = ChestPhantom(size=32)
    base = phantom.cohort(40, seed=21)
    classifier = Predictor.of(Bright(), phantom.schema["effusion"], base)
    idle = made_by(Idle(base.space.shape), base)
    found = stress(classifier, idle, sweeps={"opacity": (0.1, 0.5)}, base=base, truth=phantom)
    rows = found.frame()
    assert set(rows["images"]) == {"edited", "exact"}
    skill = rows[rows["measure"] == EXACTNESS]
    assert len(skill) == 2 and (skill["score"] == 0).all(), "a generator that changes nothing is as good as showing no change"
    chance = rows[(rows["measure"] == CHANCE) & (rows["value"] == 0.5)].set_index("images")
    assert chance.loc["edited", "change"] == 0 and chance.loc["exact", "change_low"] > 0, "haze brightens the film"
    exact = stress(classifier, phantom, sweeps={"opacity": (0.1, 0.5)}, base=base)
    there = exact.samples["opacity"][0.5]
    assert np.array_equal(there.images.raw(), phantom.counterfactual(base, {"opacity": 0.5}).images.raw())
    both = [one.frame().query("images == 'exact'").reset_index(drop=True) for one in (found, exact)]
    pd.testing.assert_frame_equal(*both)


def test_a_factor_that_applies_to_some_is_said_to(classifier, toy):
    found = stress(classifier, exact_generator(toy), sweeps={"diameter": (2, 8)}, base=toy)
    assert "diameter does not apply in 30 of 60 images, which stay as they are." in found.caveats()
    assert found.frame()["images"].unique().tolist() == ["edited"] and found.frame()["patients"].max() == 30


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"sweeps": {}}, SchemaError, "give factors with the values"),
        ({"sweeps": {"lesion": ("absent", "present")}}, SchemaError, "lesion is what the classifier predicts"),
        ({"sweeps": {"weight": (1, 2)}}, SchemaError, "unknown factor 'weight'"),
        ({"sweeps": {"age": (0, 140)}}, SchemaError, "age: 140 years is outside"),
        ({"sweeps": {"age": (30,)}}, SchemaError, "two or more distinct values"),
        ({"sweeps": {"sex": "FM"}}, SchemaError, "two or more distinct values"),
        ({"target": "sex"}, SchemaError, "target='sex': name one finding"),
        ({"share": 1.5}, DataError, r"share=1.5 must lie between 0 and 1"),
        ({"threshold": 0}, DataError, "threshold=0 must lie between"),
        ({"classifier": "me"}, DataError, "classifier: a fitted predictor"),
        ({"source": "me"}, DataError, "source: a generator or a phantom"),
        ({"judge": "me"}, DataError, "judge: a fitted predictor or a phantom"),
        ({"base": "me"}, DataError, "base: a cohort of patients to edit or a table"),
        ({"base": toy_table(40).assign(lesion="present")}, DataError, "40 of 40 images have lesion; give at least 5 patients"),
        ({"base": toy_table(40).assign(lesion=None)}, DataError, "lesion is missing in 40 of 40 rows"),
        ({"base": toy_table(40).drop(columns="lesion")}, DataError, "base has no column 'lesion'"),
        ({"count": 4}, DataError, "2 of 4 images have lesion"),
        ({"base": toy_table(40), "truth": ChestPhantom(size=32)}, DataError, "truth is for other images"),
    ],
)
def test_mistakes_are_said_before_anything_is_drawn(change, kind, message, classifier, toy, monkeypatch):
    monkeypatch.setattr(Generator, "sample", lambda *a, **k: pytest.fail("images were drawn"))
    wanted = {"classifier": classifier, "source": made_by(Ageing(), toy), "sweeps": {"age": (0, 50)}, **change}
    with pytest.raises(kind, match=message):
        stress(wanted.pop("classifier"), wanted.pop("source"), **wanted)


def test_patients_that_were_learnt_from_and_families_without_encoder_are_refused(classifier, toy):
    knows = replace(classifier, patients=frozenset(toy.table["patient_id"]))
    with pytest.raises(LeakageError, match="trained on"):
        stress(knows, exact_generator(toy), sweeps={"age": (0, 50)}, base=toy)
    with pytest.raises(AbilityError, match="no encoder. Give base.table to sample the same requests"):
        stress(classifier, made_by(Ageing(), toy), sweeps={"age": (0, 50)}, base=toy)
    assert stress(classifier, made_by(Ageing(), toy), sweeps={"age": (0, 50)}, base=toy.table).frame()["images"].eq("sampled").all()
