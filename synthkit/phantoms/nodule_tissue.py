"""HU of what surrounds a nodule: aerated lung with emphysema, and the chest wall with its ribs."""
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms.nodule_place import Place
from synthkit.phantoms.texture import spline_basis

LUNG_HU, HOLE_HU = -850.0, -965.0
FAT_HU, MUSCLE_HU, CORTEX_HU, MARROW_HU = -95.0, 50.0, 750.0, 180.0
GRAVITY_HU_PER_MM = 0.6  # the back of a patient who lies on it is denser
KNOT_SPREAD = 0.479**1.5  # standard deviation of a cubic B-spline field of unit knots in 3D
RIB_DEPTH_MM, RIB_HALF_MM, RIB_STEP_MM = 6.5, (3.6, 6.5), 27.0
CORTEX_MM = 1.3


@dataclass(frozen=True)
class TissueNuisance:
    """Random fields of one subject's lung, and where its ribs run."""

    grain: Tensor
    haze: Tensor
    holes: Tensor
    large_holes: Tensor
    nodule: Tensor
    rib_phase: float
    rib_slope: float
    fat_mm: float

    @staticmethod
    def draw(seed: int, subject: str) -> "TissueNuisance":
        def knots(count: int, stream: str) -> Tensor:
            return randomness.normal((count, count, count), seed=seed, identities=[subject], stream=f"nodule.{stream}")[0]

        phase, slope, fat = randomness.generator(seed, subject, "nodule.ribs").random(3)
        fields = knots(26, "grain"), knots(7, "haze"), knots(19, "holes"), knots(10, "large_holes"), knots(22, "inside")
        return TissueNuisance(*fields, float(phase), float(slope), 1.0 + 1.5 * float(fat))


def field(knots: Tensor, size: int, device: torch.device | str) -> Tensor:
    """(size, size, size) smooth field of about unit variance."""
    basis = spline_basis(size, knots.shape[-1]).to(device)
    inner = basis @ knots.to(device) @ basis.T
    return (basis @ inner.flatten(1)).view(size, size, size) / KNOT_SPREAD


def parenchyma(points: Tensor, nuisance: TissueNuisance, *, age: Tensor, male: Tensor, emphysema: Tensor, inside: Tensor) -> Tensor:
    """(N, N, N) HU of aerated lung: denser to the back and in women, airier with age.

    Args:
        points: (N, N, N, 3) mm from the nodule.
        inside: boolean, the lung, of which emphysema takes its share.
    """
    size = len(points)
    grain, haze = field(nuisance.grain, size, points.device), field(nuisance.haze, size, points.device)
    mean = LUNG_HU - 0.5 * (age - 60) + 12 * (1 - male)
    lung = mean + GRAVITY_HU_PER_MM * points[..., 1] + 13 * grain + 6 * haze
    return torch.lerp(lung, torch.full_like(lung, HOLE_HU), holes(nuisance, size, emphysema, inside))


def holes(nuisance: TissueNuisance, size: int, emphysema: Tensor, inside: Tensor) -> Tensor:
    """(N, N, N) share of each voxel without tissue: the emphysema's share of the lung, in holes of 2 to 8 mm."""
    height = 0.87 * field(nuisance.holes, size, inside.device) + 0.5 * field(nuisance.large_holes, size, inside.device)
    # Every eighth voxel ranks the field closely enough, and sorting them all would take longer than all else here.
    ranked = height[inside][::8].sort().values
    place = (1 - emphysema) * (len(ranked) - 1)
    below = place.detach().floor().long().clamp(0, len(ranked) - 2)
    level = torch.lerp(ranked[below], ranked[below + 1], place - below)
    # Where emphysema is nearly nil, the highest peaks must not show all at once.
    return ((height - level) / 0.9 + 0.5).clamp(0, 1) * (emphysema / 0.02).clamp(max=1)


@dataclass(frozen=True)
class Wall:
    """The chest wall on a grid: HU, the share of each voxel beyond the pleura, and that inside a rib."""

    hu: Tensor
    share: Tensor
    rib: Tensor


def chest_wall(points: Tensor, place: Place, nuisance: TissueNuisance, *, age: Tensor, male: Tensor, spacing_mm: float) -> Wall:
    """Pleura and fat, muscle, ribs and the fat outside them; bones lose calcium with age, and women have more fat."""
    depth = place.wall_depth(points)
    outward = torch.as_tensor(place.outward, dtype=points.dtype, device=points.device)
    up = torch.zeros_like(outward)
    up[0] = 1
    upward = up - (up @ outward) * outward
    upward = upward / upward.norm()
    along = points @ torch.linalg.cross(outward, upward)
    height = points @ upward - (0.15 + 0.35 * nuisance.rib_slope) * along
    offset = (height + nuisance.rib_phase * RIB_STEP_MM).remainder(RIB_STEP_MM) - RIB_STEP_MM / 2
    thick, tall = RIB_HALF_MM
    inside_rib = thick * (1 - (((depth - RIB_DEPTH_MM) / thick).square() + (offset / tall).square()).add(1e-6).sqrt())
    rib, marrow = (_ramp(inside_rib - margin, spacing_mm) for margin in (0.0, CORTEX_MM))
    bone = (1 - 0.006 * (age - 60)) * torch.lerp(torch.full_like(depth, CORTEX_HU), torch.full_like(depth, MARROW_HU), marrow)
    muscle = _ramp(depth - nuisance.fat_mm, 1.5) * _ramp(15 - 4 * (1 - male) - depth, 2.0)
    soft = torch.lerp(torch.full_like(depth, FAT_HU), torch.full_like(depth, MUSCLE_HU), muscle)
    return Wall(torch.lerp(soft, bone, rib), _ramp(depth, spacing_mm), rib)


def _ramp(inside_mm: Tensor, width_mm: float) -> Tensor:
    return (inside_mm / width_mm + 0.5).clamp(0, 1)
