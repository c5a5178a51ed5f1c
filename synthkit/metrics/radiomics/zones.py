"""Connected zones of one grey level, for a whole batch in one graph."""
from dataclasses import dataclass
from itertools import product

import numpy as np


@dataclass(frozen=True)
class Zones:
    """All zones of a batch, in no order: (zones,) each of image number, level and size in pixels."""

    image: np.ndarray
    level: np.ndarray
    size: np.ndarray


def zones(levels: np.ndarray) -> Zones:
    """Zones of levels above 0 in (n, [D,] H, W), by 8 or 26 neighbours.

    The nodes of the graph are the runs along the last axis, far fewer than the pixels; an edge joins touching runs of one level.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    start = np.ones(levels.shape, bool)
    start[..., 1:] = levels[..., 1:] != levels[..., :-1]
    run = np.cumsum(start, dtype=np.int32).reshape(levels.shape) - 1
    first = np.flatnonzero(start)
    length = np.diff(first, append=levels.size)
    ends = [_touching(levels, start, run, rows) for rows in _row_pairs(levels.shape[1:-1])]
    a, b = (np.concatenate([end[side] for end in ends]) for side in (0, 1))
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(first), len(first)))
    count, zone = connected_components(graph, directed=False)
    level, image = np.empty(count, np.int64), np.empty(count, np.int64)
    level[zone], image[zone] = levels.ravel()[first], first // levels[0].size
    size = np.bincount(zone, weights=length, minlength=count).astype(np.int64)
    return Zones(image[level > 0], level[level > 0], size[level > 0])


def _row_pairs(shape: tuple[int, ...]) -> list[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Slices of all rows and of those next to them, one for each opposite pair of directions."""
    pairs = []
    for step in product((-1, 0, 1), repeat=len(shape)):
        if next((s for s in step if s), -1) > 0:
            here = tuple(slice(max(0, -s), size - max(0, s)) for s, size in zip(step, shape))
            there = tuple(slice(max(0, s), size + min(0, s)) for s, size in zip(step, shape))
            pairs.append(((slice(None), *here), (slice(None), *there)))
    return pairs


def _touching(levels: np.ndarray, start: np.ndarray, run: np.ndarray, rows: tuple[tuple[slice, ...], tuple[slice, ...]]) -> tuple[np.ndarray, np.ndarray]:
    """Runs of one level that touch in two neighbouring rows, straight or across a corner."""
    (up, down), (run_up, run_down), (start_up, start_down) = ((part[rows[0]], part[rows[1]]) for part in (levels, run, start))
    straight = (up == down) & (up > 0)
    # Where the pixels to the left meet too, they join the same two runs, unless new ones begin here.
    straight[..., 1:] &= ~straight[..., :-1] | start_up[..., 1:]
    # Across a corner nothing new is joined where either run goes on past it: those meet straight already.
    corner = start_up[..., 1:] & start_down[..., 1:]
    falling = corner & (up[..., :-1] == down[..., 1:]) & (up[..., :-1] > 0)
    rising = corner & (up[..., 1:] == down[..., :-1]) & (up[..., 1:] > 0)
    above = [run_up[straight], run_up[..., :-1][falling], run_up[..., 1:][rising]]
    below = [run_down[straight], run_down[..., 1:][falling], run_down[..., :-1][rising]]
    return np.concatenate(above), np.concatenate(below)
