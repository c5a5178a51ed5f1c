"""The least change that flips a classifier: where it leads, what it leaves alone, and what a witness says of it."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SCHEMA, SMALL_NET, exact_generator, toy_cohort

import synthkit as sk
from synthkit.explanation.cout import cout
from synthkit.explanation.flip import flip
from synthkit.explanation.flip_result import ADVERSARIAL, FLIPPED, HELD, UNJUDGED
from synthkit.generators.diffusion import FlowNetwork
from synthkit.generators.steering import shifted, steered, turned

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
    assert cases["cout"].between(-1, 1).all() and cases["cout"].nunique() > 1 and "COUT (-1..1)" in found.frame()["measure"].tolist()


def test_the_factors_stay_and_the_lineage_tells(found):
    table = found.edited.table
    assert table["lesion"].tolist() == COHORT.table["lesion"].tolist() and table["source_id"].tolist() == COHORT.table["image_id"].tolist()
    assert found.edited.provenance.kind == "edited" and found.figure().data is not None and found.title == "Least change that flips lesion = present"


def test_the_least_of_the_strengths_is_taken(flow, found):
    weaker = flip(flow, eye(), COHORT, depth=0.9, strengths=[s for s in FAR["strengths"] if s < found.strengths.min()] or [1e-6])
    assert (weaker.verdicts == HELD).all() and np.isnan(weaker.strengths).all()
    frame = weaker.frame().set_index("measure")
    assert frame.loc[HELD, "value"] == 1 and frame.loc[HELD, "low"] < 1 and list(frame.index) == [FLIPPED, HELD]
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


def test_without_strength_nothing_moves(flow):
    x, c = COHORT.images.tensor(), flow.code(COHORT.table)
    with torch.inference_mode():
        still = steered(flow.trained, x, turned(flow.trained, x, c, depth=0.7), c, torch.ones_like, torch.zeros(8), depth=0.7)
    assert torch.equal(still, x)


class Still(torch.nn.Module):
    """A velocity of nothing: what moves was pulled."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def test_what_is_far_from_the_pull_is_held_bit_for_bit(flow):
    x, c = COHORT.images.tensor(), flow.code(COHORT.table)
    network, corner = FlowNetwork(Still(), shape=x.shape[1:], hiding=flow.trained.hiding, steps=6), torch.zeros_like(x)
    corner[:, :, :4, :4] = 1
    with torch.inference_mode():
        led = steered(network, x, turned(network, x, c, depth=0.7), c, lambda guess: corner, torch.full((8,), 0.5), depth=0.7) - x
    assert (led[:, :, :4, :4] > 0.1).all() and (led[:, :, 6:] == 0).all() and (led[:, :, :, 6:] == 0).all()


def test_the_answer_does_not_depend_on_the_others(flow, found):
    alone = flip(flow, eye(), COHORT[3:4], witness=eye(4.0), **FAR)
    assert np.array_equal(alone.edited.images.raw()[0], found.edited.images.raw()[3]) and alone.strengths[0] == found.strengths[3]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda flow: flip(exact_generator(COHORT), eye(), COHORT), sk.AbilityError, "cannot be led by a classifier's gradient"),
        (lambda flow: flip(flow, eye(), COHORT[:0]), sk.DataError, "the cohort is empty"),
        (lambda flow: flip(flow, eye(), toy_cohort(4, size=(8, 8))), sk.DataError, r"sizes \(16, 16\) and \(8, 8\)"),
        (lambda flow: flip(flow, eye(), COHORT, depth=0), sk.DataError, "depth lies above 0"),
        (lambda flow: flip(flow, eye(), COHORT, depth="deep"), sk.DataError, "depth='deep': give a share"),
        (lambda flow: flip(flow, eye(), COHORT, depth=0.1), sk.DataError, "so near the image nothing is led; .* give 0.[0-9]+ or more"),
        (lambda flow: flip(flow.using(steps=3), eye(), COHORT), sk.DataError, "takes 3 steps, and 1 would be left to clean .*using.steps=12"),
        (lambda flow: flip(flow, eye(), COHORT, strengths=0.1), sk.DataError, "strengths: got 0.1"),
        (lambda flow: flip(flow, eye(), COHORT, strengths=[float("nan")]), sk.DataError, "strengths=nan"),
        (lambda flow: flip(flow, eye(), toy_cohort(8, prefix="t")), sk.LeakageError, "learnt from 8 patient"),
        (lambda flow: flip(flow, one := eye(), COHORT, witness=one), sk.DataError, "it is the classifier itself"),
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
    gen = sk.Diffusion(options=SMALL_NET, steps=6).fit(train, budget=sk.Steps(20))
    volumes = toy_cohort(2, size=(8, 8, 8))
    told = flip(gen, replace(eye(), space=volumes.space), volumes, strengths=(0.3, 2.0), depth=1)
    assert told.edited.images.raw().shape == (2, 1, 8, 8, 8) and len(told.cases()) == 2
    change = (told.edited.images.tensor() - volumes.images.tensor()).flatten(1).mean(1).numpy()
    ill = volumes.table["lesion"].eq("present").to_numpy()
    assert (change[ill] < 0).all() and (change[~ill] > 0).all()


def test_a_vae_moves_its_latent_and_not_the_noise_of_its_pixels():
    vae = sk.VAE(options={"widths": (8, 16), "embedding": 32}).fit(toy_cohort(40, prefix="t"), budget=sk.Steps(60))
    told = flip(vae, eye(), COHORT, witness=eye(4.0), strengths=(0.5, 1.0, 2.0, 4.0, 8.0, 16.0))
    ill, moved = COHORT.table["lesion"].eq("present").to_numpy(), told.after - told.before
    assert (moved[ill] < 0).all() and (moved[~ill] > 0).all() and (told.verdicts == FLIPPED).any()
    x, c = COHORT.images.tensor(), vae.code(COHORT.table)
    with torch.inference_mode():
        z = turned(vae.trained, x, c, depth=1)
        still = shifted(vae.trained, x, z, c, torch.ones_like, torch.zeros(8))
        grain = shifted(vae.trained, x, z, c, lambda guess: torch.randn(guess.shape, generator=torch.Generator().manual_seed(0)), torch.full((8,), 0.5)) - x
    assert torch.allclose(still, x, atol=1e-5)
    rough = (grain[..., 1:] - grain[..., :-1]).square().mean() / grain.square().mean()
    assert rough < 1, "noise has 2"


def test_cout_is_high_where_the_first_pixels_decide_and_low_where_the_last_do():
    images, before = torch.zeros(2, 1, 4, 4), np.array([0.1, 0.9])
    edited = torch.linspace(0.1, 1, 16).reshape(1, 1, 4, 4).expand(2, -1, -1, -1)

    def chance(first: bool):
        def answer(x: torch.Tensor) -> np.ndarray:
            shown = x[:, 0, 3, 3] > 0 if first else x[:, 0, 0, 0] > 0
            return np.where(shown.numpy(), 1 - before, before)

        return answer

    assert cout(chance(first=True), images, edited, before) == pytest.approx([0.76, 0.76], abs=0.01)
    assert cout(chance(first=False), images, edited, before) == pytest.approx([-0.68, -0.68], abs=0.01)
