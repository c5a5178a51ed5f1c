"""Differentiable augmentation: random changes of real and drawn images alike before a discriminator sees them."""
import torch
from torch.nn import functional as F

from synthkit.nets.network import Batch

SHIFT = 1 / 8  # of a side, at most
HOLE = 1 / 2  # of a side
LIGHT, CONTRAST = 0.2, 0.2  # at most, in image units and as a share


def diff_augment(x: torch.Tensor, batch: Batch, *, chance: float) -> torch.Tensor:
    """Images (N, C, [D,] H, W), some of them shifted, with a hole, brighter or flatter (DiffAugment, Zhao et al. 2020).

    Each of the four changes is made with this chance, independently. Where it stays well under 1, unchanged images remain the
    most frequent ones, and a generator that draws the changes along cannot match the real images (Karras et al. 2020).

    Args:
        batch: its random stream is drawn from.
        chance: of each change, in 0..1; with 0 the images come back as they are.
    """
    if chance == 0:
        return x
    count, dims = len(x), x.ndim - 2
    column = (count, *(1,) * (dims + 1))
    moved, holed, lit, flattened = (batch.uniform(4, count) < chance).float()
    draws = 2 * batch.uniform(count, 2 * dims + 2) - 1
    x = shifted(x, SHIFT * draws[:, :dims] * moved[:, None])
    x = x * (1 - holed.reshape(column) * hole(x, draws[:, dims : 2 * dims]))
    mean = x.flatten(1).mean(1).reshape(column)
    contrast = 1 + (CONTRAST * draws[:, -1] * flattened).reshape(column)
    return (x - mean) * contrast + mean + (LIGHT * draws[:, -2] * lit).reshape(column)


def shifted(x: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Images moved by whole pixels towards lower indices, the edge repeated; share (N, dims) of each side, the last axis first."""
    sides = torch.tensor(x.shape[:1:-1], device=x.device)
    affine = torch.eye(len(sides), len(sides) + 1, device=x.device).repeat(len(x), 1, 1)
    affine[:, :, -1] = 2 * (share * sides).round() / sides
    where = F.affine_grid(affine, list(x.shape), align_corners=False)
    return F.grid_sample(x, where, mode="nearest", padding_mode="border", align_corners=False)


def hole(x: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """(N, 1, [D,] H, W), one in a box of half of every side and zero elsewhere; centre (N, dims) in [-1, 1], first axis first."""
    inside = x.new_ones(len(x), 1, *(1,) * (x.ndim - 2))
    for axis, side in enumerate(x.shape[2:]):
        middles = (2 * torch.arange(side, device=x.device) + 1) / side - 1
        near = (middles - centre[:, axis, None]).abs() < HOLE
        inside = inside * near.reshape(len(x), 1, *(side if axis == other else 1 for other in range(x.ndim - 2)))
    return inside
