"""A rule about fine detail: too smooth, or too noisy."""
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from synthkit.metrics.checks.rule import ImageRule

SILENCE = 1e-8  # -80 dB: what an image without any detail is given


@dataclass(frozen=True, kw_only=True)
class Detail(ImageRule):
    """Energy of the finest detail in decibels: the mean square of what a 1-2-1 filter along every axis takes away.

    10 dB less is about a third of the amplitude; 0 dB would be the amplitude of half the window.
    """

    name, too_low, too_high = "detail", "too smooth", "too noisy"

    def measure(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * torch.log10((images - smoothed(images)).square().flatten(1).double().mean(1) + SILENCE)


def smoothed(images: torch.Tensor) -> torch.Tensor:
    """Each spatial axis averaged with weights 1-2-1; the border repeats."""
    for axis in range(2, images.ndim):
        line = images.movedim(axis, -1)
        wide = F.pad(line.flatten(0, -2)[None], (1, 1), mode="replicate")[0].unflatten(0, line.shape[:-1])
        images = ((wide[..., :-2] + 2 * wide[..., 1:-1] + wide[..., 2:]) / 4).movedim(-1, axis)
    return images
