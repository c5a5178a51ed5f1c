"""Radiomic features as the features of a cohort: no network, no weights, and every number has a name."""
import torch

from synthkit.metrics.features import Features
from synthkit.metrics.radiomics.table import radiomics

NAME = "radiomics (93 features, window to 0..255, bin width 25)"


def radiomic_features() -> Features:
    """The 93 radiomic features of each channel, for `evaluate(extractor=radiomic_features())`.

    Pixels in [-1, 1] become the whole grey values 0..255, so that 8-bit images are measured as they are stored; features of further channels follow.
    """
    return Features(NAME, describe)


def describe(images: torch.Tensor) -> torch.Tensor:
    """(N, C, [D,] H, W) in [-1, 1] to (N, 93 C) float64."""
    grey = (images.detach().double().clamp(-1, 1) + 1) * 127.5
    return torch.cat([torch.tensor(radiomics(channel[:, None].round()).to_numpy()) for channel in grey.unbind(1)], 1)
