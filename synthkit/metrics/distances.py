"""Distances between two point clouds: fast ones with a bound on their error, and exact ones where that bound leaves a doubt."""
from dataclasses import dataclass

import numpy as np
import torch

BLOCK = 1024  # rows whose distances to all others are held at once
PAIRS = 2**22  # numbers held at once while exact distances are summed
HALF_ULP = 2.0**-24  # of float32


@dataclass(frozen=True, eq=False)
class Cloud:
    """Rows of one set, a shared centre and a scale taken out, so that all lengths are at most 1.

    Args:
        exact: (N, d) as given.
        rows: (N, d) float32, centred and scaled.
        squares: (N,) float32 squared lengths of `rows`.
        scale: what `rows` were multiplied by.
    """

    exact: np.ndarray
    rows: np.ndarray
    squares: np.ndarray
    scale: float

    def __len__(self) -> int:
        return len(self.exact)

    def error(self) -> np.ndarray:
        """(N, 1) bound on the error of `fast` distances from each row, whatever the order of summation.

        A product of d terms is off by at most d half ulps of |a| |b| (Higham 2002, section 3.1); rounding the rows, their
        squared lengths and the three sums by less than 32 half ulps of (|a| + |b|)².
        """
        lengths = np.sqrt(self.squares, dtype=np.float64)[:, None]
        return (HALF_ULP * (2.2 * self.rows.shape[1] * lengths + 32 * (lengths + 1) ** 2)).astype(np.float32)


def clouds(*sets: np.ndarray) -> tuple[Cloud, ...]:
    """All sets about one centre and in one unit; distances between them may be compared."""
    centre = np.mean([rows.mean(0, dtype=np.float64) for rows in sets], axis=0)
    centred = [rows - centre.astype(rows.dtype) for rows in sets]
    squares = [np.einsum("ij,ij->i", rows, rows, dtype=np.float64) for rows in centred]
    # A power of two, which scales without rounding.
    scale = 2.0 ** -np.ceil(np.log2(max(max(map(np.max, squares)) ** 0.5, 1e-30)) + 1e-6)
    pairs = zip(sets, centred, squares, strict=True)
    return tuple(Cloud(given, (rows * rows.dtype.type(scale)).astype(np.float32, copy=False), (own * scale**2).astype(np.float32), scale)
                 for given, rows, own in pairs)  # fmt: skip


def fast(a: Cloud, b: Cloud, rows: slice, columns: slice = slice(None)) -> np.ndarray:
    """Squared distances between some rows of a and of b, scaled, float32, within `a.error()`."""
    # numpy multiplies in float32 whatever torch was told to use for matrices: the bound counts on it.
    found = a.rows[rows] @ b.rows[columns].T
    found *= -2
    found += a.squares[rows, None]
    found += b.squares[columns]
    return found


def nearest(cloud: Cloud, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Each row's `count` nearest by `fast`, itself among them, (N, count) rising distances and rows; each pair is measured once."""
    found = torch.full((len(cloud), count), float("inf")), torch.zeros((len(cloud), count), dtype=torch.long)
    for start in range(0, len(cloud), BLOCK):
        rows, below = slice(start, start + BLOCK), slice(start + BLOCK, None)
        block = torch.from_numpy(fast(cloud, cloud, rows, slice(start, None)))
        _keep(*found, rows, block, start)
        _keep(*found, below, block[:, BLOCK:].T, start)
    return found[0].numpy(), found[1].numpy()


def _keep(far: torch.Tensor, near: torch.Tensor, rows: slice, distances: torch.Tensor, first: int) -> None:
    """Put the nearest of some more distances, to the rows from `first` on, among those found before."""
    count = far.shape[1]
    more = distances.topk(min(count, distances.shape[1]), largest=False)
    values, places = torch.cat([far[rows], more.values], 1), torch.cat([near[rows], more.indices + first], 1)
    best = values.topk(count, largest=False)
    far[rows], near[rows] = best.values, places.gather(1, best.indices)


def exact(a: Cloud, i: np.ndarray, b: Cloud, j: np.ndarray) -> np.ndarray:
    """Squared distances of the pairs (a[i], b[j]) in the units given, summed from differences: copies are at 0 exactly."""
    step = max(1, PAIRS // a.exact.shape[1])
    parts = [np.square(np.subtract(a.exact[i[s : s + step]], b.exact[j[s : s + step]], dtype=np.float64)).sum(1) for s in range(0, len(i), step)]
    return np.concatenate(parts) if parts else np.zeros(0)
