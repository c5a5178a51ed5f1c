"""Smooth random fields and projected strands (vessels, wires), the same at every image size."""
import functools

import torch
from torch import Tensor


@functools.lru_cache(maxsize=64)
def spline_basis(count: int, knots: int) -> Tensor:
    """(count, knots) cubic B-spline weights that carry values on knots to `count` pixel centres."""
    places = (torch.arange(count, dtype=torch.float32) + 0.5) / count * (knots - 1)
    gap = (places[:, None] - torch.arange(knots, dtype=torch.float32)).abs()
    near = 2 / 3 - gap**2 + gap**3 / 2
    far = (2 - gap).clamp(min=0) ** 3 / 6
    return torch.where(gap < 1, near, far)


def field(knots: Tensor, count: int) -> Tensor:
    """Smooth (N, count, count) fields through (N, knots, knots) grids of numbers."""
    basis = spline_basis(count, knots.shape[-1]).to(knots.device).expand(len(knots), -1, -1)
    return torch.bmm(torch.bmm(basis, knots), basis.mT)


def fractal(octaves: tuple[Tensor, ...], count: int, *, roughness: float) -> Tensor:
    """Sum of smooth fields, each octave `roughness` times the last; about unit variance."""
    weights = [roughness**level for level in range(len(octaves))]
    total = sum(weight * field(octave, count) for weight, octave in zip(weights, octaves, strict=True))
    # A cubic B-spline field of unit knots has variance 0.479^2.
    return total / (0.479 * sum(weight**2 for weight in weights) ** 0.5)


def splat(x: Tensor, y: Tensor, mass: Tensor, *, count: int, layer: Tensor | int = 0, layers: int = 1) -> Tensor:
    """Projected mass per pixel area of points, shared bilinearly between the four nearest pixels.

    Args:
        x, y: (N, P) places in pixels, 0 at the centre of the first pixel; those outside are dropped.
        mass: (N, P) cm^3 of material over the pixel area in cm^2, so the result is a path length in cm.
        layer: (N, P) number of the picture that each point goes to.
    Returns:
        (N, layers, count, count), rows along y.
    """
    column, row = x.detach().floor(), y.detach().floor()
    across, down = x - column, y - row
    side = count + 2
    image = torch.zeros(len(x) * layers * side * side, dtype=mass.dtype, device=mass.device)
    inside = (column >= -1) & (column < count) & (row >= -1) & (row < count)
    first = (row.clamp(-1, count - 1) + 1) * side + column.clamp(-1, count - 1) + 1
    first = first.long() + side * side * (layers * torch.arange(len(x), device=x.device)[:, None] + layer)
    mass = torch.where(inside, mass, torch.zeros_like(mass))
    for step, weight in (
        (0, (1 - across) * (1 - down)),
        (1, across * (1 - down)),
        (side, (1 - across) * down),
        (side + 1, across * down),
    ):
        # Accumulating index_put adds in a fixed order, on a GPU too.
        image = image.index_put(((first + step).flatten(),), (mass * weight).flatten(), accumulate=True)
    return image.view(-1, layers, side, side)[:, :, 1:-1, 1:-1]
