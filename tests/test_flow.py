"""Rectified flow: its path, its times, its integrator, and how conditions are hidden."""
import math

import pytest
import torch
from scipy.integrate import quad
from toys import SCHEMA, toy_cohort

from synthkit.errors import AbilityError, FitError
from synthkit.generators.base import Recipe
from synthkit.generators.diffusion import Diffusion, FlowNetwork
from synthkit.generators.flow import integrate, interpolate, stratified_times
from synthkit.generators.solvers import SOLVERS, adams_bashforth, dpm_solver, time_grid
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch
from synthkit.nets.unet import UNet

START = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)


def growth(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """dx/dt = (1 + 2t) x, so x(1) = e² x(0)."""
    return (1 + 2 * t.double())[:, None] * x


MEAN, SPREAD = 0.5, 0.3  # of images that are one Gaussian number


def gaussian(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The exact velocity from standard normal noise to N(MEAN, SPREAD²); it carries z to MEAN + SPREAD z."""
    t = t.double().reshape(-1, *(1,) * (x.ndim - 1))
    return MEAN + (t * SPREAD**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * SPREAD**2) * (x - t * MEAN)


def error(name: str, steps: int, *, shift: float = 1.0) -> float:
    """How far a solver ends from the exact image of START."""
    return float((integrate(gaussian, START, steps=steps, solver=name, shift=shift) - (MEAN + SPREAD * START)).abs().max())


@pytest.mark.parametrize("shift", [1.0, 2.0])
@pytest.mark.parametrize("name", SOLVERS)
def test_every_solver_converges_to_the_exact_image_with_at_least_its_order(name, shift):
    """The midpoint rule gains an order here: both ends of this path curve alike."""
    errors = [error(name, steps, shift=shift) for steps in (256, 512, 1024)]
    orders = [math.log2(a / b) for a, b in zip(errors, errors[1:]) if b > 1e-8]  # below, times are rounded
    assert errors[-1] < (4e-3 if SOLVERS[name].order == 1 else 5e-5) and min(orders, default=2) > SOLVERS[name].order - 0.5


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.reversible])
def test_on_another_equation_the_order_is_the_stated_one(name):
    errors = [float((integrate(growth, START, steps=n, solver=name) - math.e**2 * START).abs().max()) for n in (64, 128, 256)]
    assert [math.log2(a / b) for a, b in zip(errors, errors[1:])] == pytest.approx([SOLVERS[name].order] * 2, abs=0.06)


@pytest.mark.parametrize("name", [name for name, solver in SOLVERS.items() if solver.reversible])
def test_solvers_that_run_back_find_the_noise(name):
    image = MEAN + SPREAD * START
    errors = [float((integrate(gaussian, image, steps=n, solver=name, backwards=True) - START).abs().max()) for n in (128, 256)]
    assert errors[1] < 0.03 and math.log2(errors[0] / errors[1]) > SOLVERS[name].order - 0.1


def test_the_second_order_is_worth_it_at_few_evaluations():
    """On even steps; the figures are those of the closed form: .090, .017, .026, .022 and .0015."""
    by_name = {name: error(name, 12 // solver.each) for name, solver in SOLVERS.items()}
    assert by_name["euler"] > 3 * max(value for name, value in by_name.items() if name != "euler") and by_name["midpoint"] < 0.002


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", SOLVERS)
def test_evaluations_are_counted_and_never_stand_at_the_image_itself(name, steps):
    asked = []
    integrate(lambda x, t: asked.append(float(t[0])) or torch.zeros_like(x), START, steps=steps, solver=name, shift=2.0)
    assert len(asked) == SOLVERS[name].each * steps and max(asked) < 1 and min(asked) == 0
    network = FlowNetwork(Zero(), shape=(1, 2, 2), hiding=Hiding((), 0.0), steps=steps, solver=name)
    assert network.evaluations == len(asked)


def test_the_second_step_of_adams_bashforth_is_the_textbook_one():
    # x1 = 1 + ½·1; then x2 = x1 + ½ (3/2 v1 - 1/2 v0) with v0 = 1 and v1 = (1 + 2·½) x1 = 3
    assert float(adams_bashforth(growth, START, (0.0, 0.5, 1.0))[0]) == pytest.approx(1.5 + 0.5 * (4.5 - 0.5))
    # On uneven steps h0 = ¼, h1 = ¾ the weights are 1 + h1/2h0 = 5/2 and -3/2.
    assert float(adams_bashforth(growth, START, (0.0, 0.25, 1.0))[0]) == pytest.approx(1.25 + 0.75 * (2.5 * 1.5 * 1.25 - 1.5))


def test_the_data_prediction_solver_is_exact_where_the_guess_moves_as_a_line():
    """With D(t) = 2 - 3t, x / (1 - t) grows by the integral of D / (1 - t)²; the first step holds D as it is."""
    line = lambda x, t: ((2 - 3 * t.double())[:, None] - x) / (1 - t.double())[:, None]  # noqa: E731
    first = 0.7 * (START + 2 * (1 / 0.7 - 1))
    second = 0.4 * (first / 0.7 + quad(lambda s: (2 - 3 * s) / (1 - s) ** 2, 0.3, 0.6)[0])
    assert torch.allclose(dpm_solver(line, START, (0.0, 0.3, 0.6)), second, atol=1e-6)
    # The last step ends at the guess itself.
    assert torch.allclose(dpm_solver(line, START, (0.0, 0.3, 0.6, 1.0)), torch.full_like(START, 2 - 3 * 0.6), atol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_images_that_are_all_alike_are_reached_by_every_solver_in_two_steps(name):
    reached = integrate(lambda x, t: (0.25 - x) / (1 - t.double())[:, None], START, steps=2, solver=name, shift=2.0)
    assert torch.allclose(reached, torch.full_like(START, 0.25), atol=1e-6), "the path is straight"


def test_the_grid_of_times():
    assert time_grid(4) == (0, 0.25, 0.5, 0.75, 1) and time_grid(2, shift=2.0) == pytest.approx((0, 1 / 3, 1))
    noisy, clear = time_grid(7, shift=3.0), time_grid(7, shift=1 / 3)
    assert noisy == pytest.approx([1 - t for t in reversed(clear)]) and list(noisy) == sorted(set(noisy))
    assert noisy[1] - noisy[0] < noisy[-1] - noisy[-2], "closer near the noise"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"solver": "rk45"}, "there are midpoint, euler, heun, adams, dpm"), ({"steps": 0}, "whole number, 1 or more"),
        ({"steps": 2.5}, "whole number, 1 or more"), ({"steps": True}, "whole number"), ({"shift": 0.0}, "shift must be a number above 0"),
        ({"shift": math.nan}, "above 0"), ({"shift": math.inf}, "above 0"), ({"drop": 1.0}, "drop must be 0 or more and under 1"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(FitError, match=message):
        Diffusion(**settings)


def test_a_solver_that_cannot_run_back_says_so():
    with pytest.raises(AbilityError, match="for the way back take midpoint, euler, heun, adams"):
        integrate(gaussian, START, steps=2, solver="dpm++", backwards=True)


class Gaussian(torch.nn.Module):
    """The exact velocity as a backbone."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return gaussian(x, t).to(x.dtype)


def test_a_network_samples_by_its_solver_and_always_inverts_by_the_midpoint_rule():
    z, none = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 0)
    plain, fast = (FlowNetwork(Gaussian(), shape=(1, 4, 4), hiding=Hiding((), 0.0), steps=12, solver=s) for s in ("midpoint", "dpm++"))
    assert torch.equal(plain.encode(z, none), fast.encode(z, none)) and not torch.equal(plain.decode(z, none), fast.decode(z, none))
    assert (fast.evaluations, plain.evaluations) == (12, 24) and torch.allclose(fast.decode(z, none), MEAN + SPREAD * z, atol=0.05)


def test_recipes_written_before_there_were_solvers_are_read_as_they_were_meant():
    old = {"family": "synthkit.generators.diffusion:Diffusion", "steps": 5, "drop": 0.3, "options": {}, "batch_size": 32, "learning_rate": 1e-3}
    assert Recipe.from_json(old) == Diffusion(steps=5) and (Diffusion().solver, Diffusion().shift) == ("midpoint", 1.0)


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
