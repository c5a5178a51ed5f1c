"""Kernel distances between two feature sets."""
from dataclasses import dataclass

import torch

from synthkit.metrics.metric import Metric, two_sets


def polynomial(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(a·b / d + 1)³ for all pairs."""
    return (a @ b.T / a.shape[1] + 1) ** 3


@dataclass(frozen=True)
class KID(Metric):
    """Kernel Inception Distance: unbiased squared MMD with a cubic kernel (Binkowski et al. 2018).

    Unbiased at every N, so it is the distance to read for small cohorts; it may be slightly negative.
    """

    better = "lower"

    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        real, fake = two_sets(real, fake, least=2)
        n, m = len(real), len(fake)
        within_real, within_fake = polynomial(real, real), polynomial(fake, fake)
        own = (within_real.sum() - within_real.trace()) / (n * (n - 1)) + (within_fake.sum() - within_fake.trace()) / (m * (m - 1))
        return float(own - 2 * polynomial(real, fake).mean())
