"""Fréchet distance between two feature sets taken as Gaussians, at the given N and extrapolated to infinite N."""
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.errors import DataError
from synthkit.metrics.metric import FeatureMetric, by_content, two_sets


@dataclass(frozen=True)
class FrechetDistance(FeatureMetric):
    """Squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982); FID when the features are Inception's.

    Biased upwards by about 1/N: compare it with real against real at the same N only.
    """

    better = "lower"
    limits = (0.0, float("inf"))

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """|Δmean|² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), covariances with N - 1, in float64.

        Exact up to rounding also for fewer rows than features: within about 1e-8 of Tr(Σ1 + Σ2).
        """
        return max(0.0, _distance(*(rows.numpy() for rows in two_sets(real, fake, least=2))))


@dataclass(frozen=True)
class FrechetInfinity(FeatureMetric):
    """Fréchet distance extrapolated to infinitely many images, free of its bias in N (Chong & Forsyth 2020).

    The distance is averaged over the 1, 2, ... `parts` disjoint parts of both sets and a line in 1/N is followed to 0. The
    line holds only where the smallest part, N / `parts`, has well more rows than there are features, so that fewer are refused; it
    may end below zero.

    Args:
        parts: the smallest parts are this fraction of the sets.
    """

    parts: int = 5
    better = "lower"

    def __post_init__(self) -> None:
        if self.parts < 2:
            raise DataError(f"FrechetInfinity: parts={self.parts} leave no line to follow; give at least 2")

    def least(self, width: int) -> int:
        """The smallest part has more rows than there are features; with fewer the line is none."""
        return self.parts * (width + 2)

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        sets = [rows.numpy() for rows in two_sets(real, fake, least=self.least(torch.as_tensor(real).shape[-1]))]
        sets = [rows[by_content(torch.from_numpy(rows))] for rows in sets]
        counts = range(1, self.parts + 1)
        means = [np.mean([_distance(*(rows[part::count] for rows in sets)) for part in range(count)]) for count in counts]
        # The parts hold 1 / count of the rows, so 1 / N is proportional to count.
        return float(np.polyfit(counts, means, 1)[1])


def _distance(real: np.ndarray, fake: np.ndarray) -> float:
    means = real.mean(0), fake.mean(0)
    x, y = (rows - mean for rows, mean in zip((real, fake), means, strict=True))
    n, m = len(x) - 1, len(y) - 1
    return float(np.square(means[0] - means[1]).sum() + np.vdot(x, x) / n + np.vdot(y, y) / m - 2 * _shared(x, y) / (n * m) ** 0.5)


def _shared(x: np.ndarray, y: np.ndarray) -> float:
    """Tr (S1 S2)^½ for S1 = xᵀx and S2 = yᵀy, without a matrix square root."""
    x, y = (x, y) if len(x) <= len(y) else (y, x)
    if len(y) <= y.shape[1]:
        # The singular values of x yᵀ are the square roots of the eigenvalues of S1 S2, and few rows make it small.
        return float(torch.linalg.svdvals(torch.from_numpy(x @ y.T)).sum())
    if len(x) <= x.shape[1]:
        cross = x @ y.T
        inner = cross @ cross.T
    else:
        inner = _between(x.T @ x, y.T @ y)
    return float(torch.linalg.eigvalsh(torch.from_numpy(inner)).clamp(min=0).sqrt().sum())


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Lᵀ S2 L with L Lᵀ = S1, symmetric (its lower half filled in) and with the eigenvalues of S1 S2."""
    from scipy.linalg import lapack

    factor, failed = lapack.dpotrf(first, lower=1)
    if not failed:
        # A quarter of the work of two matrix products.
        return lapack.dsygst(second, factor, itype=2, lower=1)[0]
    # Features that depend on each other leave no Cholesky factor.
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(values.clip(min=0))
    return root.T @ second @ root
