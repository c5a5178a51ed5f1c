"""Tapering tubes (vessels, bronchi, spicules) turned into the share of each voxel that they cover."""
from dataclasses import dataclass

import torch
from torch import Tensor

# A ramp one voxel wide over a disc of radius r holds pi (r^2 + 1/12); below r = 1/2 only the peak is lowered.
RAMP = 1 / 12
THINNEST = 1 / 4


@dataclass(frozen=True)
class Tubes:
    """Straight pieces in mm from the cube's centre, axes (z, y, x).

    Attributes:
        start, end: (P, 3).
        radius: (P, 2) mm at either end; zero draws nothing.
    """

    start: Tensor
    end: Tensor
    radius: Tensor

    def __getitem__(self, chosen: Tensor) -> "Tubes":
        return Tubes(self.start[chosen], self.end[chosen], self.radius[chosen])

    def to(self, device: torch.device | str) -> "Tubes":
        return Tubes(self.start.to(device), self.end.to(device), self.radius.to(device))


def coverage(tubes: Tubes, *, size: int, spacing_mm: float) -> Tensor:
    """(size, size, size) share of each voxel inside the tubes, 0..1; what is thinner than a voxel keeps its cross-section.

    Where tubes overlap the larger share counts, so neither their order nor how they are grouped matters.
    """
    shift = (size - 1) / 2
    voxels = Tubes(tubes.start / spacing_mm + shift, tubes.end / spacing_mm + shift, tubes.radius / spacing_mm)
    middle = ((voxels.start + voxels.end) / 2).detach().round().long()
    half = ((voxels.end - voxels.start).abs().amax(1) / 2 + voxels.radius.amax(1).clamp(min=0.5)).detach()
    reach = (half + 1).floor().long()
    seen = ((middle + reach[:, None] >= 0) & (middle - reach[:, None] < size)).all(1) & (voxels.radius.detach().amax(1) > 0)
    image = torch.zeros(size**3, device=tubes.start.device)
    for steps in reach[seen].unique().tolist():
        chosen = seen & (reach == steps)
        image = _fill(image, voxels[chosen], middle[chosen], steps, size)
    return image.view(size, size, size)


def _fill(image: Tensor, tubes: Tubes, middle: Tensor, steps: int, size: int) -> Tensor:
    """The image with tubes drawn into the (2 steps + 1)^3 voxels around each one's middle."""
    line = torch.arange(-steps, steps + 1, device=image.device)
    places = middle[:, None] + torch.cartesian_prod(line, line, line)
    tube, place = ((places >= 0) & (places < size)).all(2).nonzero(as_tuple=True)
    where = places[tube, place]
    share = _share(where.to(image.dtype), tubes[tube])
    flat = (where[:, 0] * size + where[:, 1]) * size + where[:, 2]
    return image.scatter_reduce(0, flat, share, "amax")


def _share(points: Tensor, tubes: Tubes) -> Tensor:
    """(P,) share of the voxel at each point that its own tube covers."""
    axis, away = tubes.end - tubes.start, points - tubes.start
    along = ((away * axis).sum(1) / axis.square().sum(1).clamp(min=1e-8)).clamp(0, 1)
    distance = torch.linalg.vector_norm(away - along[:, None] * axis, dim=1)
    squared = torch.lerp(tubes.radius[:, 0], tubes.radius[:, 1], along).square()
    rim = (squared - RAMP).clamp(min=THINNEST).sqrt()
    peak = (squared / (RAMP + THINNEST)).clamp(max=1)
    return peak * (rim + 0.5 - distance).clamp(0, 1)
