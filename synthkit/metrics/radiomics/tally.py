"""Counting for a whole batch at once: every grey level matrix is one histogram of (image, level, column)."""
from math import prod

import torch


def tally(levels: torch.Tensor, most: int, *columns: tuple[torch.Tensor, int], weights: torch.Tensor | None = None) -> torch.Tensor:
    """How often each image has each level together with each value of further columns.

    Args:
        levels: (n, ...) int32, 0 to `most`; 0, outside of the mask, is left out.
        columns: (values (n, ...) from 0, how many values there are).
        weights: (n, ...) to sum instead of ones.
    Returns:
        (n, most, *sizes of the columns) float64.
    """
    shape = (len(levels), most + 1, *(size for _, size in columns))
    first = torch.arange(len(levels), dtype=levels.dtype) * (most + 1)
    key = levels + first.reshape(-1, *(1,) * (levels.ndim - 1))
    for values, size in columns:
        key.mul_(size).add_(values)
    counts = torch.bincount(key.flatten(), None if weights is None else weights.flatten(), minlength=prod(shape))
    return counts.reshape(shape)[:, 1:].double()
