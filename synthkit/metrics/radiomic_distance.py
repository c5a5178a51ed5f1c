"""Distance of two sets of images by radiomic features: textures that are defined by formulas, not learnt."""
from dataclasses import dataclass
from typing import ClassVar

import torch

from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.metric import ImageMetric, two_sets
from synthkit.metrics.radiomics.extractor import NAME, describe

CONSTANT = 1e-9  # of its size; what a feature varies less is rounding


@dataclass(frozen=True)
class FrechetRadiomicsDistance(ImageMetric):
    """Fréchet distance of radiomic features (Osuala et al. 2024, Konz et al. 2026), symmetric: z-scores by the mean and spread of both sets together.

    The value is d², as for FID. Other programs z-score by the first set alone, scale to a range, or give log d or log d²: their values do not compare.
    The common spread holds the gap between the sets as well, so that the value levels off when they are far apart. Biased upwards
    at small N like every Fréchet distance: compare it with real against real at the same N.
    """

    better = "lower"
    limits = (0.0, float("inf"))
    origin: ClassVar[str] = f"{NAME}, z-scored by both sets together"

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, [D,] H, W) in [-1, 1] to (N, 93 C)."""
        return describe(images)

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """d² of two sets of descriptions; a feature that is constant over both adds nothing."""
        real, fake = two_sets(real, fake, least=2)
        both = torch.cat([real, fake])
        mean, spread = both.mean(0), both.std(0)
        constant = spread <= CONSTANT * both.abs().amax(0)
        scale = spread.masked_fill(constant, 1)
        return FrechetDistance().compute(*(((part - mean) / scale).masked_fill(constant, 0) for part in (real, fake)))
