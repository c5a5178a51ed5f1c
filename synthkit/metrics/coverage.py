"""How much of the real cohort the synthetic one reaches."""
from dataclasses import dataclass

import torch

from synthkit.errors import DataError
from synthkit.metrics.metric import Metric, two_sets

BLOCK = 1024


@dataclass(frozen=True)
class Coverage(Metric):
    """Share of real images with a fake one inside their k-nearest-neighbour ball (Naeem et al. 2020).

    Args:
        k: neighbours that set each ball's radius. It saturates when there are many more fakes than reals.
    """

    k: int = 5
    better = "higher"
    limits = (0.0, 1.0)

    @property
    def least(self) -> int:
        return self.k + 1

    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        real, fake = two_sets(real, fake, least=1)
        if self.k >= len(real):
            raise DataError(f"Coverage(k={self.k}) needs more than {self.k} real images, got {len(real)}")
        reached = 0
        for block in real.split(BLOCK):
            # The nearest "neighbour" of a real image is itself, at distance zero.
            radius = torch.cdist(block, real).kthvalue(self.k + 1, dim=1).values
            reached += int((torch.cdist(block, fake).min(1).values < radius).sum())
        return reached / len(real)
