"""Dose and answer, on images whose brightness is the age and a classifier whose threshold is known."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort

import synthkit as sk
from synthkit.core.cohort import Cohort
from synthkit.explanation.dose import DoseResponse, dose_response
from synthkit.nets.network import EditableNetwork

PLACE = dict(zip(SCHEMA.names, SCHEMA.blocks()))["age"].start


class Ageing(EditableNetwork):
    """Every year of age makes an image a hundredth brighter."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape, self.weight = shape, torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return z + c[:, PLACE].reshape(-1, 1, 1, 1) / 2

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return x - c[:, PLACE].reshape(-1, 1, 1, 1) / 2


class Mean(torch.nn.Module):
    """Calls bright images ill."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = 20 * x.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(bright), bright], 1)


BASE = toy_cohort(24, seed=3).where("lesion == 'absent'")
DARK = Cohort.of(
    BASE.space.to_raw(BASE.images.tensor().clamp(-1, 1) * 0.2 - 0.2), BASE.table.assign(age=np.linspace(20, 60, len(BASE))), schema=SCHEMA, space=BASE.space,
    provenance=BASE.provenance,
)  # fmt: skip
EYE = sk.Predictor.of(Mean(), SCHEMA["lesion"], DARK)
GEN = replace(exact_generator(DARK), trained=Ageing(DARK.space.shape))
DOSES = (5, 10, 20, 30, 40)


@pytest.fixture(scope="module")
def told() -> DoseResponse:
    return dose_response(GEN, EYE, DARK, "age", doses=DOSES)


def test_the_least_dose_is_the_first_that_crosses_one_half(told):
    dark = DARK.images.tensor().flatten(1).mean(1).numpy()
    for row, least in enumerate(told.least()):
        crossing = [dose for dose in DOSES if dark[row] + dose / 100 > 0]
        assert least == crossing[0] if crossing else np.isnan(least)
    assert len(set(told.least()[np.isfinite(told.least())])) >= 2


def test_the_curve_is_that_of_the_classifier(told):
    dark, frame = DARK.images.tensor().flatten(1).mean(1).numpy(), told.frame()
    exact = [1 / (1 + np.exp(-20 * (dark + dose / 100))) for dose in (0, *DOSES)]
    assert np.allclose(frame["value"], [values.mean() for values in exact], atol=1e-3) and (np.diff(frame["value"]) > 0).all()
    assert (frame["low"] <= frame["value"]).all() and (frame["n"] == len(DARK)).all() and (np.diff(frame["flipped"]) >= 0).all()
    assert told.figure().data and frame["twins"].unique().tolist() == ["edited"]


def test_beyond_the_range_nobody_is_counted():
    told = dose_response(GEN, EYE, DARK, "age", doses=(10, 60))
    last = told.frame().iloc[-1]
    assert last["n"] == (DARK.table["age"] <= 40).sum() < len(DARK) and "leaves the range of age for" in "\n".join(told.caveats())
    fewer = dose_response(GEN, EYE, DARK, "age", doses=(-5, -10))
    assert np.isnan(fewer.least()).all() and fewer.frame()["value"].is_monotonic_decreasing


def test_the_exact_curve_of_a_phantom_stands_beside():
    chest = sk.ChestPhantom(size=32)
    films = chest.cohort(12, seed=2)
    clf = sk.Predictor.of(Mean(), films.schema["effusion"], films)
    gen = sk.Diffusion(options={"widths": (16, 16), "embedding": 32}, steps=1).fit(chest.cohort(12, seed=1), budget=sk.Steps(1))
    told = dose_response(gen, clf, films, "opacity", doses=(0.1,), truth=chest)
    exact = told.frame().query("twins == 'exact'")
    inside = np.flatnonzero(films.table["opacity"] + 0.1 <= films.schema["opacity"].high)
    more = [chest.counterfactual(films[[row]], {"opacity": films.table["opacity"][row] + 0.1}) for row in inside]
    shown = np.mean([clf.predict(one)["p_effusion_present"].item() for one in more])
    assert exact["value"].iloc[1] == pytest.approx(shown) and exact["value"].iloc[1] > exact["value"].iloc[0] and exact["n"].iloc[1] == len(inside)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"factor": "sex"}, sk.SchemaError, "sex is no quantity to add to.*take one of diameter, age"),
        ({"factor": "ward"}, sk.SchemaError, "unknown factor 'ward'"),
        ({"doses": ()}, sk.DataError, "give doses that grow in one direction"),
        ({"doses": (5, -10)}, sk.DataError, "give doses that grow in one direction"),
        ({"doses": (10, 5)}, sk.DataError, "give doses that grow in one direction"),
        ({"doses": ("a",)}, sk.DataError, "doses='a': give numbers"),
        ({"doses": 3}, sk.DataError, "doses: got 3; give a list of numbers"),
    ],
)
def test_impossible_doses_are_refused(options, kind, message):
    given = {"factor": "age", "doses": DOSES} | options
    with pytest.raises(kind, match=message):
        dose_response(GEN, EYE, DARK, given["factor"], doses=given["doses"])
