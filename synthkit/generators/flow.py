"""Rectified flow between noise and images: interpolation, loss, and the midpoint rule in both directions.

x_t = (1 - t) * noise + t * x and the velocity is x - noise (Lipman et al. 2023; Liu et al. 2023).
"""
from collections.abc import Callable

import torch

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def stratified_times(count: int, uniform: torch.Tensor) -> torch.Tensor:
    """(count,) times in [0, 1), one in each of `count` equal strata: less noise in the loss than independent draws."""
    return (torch.arange(count, device=uniform.device) + uniform) / count


def interpolate(noise: torch.Tensor, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """x_t on the straight path; t (N,)."""
    share = t.reshape(-1, *(1,) * (x.ndim - 1))
    return (1 - share) * noise + share * x


def integrate(velocity: Velocity, start: torch.Tensor, *, steps: int, backwards: bool = False) -> torch.Tensor:
    """Follow dx/dt = velocity(x, t) from t = 0 to 1, or from 1 to 0, by the midpoint rule.

    The midpoint never evaluates the network at t = 0 or t = 1 exactly after the first half step, where a Heun step
    would: the network is not trained at the ends and leaves noise in the sample.
    """
    x, size = start, (-1.0 if backwards else 1.0) / steps
    for number in range(steps):
        t = (1.0 if backwards else 0.0) + number * size
        at = torch.full((len(x),), t, device=x.device)
        half = x + size / 2 * velocity(x, at)
        x = x + size * velocity(half, at + size / 2)
    return x
