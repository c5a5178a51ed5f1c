"""Rules about the way an image lies: symmetry, and mirrored, upside-down or reversed frames."""
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from synthkit.metrics.checks.rule import ImageRule, LearntRule

AXES = {-1: ("laterality", "mirrored left to right"), -2: ("upright", "upside down"), -3: ("slice_order", "slices in reverse order")}
SIDE = {2: 16, 3: 8}  # pixels that images are shrunk to


@dataclass(frozen=True, kw_only=True)
class Symmetry(ImageRule):
    """Correlation of the image with its own mirror image (last axis), each channel about its mean."""

    name, too_low, too_high = "symmetry", "less symmetric than real ones", "more symmetric than real ones"

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        centred = images.double().flatten(2) - images.double().flatten(2).mean(2, keepdim=True)
        mirrored = centred.unflatten(2, images.shape[2:]).flip(-1)
        found = F.cosine_similarity(centred.flatten(1), mirrored.flatten(1), eps=1e-12)
        return torch.where(centred.flatten(1).norm(dim=1) > 1e-6, found, torch.nan)


@dataclass(frozen=True, kw_only=True)
class Orientation(LearntRule):
    """Which way round an image lies along one axis: 1 like the average real image, -1 like that one mirrored.

    Fisher's linear discriminant between real images and their mirror images, on the antisymmetric part of the shrunk and
    standardised image (covariance shrunk by Ledoit & Wolf 2004). Where at least 99 % of the real images lie above 0, one that
    is clearly below 0 fails; where real ones lie either way the limit moves out, and beyond -1, where it would find less than
    half of the mirrored images, none fails.

    Args:
        axis: -1 left and right, -2 top and bottom, -3 the order of slices.
    """

    axis: int = -1
    boundary, hopeless = 0.0, -1.0

    @property
    def name(self) -> str:  # type: ignore[override]
        return AXES[self.axis][0]

    @property
    def too_low(self) -> str:  # type: ignore[override]
        return AXES[self.axis][1]

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        small = standardised(images, SIDE[images.ndim - 2]).unflatten(1, _small(images, SIDE[images.ndim - 2]))
        turned = small - small.flip(self.axis)
        # The other half is the same with its sign changed.
        return turned.narrow(self.axis, 0, turned.shape[self.axis] // 2).flatten(1).double()

    def learn(self, rows: torch.Tensor) -> torch.Tensor:
        from sklearn.covariance import ledoit_wolf

        mean = rows.mean(0)
        if mean.norm() < 1e-6:
            return torch.full_like(mean, torch.nan)
        line = torch.from_numpy(np.linalg.lstsq(ledoit_wolf(rows.numpy())[0], mean.numpy(), rcond=None)[0])
        return line / (line @ mean)

    def compare(self, rows: torch.Tensor, learnt: torch.Tensor) -> torch.Tensor:
        return torch.where(rows.norm(dim=1) > 1e-6, (rows * learnt).sum(1), torch.nan)


def _small(images: torch.Tensor, side: int) -> tuple[int, ...]:
    return (images.shape[1], *(min(n, side) for n in images.shape[2:]))


def standardised(images: torch.Tensor, side: int) -> torch.Tensor:
    """(n, d) images shrunk to at most `side` pixels a side, about their mean, of length 1; zero for a constant image."""
    shape = _small(images, side)
    flat = (F.adaptive_avg_pool2d if images.ndim == 4 else F.adaptive_avg_pool3d)(images, shape[1:]).flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-3, centred / length.clamp(min=1e-3), 0.0)
