"""The level at which a soft shape holds a given volume: how the phantom's volumes come to be exact."""
import torch
from torch import Tensor

REACH_MM = 80.0
STEPS = 60
TOLERANCE_ML = 2e-4


def level(distance: Tensor, target_ml: Tensor, *, within: Tensor, softness: Tensor, voxel_ml: float) -> Tensor:
    """The shift d (mm) for which the shape `distance + d < 0` holds `target_ml`.

    Newton's method inside a shrinking bracket; the last step carries the gradient with respect to everything given
    (the implicit function theorem).

    Args:
        distance: (D, H, W) signed distance in mm, negative inside.
        within: (D, H, W) share of each voxel that the shape may take.
        softness: mm over which occupancy shades off at the surface.
    Returns:
        A 0-dimensional tensor.
    """
    with torch.no_grad():
        shift = _solve(distance, float(target_ml), within, softness, voxel_ml)
    inside = torch.sigmoid(-(distance + shift) / softness)
    slope = (within * inside * (1 - inside)).sum(dtype=torch.float64).detach() * (voxel_ml / softness.detach())
    volume = (within * inside).sum(dtype=torch.float64) * voxel_ml
    return shift + ((volume - target_ml) / slope.clamp(min=1e-6)).to(distance.dtype)


def _solve(distance: Tensor, target: float, within: Tensor, softness: Tensor, voxel_ml: float) -> Tensor:
    here = within > 1e-6
    distance, within = distance[here], within[here]
    low, high, shift = -REACH_MM, REACH_MM, 0.0
    for _ in range(STEPS):
        inside = torch.sigmoid(-(distance + shift) / softness)
        taken = within * inside
        excess = float(taken.sum(dtype=torch.float64)) * voxel_ml - target
        if abs(excess) < TOLERANCE_ML:
            break
        low, high = (shift, high) if excess > 0 else (low, shift)
        slope = float((taken * (1 - inside)).sum(dtype=torch.float64)) * voxel_ml / float(softness)
        newton = shift + excess / max(slope, 1e-9)
        shift = newton if low < newton < high else (low + high) / 2
    return torch.tensor(shift, dtype=distance.dtype, device=distance.device)
