"""Rules about organs, where a segmenter finds them: present, of real size, in their place."""
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from synthkit.metrics.checks.rule import Block, Rule

EDGE = 0.02


@dataclass(frozen=True, kw_only=True)
class OrganArea(Rule):
    """Share of the frame that an organ takes.

    Where nearly all real images show the organ, a missing one fails.
    """

    organ: str
    logarithmic = True

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.organ}_area"

    @property
    def too_low(self) -> str:  # type: ignore[override]
        return f"{self.organ} missing or too small"

    @property
    def too_high(self) -> str:  # type: ignore[override]
        return f"{self.organ} too large"

    def look(self, block: Block) -> torch.Tensor:
        return block.organs[self.organ].flatten(1).double().mean(1)


@dataclass(frozen=True, kw_only=True)
class OrganPlace(Rule):
    """How far right in the image an organ lies of the others' midline, in shares of the width; on the wrong side it fails.

    The midline is halfway between the columns left and right of which 2 % of the other organs lie: on a chest film the
    heart lies to the image's right of the middle between the lungs.
    """

    organ: str
    others: tuple[str, ...]

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.organ}_place"

    @property
    def too_low(self) -> str:  # type: ignore[override]
        return f"{self.organ} too far to the image's left"

    @property
    def too_high(self) -> str:  # type: ignore[override]
        return f"{self.organ} too far to the image's right"

    def look(self, block: Block) -> torch.Tensor:
        organ = _columns(block.organs[self.organ])
        others = torch.stack([_columns(block.organs[name]) for name in self.others]).amax(0)
        centre = (organ * torch.arange(organ.shape[1])).sum(1) / organ.sum(1)
        filled = others.cumsum(1) / others.sum(1, keepdim=True)
        left, right = (filled < EDGE).sum(1), (filled <= 1 - EDGE).sum(1)
        found = (centre - (left + right) / 2) / organ.shape[1]
        return found.where((others.sum(1) > 0) & (organ.sum(1) > 0), torch.nan)


def _columns(mask: torch.Tensor) -> torch.Tensor:
    """(n, W) pixels of a mask per image column."""
    return mask.double().flatten(1, -2).sum(1)


def organ_rules(organs: Sequence[str]) -> tuple[Rule, ...]:
    """Area of every organ, and its place between the others."""
    areas = [OrganArea(organ=organ) for organ in organs]
    places = [OrganPlace(organ=organ, others=tuple(other for other in organs if other != organ)) for organ in organs]
    return (*areas, *(places if len(organs) > 1 else ()))
