"""Ways to follow dx/dt = v(x, t) along a grid of times with few evaluations of the network.

On the straight path x_t = (1 - t) * noise + t * x the velocity is the same as a guess of the image, D = x_t + (1 - t) v,
which is what `dpm_solver` works with.
"""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from types import MappingProxyType

import torch

from synthkit.errors import FitError

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Times = Sequence[float]


@dataclass(frozen=True)
class Solver:
    """A way to solve the flow.

    Args:
        follow: (velocity, x, times) to x at the last time.
        each: evaluations of the network per step.
        order: of its convergence.
        reversible: whether it also runs from image to noise.
    """

    follow: Callable[[Velocity, torch.Tensor, Times], torch.Tensor]
    each: int
    order: int
    reversible: bool = True


def time_grid(steps: int, *, shift: float = 1.0) -> tuple[float, ...]:
    """steps + 1 times from 0 to 1: even for shift 1, closer near the noise above 1 and near the image below (Esser et al. 2024, eq. 23)."""
    return tuple(number / (number + shift * (steps - number)) for number in range(steps + 1))


def euler(velocity: Velocity, x: torch.Tensor, times: Times) -> torch.Tensor:
    """Straight on from the start of each step."""
    for t, after in zip(times, times[1:]):
        x = x + (after - t) * velocity(x, _at(x, t))
    return x


def midpoint(velocity: Velocity, x: torch.Tensor, times: Times) -> torch.Tensor:
    """Each step takes the velocity of its middle.

    So the network is never asked at the last time exactly, where it was not trained and would leave noise in the sample.
    """
    for t, after in zip(times, times[1:]):
        half = x + (after - t) / 2 * velocity(x, _at(x, t))
        x = x + (after - t) * velocity(half, _at(x, (t + after) / 2))
    return x


def heun(velocity: Velocity, x: torch.Tensor, times: Times) -> torch.Tensor:
    """The mean velocity of both ends of each step; the last step is a midpoint step, since the last time is not to be asked."""
    for t, after in zip(times[:-2], times[1:-1]):
        first = velocity(x, _at(x, t))
        x = x + (after - t) / 2 * (first + velocity(x + (after - t) * first, _at(x, after)))
    return midpoint(velocity, x, times[-2:])


def adams_bashforth(velocity: Velocity, x: torch.Tensor, times: Times) -> torch.Tensor:
    """Velocities of the last two times drawn on as a line, on a grid of any widths; the first step is Euler's."""
    before, width = None, 0.0
    for t, after in zip(times, times[1:]):
        now = velocity(x, _at(x, t))
        slope = 0.0 if before is None else (now - before) / width
        before, width = now, after - t
        x = x + width * (now + width / 2 * slope)
    return x


def dpm_solver(velocity: Velocity, x: torch.Tensor, times: Times) -> torch.Tensor:
    """Multistep solver in data prediction, second order, as DPM-Solver++(2M) (Lu et al. 2022, algorithm 2) on the straight path.

    With sigma = 1 - t, x / sigma changes by the integral of D / sigma^2, which is solved exactly for a D that goes on as a line
    in t. (A line in the log of t / sigma, as in the paper, has no slope where the path begins: that logarithm is infinite there.)
    """
    before, since = None, 0.0
    for t, after in zip(times, times[1:]):
        sigma, left = 1 - t, 1 - after
        guess = x + sigma * velocity(x, _at(x, t))
        x = left / sigma * x + (1 - left / sigma) * guess
        # The last step ends at the guess itself: drawn on as a line, it would carry the guess's own errors into the image.
        if before is not None and left > 0:
            x = x + (after - t - left * log(sigma / left)) * (guess - before) / (t - since)
        before, since = guess, t
    return x


def _at(x: torch.Tensor, t: float) -> torch.Tensor:
    return torch.full((len(x),), t, device=x.device)


SOLVERS: Mapping[str, Solver] = MappingProxyType({
    "midpoint": Solver(midpoint, each=2, order=2), "euler": Solver(euler, each=1, order=1), "heun": Solver(heun, each=2, order=2),
    "adams": Solver(adams_bashforth, each=1, order=2), "dpm++": Solver(dpm_solver, each=1, order=2, reversible=False),
})  # fmt: skip


def require_solver(owner: str, *, steps: int, solver: str, shift: float) -> None:
    """Raise FitError unless these settings can be sampled with."""
    if not isinstance(solver, str) or solver not in SOLVERS:
        raise FitError(f"{owner}(solver={solver!r}): there are {', '.join(SOLVERS)}")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise FitError(f"{owner}(steps={steps!r}): steps must be a whole number, 1 or more")
    if not _number(shift) or not 0 < shift < float("inf"):
        raise FitError(f"{owner}(shift={shift!r}): shift must be a number above 0; 1 spaces the steps evenly")


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
