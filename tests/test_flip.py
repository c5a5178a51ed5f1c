"""The least change that flips a classifier: where it leads, what it leaves alone, and what a witness says of it."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SCHEMA, SMALL_NET, exact_generator, toy_cohort

import synthkit as sk
from synthkit.explanation.flip import flip
from synthkit.explanation.flip_result import ADVERSARIAL, FLIPPED, HELD, UNJUDGED
from synthkit.generators.steering import steered

COHORT = toy_cohort(8, seed=2)
FAR = {"strengths": (0.1, 0.3, 1.0, 3.0), "depth": 0.9}  # bright and dark lie far apart, with nothing between


class Mean(torch.nn.Module):
    """Two logits of which the second follows the mean brightness: dark is healthy, bright ill."""

    def __init__(self, slope: float = 8.0):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.flatten(1).mean(1) * self.slope
        return torch.stack([torch.zeros_like(bright), bright], 1)


def eye(slope: float = 8.0) -> sk.Predictor:
    return sk.Predictor.of(Mean(slope), SCHEMA["lesion"], COHORT)


@pytest.fixture(scope="module")
def flow():
    return sk.Diffusion(options=SMALL_NET, steps=6).fit(toy_cohort(40, prefix="t"), budget=sk.Steps(80))


@pytest.fixture(scope="module")
def found(flow):
    return flip(flow, eye(), COHORT, witness=eye(4.0), **FAR)


def test_it_leads_over_the_border_in_the_right_direction(found):
    cases = found.cases()
    ill = COHORT.table["lesion"].eq("present").to_numpy()
    assert (cases["verdict"] == FLIPPED).all() and ((cases["before"] > 0.5) == ill).all() and ((cases["after"] > 0.5) != ill).all()
    change = (found.edited.images.tensor() - COHORT.images.tensor()).flatten(1).mean(1).numpy()
    assert (change[ill] < 0).all() and (change[~ill] > 0).all() and (cases["mean_change"] > 0).all() and cases["strength"].gt(0).all()


def test_the_factors_stay_and_the_lineage_tells(found):
    table = found.edited.table
    assert table["lesion"].tolist() == COHORT.table["lesion"].tolist() and table["source_id"].tolist() == COHORT.table["image_id"].tolist()
    assert found.edited.provenance.kind == "edited" and found.figure().data is not None and found.title == "Least change that flips lesion = present"


def test_the_least_of_the_strengths_is_taken(flow, found):
    weaker = flip(flow, eye(), COHORT, depth=0.9, strengths=[s for s in FAR["strengths"] if s < found.strengths.min()] or [1e-6])
    assert (weaker.verdicts == HELD).all() and np.isnan(weaker.strengths).all()
    frame = weaker.frame().set_index("measure")
    assert frame.loc[HELD, "value"] == 1 and frame.loc[HELD, "low"] < 1 and len(frame) == 4
    assert "No witness" in "\n".join(weaker.caveats())


def test_a_witness_that_does_not_follow_calls_it_adversarial(flow, found):
    ill = COHORT.where("lesion == 'present'")
    stubborn = sk.Predictor.of(Shifted(+9.0), SCHEMA["lesion"], COHORT)
    told = flip(flow, eye(), ill, witness=stubborn, **FAR)
    assert (told.verdicts == ADVERSARIAL).all() and "No witness" not in "\n".join(told.caveats())
    contrary = sk.Predictor.of(Shifted(-9.0), SCHEMA["lesion"], COHORT)
    assert (flip(flow, eye(), ill, witness=contrary, **FAR).verdicts == UNJUDGED).all()


class Shifted(Mean):
    """Says the same of everything."""

    def __init__(self, shift: float):
        super().__init__(0.0)
        self.shift = shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.tensor([0.0, self.shift])


def test_without_strength_nothing_moves_and_what_has_not_changed_is_held(flow):
    x, c = COHORT.images.tensor(), flow.code(COHORT.table)
    with torch.inference_mode():
        still = steered(flow.trained, x, c, torch.ones_like, torch.zeros(8), depth=0.7)
        half = torch.zeros_like(x)
        half[:, :, :4] = 1
        led = steered(flow.trained, x, c, lambda guess: half, torch.full((8,), 0.3), depth=0.7)
    assert torch.equal(still, x)
    assert (led - x)[:, :, :4].mean() > 0.02 and ((led == x).flatten(1).float().mean(1) > 0).any()


def test_the_answer_does_not_depend_on_the_others(flow, found):
    alone = flip(flow, eye(), COHORT[3:4], witness=eye(4.0), **FAR)
    assert np.array_equal(alone.edited.images.raw()[0], found.edited.images.raw()[3]) and alone.strengths[0] == found.strengths[3]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda flow: flip(exact_generator(COHORT), eye(), COHORT), sk.AbilityError, "cannot be led by a gradient"),
        (lambda flow: flip(flow, eye(), COHORT[:0]), sk.DataError, "the cohort is empty"),
        (lambda flow: flip(flow, eye(), toy_cohort(4, size=(8, 8))), sk.DataError, r"sizes \(16, 16\) and \(8, 8\)"),
        (lambda flow: flip(flow, eye(), COHORT, depth=0), sk.DataError, "depth lies above 0"),
        (lambda flow: flip(flow, eye(), COHORT, strengths=[]), sk.DataError, "strengths are above 0"),
        (lambda flow: flip(flow, eye(), COHORT, target="sex"), sk.SchemaError, "name one of the classifier's categories: lesion"),
        (lambda flow: flip(flow, eye(), COHORT, level="maybe"), sk.SchemaError, "'maybe' is not one of absent, present"),
        (lambda flow: flip(flow, sk.Classifier("lesion"), COHORT), sk.DataError, "classifier: got a Classifier; give a fitted classifier"),
        (lambda flow: flip(flow, eye(), COHORT, witness="b"), sk.DataError, "witness: got 'b'; give another fitted classifier"),
    ],
)
def test_impossible_wishes_are_refused(flow, call, kind, message):
    with pytest.raises(kind, match=message):
        call(flow)


def test_a_volume_flips_too():
    train = toy_cohort(24, size=(8, 8, 8), prefix="t")
    gen = sk.Diffusion(options=SMALL_NET, steps=3).fit(train, budget=sk.Steps(20))
    volumes = toy_cohort(2, size=(8, 8, 8))
    told = flip(gen, replace(eye(), space=volumes.space), volumes, strengths=(0.3,))
    assert told.edited.images.raw().shape == (2, 1, 8, 8, 8) and len(told.cases()) == 2
