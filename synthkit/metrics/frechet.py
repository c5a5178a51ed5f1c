"""Fréchet distance between two feature sets taken as Gaussians."""
from dataclasses import dataclass

import torch

from synthkit.metrics.metric import Metric, two_sets


@dataclass(frozen=True)
class FrechetDistance(Metric):
    """Squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982); FID when the features are Inception's.

    Biased upwards by about 1/N: compare it with real against real at the same N only.
    """

    better = "lower"
    limits = (0.0, float("inf"))

    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """|Δmean|² + Tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½), covariances with N - 1."""
        real, fake = two_sets(real, fake, least=2)
        shift = (real.mean(0) - fake.mean(0)).square().sum()
        x = (real - real.mean(0)) / (len(real) - 1) ** 0.5
        y = (fake - fake.mean(0)) / (len(fake) - 1) ** 0.5
        # Tr (Σ1 Σ2)^½ is the nuclear norm of X Yᵀ: no matrix square root, and exact also when N < d.
        cross = torch.linalg.svdvals(x @ y.T if max(len(x), len(y)) < x.shape[1] else _root(x) @ _root(y).T).sum()
        return float((shift + x.square().sum() + y.square().sum() - 2 * cross).clamp(min=0))


def _root(x: torch.Tensor) -> torch.Tensor:
    """A (d, d) or smaller R with Rᵀ R = Xᵀ X, so that the product stays small for many rows."""
    return torch.linalg.qr(x, mode="r").R
