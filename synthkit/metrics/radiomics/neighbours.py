"""Who is next to whom on a pixel grid: directions, shifted views, and sums along lines and over neighbourhoods."""
from itertools import product

import torch

Offset = tuple[int, ...]


def directions(dims: int) -> list[Offset]:
    """One offset of each opposite pair of neighbours: 4 in 2D, 13 in 3D; the first step that is not 0 goes forward."""
    return [offset for offset in product((-1, 0, 1), repeat=dims) if next((step for step in offset if step), -1) > 0]


def pair(grid: torch.Tensor, offset: Offset) -> tuple[torch.Tensor, torch.Tensor]:
    """Views of (n, [D,] H, W): the pixels that have a neighbour at `offset`, and those neighbours."""
    here = tuple(slice(max(0, -step), size - max(0, step)) for step, size in zip(offset, grid.shape[1:]))
    there = tuple(slice(max(0, step), size + min(0, step)) for step, size in zip(offset, grid.shape[1:]))
    return grid[(slice(None), *here)], grid[(slice(None), *there)]


def sum_around(grid: torch.Tensor) -> torch.Tensor:
    """The sum over the 8 or 26 neighbours of each pixel; nothing lies outside the grid."""
    total = grid.clone()
    for axis in range(1, grid.ndim):
        size, before = grid.shape[axis], total.clone()
        total.narrow(axis, 1, size - 1).add_(before.narrow(axis, 0, size - 1))
        total.narrow(axis, 0, size - 1).add_(before.narrow(axis, 1, size - 1))
    return total - grid


def along(offset: Offset, go_on: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The recursion x[p] = start[p] + go_on[p] x[p - offset] along all lines of one direction.

    Args:
        go_on: (n, [D,] H, W), False wherever p - offset is outside the grid.
        start: (n, [D,] H, W) of an integer type.
    """
    axis = next(i for i, step in enumerate(offset) if step)
    # The leading axis comes first, so that each step of the recursion works on memory in one piece.
    go_on = go_on.movedim(axis + 1, 0).to(start.dtype).contiguous()
    x = start.movedim(axis + 1, 0).clone(memory_format=torch.contiguous_format)
    (before, here), (_, kept) = (pair(grid[None], (1, 0, *offset[:axis], *offset[axis + 1 :])) for grid in (x, go_on))
    for previous, now, keep in zip(before[0].unbind(), here[0].unbind(), kept[0].unbind()):
        now.addcmul_(previous, keep)
    return x.movedim(0, axis + 1)
