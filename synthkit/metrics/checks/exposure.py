"""Rules about grey values: black, saturated and constant frames, and pixels outside the window."""
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.metrics.checks.rule import Block, ImageRule, Rule

HALF_STEP = 1 / 255  # what an 8-bit image rounds to its last grey level, so that 8 and 16 bits count alike


@dataclass(frozen=True, kw_only=True)
class Black(ImageRule):
    """Share of pixels at the lower end of the window."""

    name, too_high = "black", "black frame"
    harmless, absolute = (0.0, 0.05), (-np.inf, 0.98)

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return (images <= HALF_STEP - 1).flatten(1).double().mean(1)


@dataclass(frozen=True, kw_only=True)
class Saturated(ImageRule):
    """Share of pixels at the upper end of the window."""

    name, too_high = "saturated", "saturated frame"
    harmless, absolute = (0.0, 0.05), (-np.inf, 0.5)

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return (images >= 1 - HALF_STEP).flatten(1).double().mean(1)


@dataclass(frozen=True, kw_only=True)
class Contrast(ImageRule):
    """Standard deviation of the pixels about the mean of their channel; a constant frame always fails."""

    name, too_low, too_high = "contrast", "flat frame", "too much contrast"
    always, absolute, logarithmic = (HALF_STEP, np.inf), (HALF_STEP, np.inf), True

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return images.double().flatten(2).var(2, correction=0).mean(1).sqrt()


@dataclass(frozen=True, kw_only=True)
class OutOfWindow(Rule):
    """Share of stored pixels outside the window of their channel, which clips them."""

    name, too_high = "out_of_window", "values outside the window"
    harmless, absolute = (0.0, 0.01), (-np.inf, 0.5)

    def look(self, block: Block) -> torch.Tensor:
        column = (-1, *(1,) * block.space.dims)
        low, high = (np.array(ends).reshape(column) for ends in zip(*((c.low, c.high) for c in block.space.channels)))
        outside = (block.raw < low) | (block.raw > high)
        return torch.from_numpy(outside.reshape(len(outside), -1).mean(1))
