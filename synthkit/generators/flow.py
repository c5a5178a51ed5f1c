"""Rectified flow between noise and images: its times, its path, and the way along it in both directions.

x_t = (1 - t) * noise + t * x and the velocity is x - noise (Lipman et al. 2023; Liu et al. 2023).
"""
from collections.abc import Sequence

import torch

from synthkit.errors import AbilityError
from synthkit.generators.solvers import SOLVERS, Velocity, time_grid


def stratified_times(count: int, uniform: torch.Tensor) -> torch.Tensor:
    """(count,) times in [0, 1), one in each of `count` equal strata: less noise in the loss than independent draws."""
    return (torch.arange(count, device=uniform.device) + uniform) / count


def interpolate(noise: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """x_t on the straight path; t (N,)."""
    share = t.reshape(-1, *(1,) * (x.ndim - 1))
    return (1 - share) * noise + share * x


def integrate_over(velocity: Velocity, start: torch.Tensor, times: Sequence[float], *, solver: str = "midpoint") -> torch.Tensor:
    """Follow dx/dt = velocity(x, t) through these times, whichever way they run."""
    return SOLVERS[solver].follow(velocity, start, times)


def integrate(
    velocity: Velocity, start: torch.Tensor, *, steps: int, solver: str = "midpoint", shift: float = 1.0, backwards: bool = False
) -> torch.Tensor:  # fmt: skip
    """Follow dx/dt = velocity(x, t) from t = 0 to 1, or from 1 to 0.

    Args:
        velocity: called with x (N, ...) and t (N,).
        solver: a name of `SOLVERS`.
        shift: see `time_grid`.
    Raises:
        AbilityError: a solver that only runs towards the image is asked to run back.
    """
    way, times = SOLVERS[solver], time_grid(steps, shift=shift)
    if backwards and not way.reversible:
        back = ", ".join(name for name, one in SOLVERS.items() if one.reversible)
        raise AbilityError(f"solver={solver!r} divides by 1 - t and cannot start at the image, t = 1; for the way back take {back}")
    return integrate_over(velocity, start, times[::-1] if backwards else times, solver=solver)
