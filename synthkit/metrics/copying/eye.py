"""How two images are held against each other when one may be a copy of the other: as pixels, or as features, over flips and small shifts."""
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import product

import torch
from torch.nn import functional as F

from synthkit.metrics.checks.orientation import standardised
from synthkit.metrics.features import Features

GRID = {2: 48, 3: 24}  # pixels a side of the grid on which a query is moved; it is compared at half of that, where blur and grain count little
REACH = {2: 3, 3: 1}  # steps on that grid


class Eye(ABC):
    """Turns images into rows of length 1, whose product is their similarity (-1..1); zero rows for images in which nothing is seen.

    Attributes:
        name: stands beside every result.
        views: ways in which a query is looked at.
    """

    name: str
    views: int

    @abstractmethod
    def rows(self, images: torch.Tensor) -> torch.Tensor:
        """(n, d) of images (n, C, [D,] H, W) as they are."""

    @abstractmethod
    def seen(self, images: torch.Tensor) -> torch.Tensor:
        """(n, views, d) of images as they are and turned and moved, in a fixed order; the first view is the image as it is."""


@dataclass(frozen=True)
class PixelEye(Eye):
    """Correlation of shrunk images (21 pixels a side, 11 in volumes) without their rim, mirrored or not, moved by up to a sixteenth of the side.

    Args:
        dims: 2 or 3.
    """

    dims: int = 2
    name = "pixels"

    @property
    def views(self) -> int:  # type: ignore[override]
        return 2 * len(_steps(self.dims))

    def rows(self, images: torch.Tensor) -> torch.Tensor:
        return self._window(self._fine(images), (0,) * self.dims)

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        fine = self._fine(images)
        return torch.stack([self._window(one, step) for one in (fine, fine.flip(-1)) for step in _steps(self.dims)], 1)

    def _fine(self, images: torch.Tensor) -> torch.Tensor:
        shrink = F.adaptive_avg_pool2d if self.dims == 2 else F.adaptive_avg_pool3d
        return shrink(images, [min(GRID[self.dims], n) for n in images.shape[2:]])

    def _window(self, fine: torch.Tensor, step: tuple[int, ...]) -> torch.Tensor:
        """What is seen through a window that leaves room for the steps on every side, moved by one."""
        reach = REACH[self.dims]
        for axis, by in enumerate(step, start=2):
            room = reach if fine.shape[axis] > 4 * reach else 0  # smaller images are not moved
            fine = fine.narrow(axis, room + (by if room else 0), fine.shape[axis] - 2 * room)
        return standardised(fine, (GRID[self.dims] - 2 * reach) // 2)


@dataclass(frozen=True)
class FeatureEye(Eye):
    """Cosine of features about a centre, of the image and of its mirror image.

    Args:
        features: the extractor.
        centre: (d,) mean features of the real images.
    """

    features: Features
    centre: torch.Tensor
    views = 2

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.features.name

    def rows(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            found = self.features.extract(images).cpu().flatten(1).float() - self.centre
        return F.normalize(found, dim=1)

    def seen(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.rows(images), self.rows(images.flip(-1))], 1)


def _steps(dims: int) -> list[tuple[int, ...]]:
    """In the plane up to three each way, in space one along one axis; standing still comes first."""
    every = sorted(product(range(-REACH[dims], REACH[dims] + 1), repeat=dims), key=lambda step: sum(map(abs, step)))
    return [step for step in every if dims == 2 or sum(map(abs, step)) < 2]
