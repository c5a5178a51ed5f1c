"""Rectified flow: its path, its times, its integrator, and how conditions are hidden."""
import math

import pytest
import torch
from toys import SCHEMA, toy_cohort

from synthkit.generators.diffusion import Diffusion, FlowNetwork
from synthkit.generators.flow import integrate, interpolate, stratified_times
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch
from synthkit.nets.unet import UNet

START = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)


def growth(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = (1 + 2t) x, so x(1) = e² x(0)."""
    return (1 + 2 * t.double())[:, None] * x


def test_the_midpoint_rule_converges_with_order_two():
    errors = [float((integrate(growth, START, steps=n) - math.e**2 * START).abs().max()) for n in (32, 64, 128, 256)]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:])]
    assert errors[-1] < 1e-3 and orders == pytest.approx([2, 2, 2], abs=0.06)


def test_one_step_is_the_textbook_midpoint_step():
    # half = 1 + ½·1·1, then x + v(half, t = ½) = 1 + 2·1.5
    assert float(integrate(growth, START, steps=1)[0]) == pytest.approx(4.0)


def test_there_and_back_again_returns():
    there = integrate(growth, START, steps=64)
    back = integrate(growth, there, steps=64, backwards=True)
    assert torch.allclose(back, START, atol=2e-3)
    drift = [float((integrate(growth, integrate(growth, START, steps=n), steps=n, backwards=True) - START).abs().max()) for n in (8, 16, 32)]
    assert drift[0] > 3.5 * drift[1] > 12 * drift[2] > 0


@pytest.mark.parametrize("backwards", [False, True])
def test_a_constant_velocity_is_exact_in_one_step(backwards):
    moved = integrate(lambda x, t: torch.full_like(x, 3.0), START, steps=1, backwards=backwards)
    assert torch.equal(moved, START - 3 if backwards else START + 3)


@pytest.mark.parametrize("backwards", [False, True])
def test_times_run_through_the_unit_interval(backwards):
    expected, seen = [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875], []
    expected = [1 - t for t in expected] if backwards else expected
    integrate(lambda x, t: seen.append(float(t[0])) or torch.zeros_like(x), START, steps=4, backwards=backwards)
    assert seen == pytest.approx(expected)


def test_the_path_starts_at_noise_ends_at_the_image_and_is_straight():
    noise, x = torch.randn(3, 1, 4, 4), torch.randn(3, 1, 4, 4)
    assert torch.equal(interpolate(noise, x, torch.zeros(3)), noise) and torch.equal(interpolate(noise, x, torch.ones(3)), x)
    t = torch.tensor([0.25, 0.5, 0.75])
    assert torch.allclose(interpolate(noise, x, t)[1], (noise[1] + x[1]) / 2)
    slope = (interpolate(noise, x, t + 0.1) - interpolate(noise, x, t)) / 0.1
    assert torch.allclose(slope, x - noise, atol=1e-5)


@pytest.mark.parametrize("draw", [0.0, 0.4, 0.999])
def test_times_fall_one_into_each_stratum(draw):
    times = stratified_times(8, torch.tensor([draw]))
    assert (times * 8).floor().tolist() == list(range(8)) and times.max() < 1


def test_factors_are_hidden_whole_in_a_share_of_the_images_and_every_number_of_them():
    code = torch.ones(8000, SCHEMA.width)
    hidden = Hiding(tuple(SCHEMA.blocks()), drop=0.4)(Batch(torch.zeros(8000, 1, 2, 2), code, torch.Generator().manual_seed(0)))
    blocks = torch.stack([hidden[:, block].mean(1) for block in SCHEMA.blocks()], 1)
    assert set(blocks.unique().tolist()) == {0.0, 1.0}, "a factor is hidden whole or not at all"
    # A uniform rate makes every number of hidden factors, 0 to 4, equally frequent among the 40 %.
    counts = torch.bincount((1 - blocks).sum(1).long(), minlength=5) / 8000
    assert counts.tolist() == pytest.approx([0.6 + 0.08, 0.08, 0.08, 0.08, 0.08], abs=0.015)
    assert (1 - blocks.mean(0)).tolist() == pytest.approx([0.2] * 4, abs=0.02), "no factor more often than another"
    assert torch.equal(Hiding(tuple(SCHEMA.blocks()), drop=0.0)(Batch(torch.zeros(8000, 1, 2, 2), code, torch.Generator())), code)


def test_the_loss_of_the_true_velocity_is_the_closed_form():
    """With v = 0 the loss is E|x - noise|² = x² + 1."""
    network = FlowNetwork(Zero(), shape=(1, 32, 32), hiding=Hiding((), 0.1), steps=1)
    x = torch.full((64, 1, 32, 32), 0.5)
    loss = network.training_step(Batch(x, torch.zeros(64, 0), torch.Generator().manual_seed(0)))
    assert float(loss) == pytest.approx(1.25, abs=0.02)


class Zero(torch.nn.Module):
    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


@pytest.mark.parametrize("size", [(28, 28), (30, 30), (50, 50), (100, 84), (8, 16, 16), (5, 20, 12)])
def test_the_velocity_network_takes_any_size(size):
    torch.manual_seed(0)
    network = UNet(channels=2, size=size, condition_width=3, widths=(16, 16), embedding=32)
    torch.nn.init.normal_(network.out[-1].weight)
    x, t, c = torch.randn(2, 2, *size), torch.tensor([0.1, 0.9]), torch.randn(2, 3)
    with torch.no_grad():
        velocity = network(x, t, c)
        assert velocity.shape == x.shape
        assert torch.allclose(network(x[:1], t[:1], c[:1]), velocity[:1], atol=1e-4), "images of a batch do not see each other"


def test_an_untrained_network_stands_still_and_depends_on_seed_only():
    cohort = toy_cohort(4)
    network = Diffusion(options={"widths": (16, 16)}).network(cohort.schema, cohort.space)
    z = torch.randn(2, 1, 16, 16)
    assert torch.equal(network.decode(z, torch.zeros(2, SCHEMA.width)), z)
