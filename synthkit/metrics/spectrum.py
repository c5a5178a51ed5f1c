"""Texture and grey levels as physics measures them: radial power spectra and histograms, no encoder between."""
from dataclasses import dataclass

import torch

from synthkit.errors import DataError
from synthkit.metrics.metric import ImageMetric

FLOOR = 1e-10  # variance of rounding to 16 bits in [-1, 1]; fainter frequencies say nothing
LEVELS = 256
BATCH = 2**22  # pixels described at once


@dataclass(frozen=True)
class SpectrumDistance(ImageMetric):
    """RMS difference in dB between the mean radial power spectra of real and fake images.

    Blur, checkerboards of upsampling and missing grain show here first (Durall et al. 2020). Spectra are taken under a Hann
    window, so that the jump from one image edge to the other counts for nothing, and averaged as logarithms.
    """

    better = "lower"
    limits = (0.0, float("inf"))
    origin = "radial power spectrum"
    smallest = 8

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, rings) power in dB of each image; white noise of variance v lies at 10 log10 v, but for the first ring.

        Ring r holds the frequencies of about r cycles along the shortest axis, up to Nyquist's.
        """
        if min(images.shape[2:]) < self.smallest:
            raise DataError(f"images of {tuple(images.shape[2:])} pixels are too small for a spectrum; at least {self.smallest} along each axis are needed")
        step = max(1, BATCH // images[:1].numel())
        return torch.cat([_spectrum(batch.double()) for batch in images.split(step)])

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        return float((real.mean(0) - fake.mean(0)).square().mean().sqrt())


@dataclass(frozen=True)
class HistogramDistance(ImageMetric):
    """Wasserstein-1 distance between the grey levels of all real and of all fake pixels, as a share of the window's range.

    0.1 means: on average a grey value has to move by a tenth of the range. The mean over the channels. Levels finer than 8
    bits are rounded to them.
    """

    better = "lower"
    limits = (0.0, 1.0)
    origin = "grey levels"

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, 256) shares of each image's pixels per grey level."""
        count, channels = images.shape[:2]
        levels = ((images.clamp(-1, 1) + 1) * ((LEVELS - 1) / 2)).round().long().flatten(2)
        # Every image and channel counts in a stretch of its own.
        levels += LEVELS * torch.arange(count * channels, device=images.device).reshape(count, channels, 1)
        return torch.bincount(levels.flatten(), minlength=count * channels * LEVELS).reshape(count, channels, LEVELS).double() / levels.shape[2]

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        gap = (real.mean(0) - fake.mean(0)).cumsum(1).abs()
        return float(gap.sum(1).mean() / (LEVELS - 1))


def _spectrum(images: torch.Tensor) -> torch.Tensor:
    """Radially averaged power in dB, (N, C, rings)."""
    axes = tuple(range(2, images.ndim))
    window = _window(images.shape[2:]).to(images)
    # The mean under the window is taken out, or the window would spread it over the lowest frequencies.
    centred = images - (images * window).sum(axes, keepdim=True) / window.sum()
    power = torch.fft.fftn(centred * window, dim=axes).abs().square() / window.square().sum()
    ring = _rings(images.shape[2:]).to(images.device).flatten()
    rings = min(images.shape[2:]) // 2
    sums = torch.zeros(*images.shape[:2], rings + 2, dtype=images.dtype, device=images.device)
    sums.index_add_(2, ring, power.flatten(2))
    means = sums[..., 1 : rings + 1] / torch.bincount(ring, minlength=rings + 2)[1 : rings + 1]
    return 10 * torch.log10(means + FLOOR)


def _window(size: tuple[int, ...]) -> torch.Tensor:
    window = torch.ones(())
    for count in size:
        window = window[..., None] * torch.hann_window(count, dtype=torch.float64)
    return window


def _rings(size: tuple[int, ...]) -> torch.Tensor:
    """Ring of every frequency of `fftn`: cycles along the shortest axis, rounded; all beyond Nyquist's in one last ring."""
    squares = torch.zeros(())
    for count in size:
        squares = squares[..., None] + torch.fft.fftfreq(count, dtype=torch.float64) ** 2
    return (squares.sqrt() * min(size)).round().long().clamp(max=min(size) // 2 + 1)
