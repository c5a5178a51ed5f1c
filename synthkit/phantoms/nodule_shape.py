"""The nodule itself: a star-shaped body of exact volume, its dense core, and the strands that radiate from it."""
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms.nodule_tubes import Tubes

AXES = 12
DEGREES = range(2, 10)
# Spread of log radius per degree: what every nodule has, and what full spiculation adds.
SMOOTH = (0.080, 0.035, 0.020, 0.010, 0.0, 0.0, 0.0, 0.0)
JAGGED = (0.030, 0.045, 0.050, 0.050, 0.045, 0.040, 0.035, 0.030)
NEWTON_STEPS = 4
SPICULES = 56
SPICULE_PIECES = 5


@dataclass(frozen=True)
class ShapeNuisance:
    """What makes one nodule's form its own, whatever its factors."""

    axes: Tensor
    smooth: Tensor
    jagged: Tensor
    strands: Tensor
    strand_bends: Tensor
    strand_sizes: Tensor

    @staticmethod
    def draw(seed: int, subject: str) -> "ShapeNuisance":
        def normal(shape: tuple[int, ...], stream: str) -> Tensor:
            return randomness.normal(shape, seed=seed, identities=[subject], stream=f"nodule.{stream}")[0]

        def directions(count: int, stream: str) -> Tensor:
            drawn = normal((count, 3), stream)
            return drawn / drawn.norm(dim=1, keepdim=True)

        sizes = randomness.uniform((2, SPICULES), seed=seed, identities=[subject], stream="nodule.strand_sizes")[0]
        bends = normal((SPICULE_PIECES, SPICULES, 3), "strand_bends")
        harmonics = normal((2, len(DEGREES), AXES), "harmonics")
        return ShapeNuisance(directions(AXES, "axes"), *harmonics, directions(SPICULES, "strands"), bends, sizes)


@dataclass(frozen=True)
class Body:
    """The body on a grid of voxels.

    Attributes:
        depth_mm: (N, N, N) signed distance to the rim, negative inside.
        share: (N, N, N) of each voxel inside.
        ratio: (N, N, N) distance from the centre as a share of the rim's.
    """

    depth_mm: Tensor
    share: Tensor
    ratio: Tensor


def log_radius(directions: Tensor, nuisance: ShapeNuisance, spiculation: Tensor) -> Tensor:
    """(P,) log of the rim's distance along (P, 3) directions, up to a constant: harmonics of degree 2 to 9 about random axes."""
    smooth, jagged, axes = (part.to(directions.device) for part in (nuisance.smooth, nuisance.jagged, nuisance.axes))
    spread = torch.tensor((SMOOTH, JAGGED), device=directions.device)[:, :, None]
    weights = spread[0] * smooth + spiculation * spread[1] * jagged
    coefficients = ZONAL.to(directions.device) @ weights
    cosine = directions @ axes.T
    total = coefficients[-1].expand_as(cosine)
    for power in range(len(coefficients) - 2, -1, -1):
        total = torch.addcmul(coefficients[power], total, cosine)
    return total.sum(1)


def _zonal() -> Tensor:
    """(10, 8) powers of the cosine that make up the harmonics of each degree, each of mean square 1 / AXES."""
    powers = np.zeros((max(DEGREES) + 1, len(DEGREES)))
    for column, degree in enumerate(DEGREES):
        # A Legendre polynomial of degree l has mean square 1 / (2l + 1) over the sphere.
        powers[: degree + 1, column] = math.sqrt((2 * degree + 1) / AXES) * legendre.leg2poly(np.eye(degree + 1)[degree])
    return torch.from_numpy(powers.astype(np.float32))


ZONAL = _zonal()


def body(points: Tensor, nuisance: ShapeNuisance, *, diameter: Tensor, spiculation: Tensor, spacing_mm: float) -> Body:
    """The body whose voxel shares sum to the volume of a sphere of `diameter`.

    Args:
        points: (N, N, N, 3) mm from the nodule's centre.
    """
    away = torch.linalg.vector_norm(points, dim=-1)
    near = away < diameter.detach()
    form = log_radius(points[near] / away[near].clamp(min=1e-3)[:, None], nuisance, spiculation).exp()
    reduced = away / torch.ones_like(away).masked_scatter(near, form)
    slope = torch.stack(torch.gradient(reduced, spacing=spacing_mm)).square().sum(0).add(1e-6).sqrt().clamp(min=0.3)
    target = math.pi / 6 * (diameter / spacing_mm) ** 3

    def shares(radius: Tensor) -> tuple[Tensor, Tensor]:
        depth = (reduced - radius) / slope
        return depth, (0.5 - depth / spacing_mm).clamp(0, 1)

    # Newton's method; the last step carries the gradient, as the implicit function theorem has it.
    radius = (diameter / 2).detach()
    for _ in range(NEWTON_STEPS):
        _, inside = shares(radius.detach())
        rim = (inside > 0) & (inside < 1)
        rate = (rim / slope).sum().detach() / spacing_mm
        radius = radius.detach() + (target - inside.sum()) / rate
    depth, inside = shares(radius)
    return Body(depth, inside, reduced / radius)


def mask(shape: Body, *, diameter: float, spacing_mm: float) -> Tensor:
    """Boolean: the voxels that the body covers most, as many as the volume of a sphere of `diameter` holds."""
    count = round(math.pi / 6 * (diameter / spacing_mm) ** 3)
    chosen = torch.zeros(shape.depth_mm.numel(), dtype=torch.bool, device=shape.depth_mm.device)
    chosen[shape.depth_mm.flatten().argsort(stable=True)[:count]] = True
    return chosen.view_as(shape.depth_mm)


def spicules(nuisance: ShapeNuisance, *, diameter: Tensor, spiculation: Tensor, centre: np.ndarray) -> Tubes:
    """Thin strands from the rim into the lung, more, longer and thicker with spiculation; mm from the cube's centre."""
    order = torch.arange(SPICULES) / SPICULES
    grown = ((1.5 * spiculation - order) / 0.5).clamp(0, 1)
    rim = diameter / 2 * log_radius(nuisance.strands, nuisance, spiculation).exp()
    length = (3.5 + 8.0 * nuisance.strand_sizes[0] + 0.12 * diameter) * grown
    thick = (0.55 + 0.4 * nuisance.strand_sizes[1]) * grown * (2 - grown)
    wander = (0.16 * nuisance.strand_bends).cumsum(0)
    steps = torch.linspace(0, 1, SPICULE_PIECES + 1)
    base = torch.from_numpy(centre.astype(np.float32)) + nuisance.strands * (0.8 * rim)[:, None]
    reach = (0.2 * rim + length)[:, None]
    nodes = [base] + [base + step * reach * (nuisance.strands + step * bend) for step, bend in zip(steps[1:], wander, strict=True)]
    radii = [thick * (1 - 0.7 * step) for step in steps]
    pieces = zip(nodes[:-1], nodes[1:], radii[:-1], radii[1:], strict=True)
    return _joined([(start, end, torch.stack(radius, 1)) for start, end, *radius in pieces])


def _joined(pieces: list[tuple[Tensor, Tensor, Tensor]]) -> Tubes:
    return Tubes(*(torch.cat(column) for column in zip(*pieces, strict=True)))
