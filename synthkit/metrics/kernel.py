"""Kernel distances between two feature sets: means of a kernel over all pairs, taken block by block."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from synthkit.errors import DataError
from synthkit.metrics.metric import FeatureMetric, two_sets

BLOCK = 256
Kernel = Callable[[np.ndarray], np.ndarray]


class _Side(NamedTuple):
    """Centred rows (N, d) and one number per row; a kernel is a function of x·y + s + t."""

    rows: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True)
class KID(FeatureMetric):
    """Kernel Inception Distance: unbiased squared MMD with the kernel (x·y / d + 1)³ (Binkowski et al. 2018).

    Unbiased at every N, so it is the distance to read for small cohorts; it may be slightly negative.
    """

    better = "lower"

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """From all pairs, no subsets. Features of 32 bits are multiplied in float32 and summed in float64."""
        real, fake, centre = _centred(*two_sets(real, fake, least=2, single=True))
        # x·y = a·b + c·a + c·b + |c|² for x = a + c, y = b + c.
        x, y = (_Side(rows, rows @ centre + centre @ centre / 2) for rows in (real, fake))
        return _squared_mmd(lambda products: (products / real.shape[1] + 1) ** 3, x, y, unbiased=True)


@dataclass(frozen=True)
class MMD(FeatureMetric):
    """1,000 times the biased squared MMD with a Gaussian kernel, as CMMD is on CLIP features (Jayasumana et al. 2024).

    Args:
        sigma: width of the kernel exp(-|x - y|² / (2 sigma²)); 10 suits features of length 1, as CLIP's are.
    """

    sigma: float = 10.0
    better = "lower"
    limits = (0.0, float("inf"))

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise DataError(f"MMD: sigma={self.sigma:g} is no width; give a distance above 0")

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """From all pairs. Features of 32 bits are multiplied in float32 and summed in float64."""
        real, fake, _ = _centred(*two_sets(real, fake, least=1, single=True))
        # -|x - y|² / 2 = x·y - |x|² / 2 - |y|² / 2, and rounding must not make a distance negative.
        x, y = (_Side(rows, -np.square(rows, dtype=np.float64).sum(1) / 2) for rows in (real, fake))
        return max(0.0, 1000 * _squared_mmd(lambda products: np.exp(np.minimum(products, 0) / self.sigma**2), x, y, unbiased=False))


def _centred(real: torch.Tensor, fake: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sets about their common mean, so that products stay small and lose no digits, and that mean in float64."""
    x, y = real.numpy(), fake.numpy()
    centre = (x.mean(0, dtype=np.float64) + y.mean(0, dtype=np.float64)) / 2
    return x - centre.astype(x.dtype), y - centre.astype(y.dtype), centre.astype(x.dtype).astype(np.float64)


def _squared_mmd(kernel: Kernel, x: _Side, y: _Side, *, unbiased: bool) -> float:
    own = 0.0
    for side in (x, y):
        count, itself = len(side.rows), kernel(np.square(side.rows, dtype=np.float64).sum(1) + 2 * side.offsets).sum()
        total = _within(kernel, side)
        own += (total - itself) / (count * (count - 1)) if unbiased else total / count**2
    return float(own - 2 * _across(kernel, x, y) / (len(x.rows) * len(y.rows)))


def _across(kernel: Kernel, x: _Side, y: _Side) -> float:
    """Sum of the kernel over all pairs of a row of x and one of y."""
    total = 0.0
    for start in range(0, len(x.rows), BLOCK):
        # numpy multiplies in the precision it is given, whatever torch was told to use for matrices.
        products = (x.rows[start : start + BLOCK] @ y.rows.T).astype(np.float64, copy=False)
        products += x.offsets[start : start + BLOCK, None]
        products += y.offsets
        total += float(kernel(products).sum())
    return total


def _within(kernel: Kernel, side: _Side) -> float:
    """Sum of the kernel over all ordered pairs of rows: the blocks below the diagonal equal those above."""
    total = 0.0
    for start in range(0, len(side.rows), BLOCK):
        block, rest = (_Side(side.rows[rows], side.offsets[rows]) for rows in (slice(start, start + BLOCK), slice(start + BLOCK, None)))
        total += _across(kernel, block, block) + 2 * _across(kernel, block, rest)
    return total
