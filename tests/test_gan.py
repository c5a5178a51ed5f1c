"""The adversarial family: its losses against a plain two-pass reference, its penalties in closed form, its augmentation, its coverage."""
import math
import shutil

import pandas as pd
import pytest
import torch
from torch.nn import functional as F
from toys import SCHEMA, Interrupted, PowerCut, toy_cohort

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.errors import AbilityError, FitError
from synthkit.generators.gan import GAN, Adversaries, generator_loss
from synthkit.nets.adversary import Discriminator, Residual, Synthesis, default_widths
from synthkit.nets.diff_augment import SHIFT, diff_augment, hole, shifted
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, Network
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.state import load_state
from synthkit.training.trainer import train

HIDING = Hiding(tuple(SCHEMA.blocks()), 0.5)
TINY = {"widths": (24, 16), "embedding": 16}


def batch_of(count: int = 6, size: tuple[int, ...] = (16, 16), *, seed: int = 0) -> Batch:
    cohort = toy_cohort(count, size=size)
    return Batch(cohort.images.tensor(), torch.from_numpy(SCHEMA.encode(cohort.table)), torch.Generator().manual_seed(seed))


def players(size: tuple[int, ...] = (16, 16), *, gamma: float = 1.0, augment: float = 0.5) -> Adversaries:
    """Small networks that are past their start: layers at zero would hide mistakes."""
    settings = {"channels": 1, "size": size, "condition_width": SCHEMA.width, **TINY}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        both = Adversaries(Synthesis(latent=8, **settings), Discriminator(**settings), hiding=HIDING, gamma=gamma, augment=augment)
        for weights in both.parameters():
            torch.nn.init.normal_(weights, std=0.1)
    return both


def plain_losses(both: Adversaries, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The paper's two losses as two passes through the discriminator, drawn in the order of `training_step`."""
    c = both.hiding(batch)
    drawn = both.network.decode(batch.normal(len(c), 8), c)
    shown = diff_augment(drawn, batch, chance=both.augment)
    real = diff_augment(batch.x, batch, chance=both.augment).requires_grad_()
    fake = shown.detach().requires_grad_()
    on_real, on_fake = both.discriminator(real, c), both.discriminator(fake, c)
    penalties = [torch.autograd.grad(score.sum(), x, create_graph=True)[0].square().flatten(1).sum(1) for score, x in ((on_real, real), (on_fake, fake))]
    discriminator = (F.softplus(on_fake - on_real) + both.gamma / 2 * sum(penalties)).mean()
    generator = F.softplus(on_real.detach() - both.discriminator(shown, c)).mean()
    return discriminator, generator


@pytest.mark.parametrize("size", [(16, 16), (13, 18), (6, 9, 10)])
def test_one_step_holds_the_gradients_of_both_players_and_no_other(size):
    both = players(size, gamma=0.7)
    loss = both.training_step(batch_of(size=size))
    loss.backward()
    ours = [weights.grad.clone() for weights in both.parameters()]
    discriminator, generator = plain_losses(both, batch_of(size=size))
    theirs = [*torch.autograd.grad(generator, list(both.network.parameters())), *torch.autograd.grad(discriminator, list(both.discriminator.parameters()))]
    assert torch.allclose(loss, discriminator + generator, rtol=1e-5)
    for mine, plain in zip(ours, theirs, strict=True):
        assert plain.abs().max() > 0 and torch.allclose(mine, plain, rtol=1e-3, atol=1e-3 * float(plain.abs().max()))


class Planes(torch.nn.Module):
    """A discriminator whose slope is known: the score of x is its product with one image."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(weight), []

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        self.seen.append(c.detach())
        return (x * self.weight).flatten(1).sum(1)


class Constant(Network):
    """Draws the same grey for every latent and condition."""

    def __init__(self):
        super().__init__()
        self.grey, self.seen = torch.nn.Parameter(torch.tensor(0.25)), []

    def latent_shape(self) -> tuple[int, ...]:
        return (2,)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        self.seen.append(c.detach())
        return self.grey.expand(len(z), 1, 16, 16)


def test_the_loss_has_its_closed_form_for_a_linear_discriminator():
    weight = torch.linspace(-0.05, 0.05, 256).reshape(1, 16, 16)
    batch, lost = batch_of(), Planes(weight)
    both = Adversaries(Constant(), lost, hiding=HIDING, gamma=3.0, augment=0.0)
    loss = both.training_step(batch)
    lead = ((batch.x - 0.25) * weight).flatten(1).sum(1)
    assert loss.item() == pytest.approx((F.softplus(lead) + F.softplus(-lead)).mean().item() + 3.0 * weight.square().sum().item(), rel=1e-5)
    loss.backward()
    assert both.network.grey.grad.item() == pytest.approx(-(torch.sigmoid(lead).mean() * weight.sum()).item(), abs=1e-6)


def test_even_players_have_a_loss_of_two_log_two():
    both = Adversaries(Constant(), Planes(torch.zeros(1, 16, 16)), hiding=HIDING, gamma=1.0, augment=0.0)
    assert both.training_step(batch_of()).item() == pytest.approx(2 * math.log(2))


def test_both_players_see_the_same_hidden_factors():
    both = Adversaries(Constant(), Planes(torch.zeros(1, 16, 16)), hiding=HIDING, gamma=1.0, augment=0.0)
    batch = batch_of(40)
    both.training_step(batch)
    (drawn,), (judged,) = both.network.seen, both.discriminator.seen
    assert torch.equal(judged, torch.cat([drawn, drawn])) and not torch.equal(drawn, batch.c)


def test_the_generator_is_pushed_along_the_slope_by_how_far_it_lags():
    lead, drawn, slope = torch.tensor([0.0, 50.0, -50.0]), torch.zeros(3, 1, 2, 2, requires_grad=True), torch.full((3, 1, 2, 2), 2.0)
    loss = generator_loss(lead, drawn, slope)
    loss.backward()
    assert loss.item() == pytest.approx((math.log(2) + 50) / 3)
    assert torch.allclose(drawn.grad[:, 0, 0, 0], torch.tensor([-1.0, -2.0, 0.0]) / 3)


def test_gradients_in_half_precision_point_where_they_do_in_full():
    def gradient(precision: torch.dtype | None) -> torch.Tensor:
        both = players(gamma=10.0)
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            loss = both.training_step(batch_of(16))
        assert loss.dtype == torch.float32
        loss.backward()
        return torch.cat([weights.grad.flatten() for weights in both.discriminator.parameters()])

    assert torch.cosine_similarity(gradient(torch.bfloat16), gradient(None), 0) > 0.99


@pytest.mark.parametrize(("size", "widths"), [((64, 64), (256, 128, 64, 32)), ((16, 16), (128, 64, 32)), ((4, 4), (32,)), ((8, 64, 64), (256, 128, 64, 32))])
def test_widths_follow_the_size(size, widths):
    assert default_widths(size) == widths


@pytest.mark.parametrize("levels", [2, 5])
def test_at_the_start_depth_neither_swells_nor_fades_what_passes(levels):
    size = (4 * 2 ** (levels - 1),) * 2
    torch.manual_seed(0)
    settings = {"channels": 1, "size": size, "condition_width": SCHEMA.width, "widths": (32,) * levels}
    drawn = Synthesis(latent=64, **settings).decode(torch.randn(64, 64), torch.zeros(64, SCHEMA.width))
    scores = Discriminator(**settings)(torch.randn(64, 1, *size), torch.zeros(64, SCHEMA.width))
    assert 0.2 < drawn.std() < 2 and 0.02 < scores.std() < 2
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(Residual(8, 2, depth=levels)(x), x), "a block starts as the identity"


@pytest.mark.parametrize("size", [(24, 24), (17, 30), (8, 12, 16)])
def test_augmentation_changes_some_images_and_leaves_the_others_as_they_are(size):
    batch = batch_of(4, size=size)
    x = torch.rand(1000, 1, *size, generator=batch.generator)
    kept = (diff_augment(x, batch, chance=0.5) - x).flatten(1).abs().amax(1) < 1e-5
    # A shift of less than half a pixel on every axis is none.
    still = math.prod(1 / (2 * SHIFT * side) for side in size)
    assert float(kept.float().mean()) == pytest.approx(0.5**3 * (0.5 + 0.5 * still), abs=0.03)
    assert diff_augment(x, batch, chance=0.0) is x


def test_augmentation_draws_from_the_batch_alone():
    x = batch_of().x
    first, again, other = (diff_augment(x, batch_of(seed=seed), chance=0.7) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("size", [(16, 24), (8, 16, 24)])
def test_a_shift_moves_whole_pixels_and_repeats_the_edge(size):
    x, steps = torch.rand(3, 2, *size), torch.tensor([[0] * len(size), [1, -2, 1][: len(size)], [-3, 1, 0][: len(size)]])
    moved = shifted(x, steps / torch.tensor(size[::-1]))
    for image, original, step in zip(moved, x, steps.flip(1)):
        places = [(torch.arange(side) + int(by)).clamp(0, side - 1) for side, by in zip(size, step)]
        assert torch.equal(image, original[(slice(None), *torch.meshgrid(*places, indexing="ij"))])


def test_a_hole_is_half_of_every_side_and_may_reach_over_the_edge():
    inside = hole(torch.zeros(3, 2, 8, 12), torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 1.0]]))
    expected = torch.zeros(3, 1, 8, 12)
    expected[0, :, 2:6, 3:9], expected[1, :, :2, 3:9], expected[2, :, 6:, 9:] = 1, 1, 1
    assert torch.equal(inside, expected)


def shares_of_two_kinds(gamma: float) -> tuple[float, float, float]:
    """Share of dark and of bright images where no factor tells them apart, half of each being real; and the loss at the end."""
    cohort = toy_cohort(64)
    bare = Cohort(cohort.images, cohort.table[["image_id", "patient_id"]], Schema(), Provenance("real", "bare"))
    gen = GAN(widths=(32, 16), batch_size=16, gamma=gamma).fit(bare, budget=Steps(100), seed=0)
    bright = gen.sample(pd.DataFrame(index=range(64)), seed=0).images.tensor().flatten(1).mean(1)
    return float((bright < -0.2).float().mean()), float((bright > 0.2).float().mean()), gen.card.training["losses"][-1][1]


def test_the_penalties_keep_both_kinds_of_images_and_without_them_the_loss_tells_of_the_collapse():
    dark, bright, loss = shares_of_two_kinds(gamma=10.0)
    assert dark > 0.2 and bright > 0.2 and loss < 1.7
    dark, bright, loss = shares_of_two_kinds(gamma=0.1)
    assert min(dark, bright) < 0.05 and loss > 2.2


def test_a_run_that_broke_off_goes_on_to_the_very_same_weights(tmp_path):
    def fit(*, fail_at: int | None = None) -> dict[str, torch.Tensor]:
        cohort = toy_cohort(12)
        data = TrainingData(cohort, SCHEMA.encode(cohort.table), batch_size=4, seed=0)
        train(Interrupted(players(), fail_at=fail_at), data, Plan(Steps(8), batch_size=4, run=tmp_path / "run", checkpoint_seconds=0.0))
        return load_state(tmp_path / "run", {}).part("average")

    with pytest.raises(PowerCut):
        fit(fail_at=6)
    resumed = fit()
    shutil.rmtree(tmp_path / "run")
    whole = fit()
    assert any(name.startswith("inner.discriminator") for name in whole) and all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_what_is_kept_is_the_generator_alone(tmp_path):
    gen = GAN(widths=(16, 8)).fit(toy_cohort(8), budget=Steps(1), seed=0)
    assert isinstance(gen.trained, Synthesis) and gen.evaluations == 1
    assert not [name for name in gen.trained.state_dict() if "discriminator" in name]
    with pytest.raises(AbilityError, match="GAN cannot edit: its network has no encoder"):
        gen.edit(toy_cohort(4), {"age": 30})


def test_what_is_impossible_is_refused():
    for wish, message in (({"latent": 0}, "latent"), ({"gamma": -1}, "gamma"), ({"drop": 1}, "drop"), ({"augment": 0.9}, "leak"), ({"widths": ()}, "widths")):
        with pytest.raises(FitError, match=message):
            GAN(**wish)
