"""Random small changes of geometry and exposure for training predictors; every draw from the batch's own stream."""
import torch
from torch.nn import functional as F

from synthkit.nets.network import Batch


def augment(batch: Batch, *, shift: float = 0.06, zoom: float = 0.08, turn: float = 0.08, contrast: float = 0.2, noise: float = 0.03) -> torch.Tensor:
    """Shifted, zoomed, turned (2D), re-exposed and noisy copies of batch.x; no mirror images, since left is not right.

    Args:
        shift, zoom: share of the image; turn in radians; contrast, noise in image units.
    """
    x, count = batch.x, len(batch.x)
    dims = x.ndim - 2
    draws = batch.uniform(count, dims + 5) * 2 - 1
    affine = torch.zeros(count, dims, dims + 1, device=x.device)
    affine[:, range(dims), range(dims)] = 1 + zoom * draws[:, :1]
    affine[:, :, -1] = 2 * shift * draws[:, 1 : 1 + dims]
    if dims == 2:
        angle = turn * draws[:, dims + 1]
        affine[:, 0, 1], affine[:, 1, 0] = -angle, angle
    moved = F.grid_sample(x, F.affine_grid(affine, list(x.shape), align_corners=False), padding_mode="border", align_corners=False)
    column = (-1, *(1,) * (dims + 1))
    exposed = moved * (1 + contrast * draws[:, dims + 2].reshape(column)) + contrast / 2 * draws[:, dims + 3].reshape(column)
    grain = noise * draws[:, dims + 4].abs().reshape(column) * batch.normal_like()
    return (exposed + grain).clamp(-1, 1)
