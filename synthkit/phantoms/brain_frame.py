"""Where the voxels lie in a head, what is random about it, and smooth fields over it.

Head coordinates are in mm of a head of usual size: x to the patient's left, y to the back, z up; the origin is near
the middle of the brain. A subject's head is that head scaled, turned and a little bent.
"""
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.core import randomness

FIELD_MM = 224.0
CENTRE = (0.0, -6.0, -20.0)  # head coordinates x, y, z in the middle of the image
USUAL_SKULL_ML = 1670.0
FOLDS, SMOOTH = 32, 12


@dataclass(frozen=True)
class Waves:
    """A random field: a sum of plane waves, the same at every image size.

    Attributes:
        vectors: (K, 3) radians per mm along x, y, z.
        phases: (K,) radians.
    """

    vectors: Tensor
    phases: Tensor


@dataclass(frozen=True)
class Nuisance:
    """What is random about one subject beyond its factors; tensors are standard normal numbers.

    Attributes:
        shape, turn, skull: (3,), (3,), (2,): proportions and tilt of the head, thickness of skull and scalp.
        bend: three waves that bend the head.
        folds, mottle, blotches, lobes: the waves of sulci, of cortical thickness, of lesions and of a tumour's outline.
        bias: (4, 4, 4) for the coil's sensitivity.
        phases: (3, 2) in [0, 1): where in its cycles the motion begins in each MR channel.
    """

    shape: Tensor
    turn: Tensor
    skull: Tensor
    bend: tuple[Waves, ...]
    folds: Waves
    mottle: Waves
    blotches: Waves
    lobes: Waves
    bias: Tensor
    phases: Tensor

    @staticmethod
    def draw(seed: int, subject: str, device: torch.device | str) -> "Nuisance":
        """From streams keyed by (seed, subject, purpose), equal at every image size."""

        def normal(*shape: int, stream: str) -> Tensor:
            return randomness.normal(shape, seed=seed, identities=[subject], stream=stream)[0].to(device)

        def waves(count: int, longest_mm: float, shortest_mm: float, stream: str) -> Waves:
            direction = normal(count, 3, stream=f"{stream}.direction")
            chance = randomness.uniform((count, 2), seed=seed, identities=[subject], stream=stream)[0].to(device)
            number = 2 * math.pi * (1 / longest_mm + (1 / shortest_mm - 1 / longest_mm) * chance[:, 0])
            return Waves(direction / direction.norm(dim=1, keepdim=True) * number[:, None], 2 * math.pi * chance[:, 1])

        return Nuisance(
            shape=normal(3, stream="shape"),
            turn=normal(3, stream="turn"),
            skull=normal(2, stream="skull"),
            bend=tuple(waves(6, 220, 110, f"bend.{axis}") for axis in "xyz"),
            folds=waves(FOLDS, 28, 18, "folds"),
            mottle=waves(SMOOTH, 40, 14, "mottle"),
            blotches=waves(SMOOTH, 34, 13, "blotches"),
            lobes=waves(SMOOTH, 30, 14, "lobes"),
            bias=normal(4, 4, 4, stream="bias"),
            phases=randomness.uniform((3, 2), seed=seed, identities=[subject], stream="motion")[0].to(device),
        )


@dataclass(frozen=True)
class Frame:
    """The voxels of one image in head coordinates.

    Attributes:
        x, y, z: (D, H, W) mm of the usual head.
        scale: real mm per mm of the usual head.
        step: voxel size in mm of the usual head.
        grid: mm along one image axis, from its middle.
        turned: (3, 3) from image mm (x, y, z) to head mm, before bending.
    """

    x: Tensor
    y: Tensor
    z: Tensor
    scale: Tensor
    step: Tensor
    grid: Tensor
    turned: Tensor

    @property
    def softness(self) -> Tensor:
        """Width in mm over which a surface shades off within the voxels that it crosses."""
        return 0.25 * self.step

    def occupancy(self, distance: Tensor) -> Tensor:
        """Share 0..1 of each voxel on the negative side of a signed distance (mm)."""
        return torch.sigmoid(-distance / self.softness)

    @staticmethod
    def of(nuisance: Nuisance, skull_ml: Tensor, size: int) -> "Frame":
        """The frame of a head whose intracranial volume is about `skull_ml`."""
        scale = (skull_ml / USUAL_SKULL_ML) ** (1 / 3)
        grid = ((torch.arange(size, dtype=torch.float32, device=skull_ml.device) + 0.5) / size - 0.5) * FIELD_MM
        stretch = torch.exp(0.028 * (nuisance.shape - nuisance.shape.mean()))
        turned = _rotation(0.04 * nuisance.turn) / (scale * stretch)[:, None]
        x, y, z = (
            middle + row[0] * grid + row[1] * grid[:, None] + row[2] * grid[:, None, None]
            for middle, row in zip(CENTRE, turned, strict=True)
        )
        straight = Frame(x, y, z, scale, FIELD_MM / size / scale, grid, turned)
        bent = [place + 1.6 * straight.field(waves) for place, waves in zip((x, y, z), nuisance.bend, strict=True)]
        return Frame(*bent, scale, FIELD_MM / size / scale, grid, turned)

    def field(self, waves: Waves) -> Tensor:
        """(D, H, W) of about unit variance."""
        return self._sum(waves, torch.ones(1, len(waves.phases), device=self.grid.device, dtype=torch.complex64))[0]

    def slopes(self, waves: Waves) -> Tensor:
        """(4, D, H, W): the field, and its slopes along x, y, z of the head per mm."""
        return self._sum(waves, torch.cat([torch.ones(1, len(waves.phases), device=self.grid.device), 1j * waves.vectors.T]))

    def _sum(self, waves: Waves, weights: Tensor) -> Tensor:
        # A plane wave is a product of one wave along each image axis, so the sum over waves is one matrix product.
        across, down, through = (waves.vectors @ self.turned).T[:, None] * self.grid[:, None]
        plane = torch.polar(torch.ones_like(through), through + waves.phases)[:, None] * torch.polar(torch.ones_like(down), down)
        lines = weights[:, None] * torch.polar(torch.ones_like(across), across)
        plane, lines = plane.flatten(0, 1), lines.flatten(0, 1).T
        total = plane.real @ lines.real - plane.imag @ lines.imag
        size = len(self.grid)
        return total.view(size, size, len(weights), size).permute(2, 0, 1, 3) * (2 / len(waves.phases)) ** 0.5


def _rotation(angles: Tensor) -> Tensor:
    """(3, 3) small rotation about x, y and z by these radians."""
    zero = torch.zeros((), device=angles.device)
    about_x, about_y, about_z = angles
    spin = torch.stack([zero, -about_z, about_y, about_z, zero, -about_x, -about_y, about_x, zero]).view(3, 3)
    return torch.linalg.matrix_exp(spin)


def ellipsoid(frame: Frame, centre: tuple[Tensor | float, ...], half: tuple[Tensor | float, ...], *, side: Tensor | None = None) -> Tensor:
    """Signed distance in mm to an ellipsoid, first order in the distance; negative inside.

    Args:
        side: stands in for x; |x| gives a pair.
    """
    x = (frame.x if side is None else side) - centre[0]
    y, z = frame.y - centre[1], frame.z - centre[2]
    x, y, z = x / half[0], y / half[1], z / half[2]
    radius = (x * x + y * y + z * z + 1e-6).sqrt()
    slope = ((x / half[0]).square() + (y / half[1]).square() + (z / half[2]).square() + 1e-9).sqrt()
    return radius * (radius - 1) / slope


def join(first: Tensor, second: Tensor, *, width: float) -> Tensor:
    """Signed distance to the union of two solids, the seam rounded over `width` mm (Quilez's polynomial minimum)."""
    near = (width - (first - second).abs()).clamp(min=0) / width
    return torch.minimum(first, second) - near * near * (width / 4)
