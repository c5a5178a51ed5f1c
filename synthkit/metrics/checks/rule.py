"""What a rule of quality control is: a frozen dataclass that measures each image, and limits that say which values fail."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np
import torch

from synthkit.core.space import Space


@dataclass(frozen=True)
class Block:
    """Some images of a cohort, as rules see them.

    Args:
        images: (n, C, [D,] H, W) in [-1, 1].
        raw: the same as stored integers, before the window clips them.
        space: what an image is.
        learnt: by name of a `LearntRule`, (n, d) what it learnt from real images, for each image from others than itself.
        organs: organ to (n, [D,] H, W) booleans; empty without a segmenter.
    """

    images: torch.Tensor
    raw: np.ndarray
    space: Space
    learnt: Mapping[str, torch.Tensor]
    organs: Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Rule(ABC):
    """A number per image, and limits outside which the image fails.

    Args:
        low, high: limits of your own; None takes those that the real images set.

    `too_low` and `too_high` say in words what is wrong beyond either limit; where the words are empty that side never fails.
    Limits from real images are never stricter than `harmless` and never looser than `always`; `absolute` ones stand where
    no real images are given; where at least 99 % of real images lie above `boundary`, the lower limit stands no more than
    halfway beyond it, and a lower limit under `hopeless` would find so little that nothing fails by it. `logarithmic` values
    are positive and compared by ratio.
    """

    low: float | None = None
    high: float | None = None
    name: ClassVar[str]
    too_low: ClassVar[str] = ""
    too_high: ClassVar[str] = ""
    harmless: ClassVar[tuple[float, float]] = (inf, -inf)
    always: ClassVar[tuple[float, float]] = (-inf, inf)
    absolute: ClassVar[tuple[float, float]] = (-inf, inf)
    boundary: ClassVar[float | None] = None
    hopeless: ClassVar[float] = -inf
    logarithmic: ClassVar[bool] = False

    @abstractmethod
    def look(self, block: Block) -> torch.Tensor:
        """(n,) values; NaN where the rule says nothing about an image, which then does not fail by it."""

    def reason(self, value: float, low: float, high: float) -> str:
        """Why a value outside the limits fails, in words."""
        words, limit, side = (self.too_low, low, "under") if value < low else (self.too_high, high, "over")
        return f"{words} ({self.name.replace('_', ' ')} {value:.3g}, {side} {limit:.3g})"


@dataclass(frozen=True, kw_only=True)
class ImageRule(Rule):
    """A rule that needs the images alone: the one to derive from for a rule of your own.

    Example:
        @dataclass(frozen=True, kw_only=True)
        class Border(ImageRule):
            name, too_high = "border", "bright border"

            def measure(self, images):
                return images[..., 0].flatten(1).mean(1)
    """

    @abstractmethod
    def measure(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, C, [D,] H, W) in [-1, 1] to (n,) values."""

    def look(self, block: Block) -> torch.Tensor:
        return self.measure(block.images)


class LearntRule(Rule):
    """A rule that first learns something from real images; it says nothing where there are none."""

    @abstractmethod
    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, C, [D,] H, W) in [-1, 1] to (n, d) descriptions."""

    @abstractmethod
    def learn(self, rows: torch.Tensor) -> torch.Tensor:
        """Descriptions (n, d) of real images to what is learnt, (d,)."""

    @abstractmethod
    def compare(self, rows: torch.Tensor, learnt: torch.Tensor) -> torch.Tensor:
        """Descriptions (n, d) and what was learnt for each, (n, d), to (n,) values."""

    def look(self, block: Block) -> torch.Tensor:
        if self.name not in block.learnt:
            return torch.full((len(block.images),), torch.nan)
        return self.compare(self.describe(block.images), block.learnt[self.name])
