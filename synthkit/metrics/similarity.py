"""Structural similarity of image pairs, and the diversity of a set as the mean similarity of its pairs."""
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from synthkit.errors import DataError
from synthkit.metrics.metric import ImageMetric, by_content

SIGMA, REACH = 1.5, 5  # a Gaussian window of 11 pixels along each axis
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
ROOM = (11, 22, 44, 88, 176)  # pixels that one, two, ... five scales need: a whole window at the coarsest
FAINT = (0.01, 0.03)  # constants of the luminance and of the contrast term, as shares of the range
BATCH = 2**18  # pixels filtered at once


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each pair of images (Wang et al. 2004), -1 .. 1, 1 for equal images.

    Args:
        a, b: (N, C, [D,] H, W) in [-1, 1], at least 11 pixels along each axis.
    Returns:
        (N,) means of the similarity map without its border of 5 pixels, and over the channels.
    """
    return _by_batch(lambda x, y: _inner(_maps(x, y)[0]).flatten(1).mean(1), a, b)


def ms_ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Multi-scale structural similarity of each pair of images (Wang, Simoncelli & Bovik 2003), 0 .. 1, 1 for equal images.

    As many of the five scales as the shortest axis has pixels for: 11 for one, 22 for two, 44 for three, 88 for four, 176 for
    all five, their weights divided by the sum of those used. Values of images of different sizes cannot be compared.

    Args:
        a, b: (N, C, [D,] H, W) in [-1, 1], at least 11 pixels along each axis.
    Returns:
        (N,) means over the channels; a negative contrast term counts as 0.
    """
    return _by_batch(_ms_ssim, a, b)


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Peak signal to noise ratio of each pair of images, (N,) dB, for (N, C, [D,] H, W) in [-1, 1]; infinite for equal ones."""
    return _by_batch(lambda x, y: -10 * torch.log10((x - y).square().flatten(1).mean(1)), a, b)


def scales(size: tuple[int, ...]) -> int:
    """How many scales of MS-SSIM an image of this size has room for.

    Raises:
        DataError: an axis is shorter than the window of 11 pixels.
    """
    if min(size) < ROOM[0]:
        raise DataError(f"images of {' x '.join(map(str, size))} pixels are too small for structural similarity; at least 11 along each axis are needed")
    return sum(min(size) >= least for least in ROOM)


@dataclass(frozen=True)
class MSSSIM(ImageMetric):
    """Mean multi-scale similarity of pairs of fake images: lower is more diverse (Odena et al. 2017).

    Not to be driven to its least: aim at the value of as many real images. Below it the fakes differ more than patients do
    (noise does that too), above it they repeat each other. A shared dark background raises both.

    Args:
        pairs: at most so many pairs, spread over all images.
    """

    pairs: int = 200
    better = "lower"
    alone = True
    limits = (0.0, 1.0)
    origin = "pixels"
    smallest = 2 * REACH + 1
    halves = 20

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise DataError(f"MSSSIM: pairs={self.pairs} is none; give at least 1")

    def describe(self, images: torch.Tensor) -> torch.Tensor:
        scales(tuple(images.shape[2:]))
        return images

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        order = torch.from_numpy(by_content(fake))
        chosen = torch.tensor(_pairs(len(fake), self.pairs))
        first, second = order[chosen].unbind(1)
        return float(_by_batch(_ms_ssim, fake[first], fake[second], kind=torch.float32).double().mean())


def _pairs(count: int, most: int) -> list[tuple[int, int]]:
    """Different pairs of range(count), each item used as evenly as can be."""
    found = []
    for apart in range(1, count // 2 + 1):
        starts = [*range(0, count, 2), *range(1, count, 2)]
        # Half way round each pair would come twice.
        found += [(i, (i + apart) % count) for i in starts if 2 * apart < count or i < apart]
        if len(found) >= most:
            break
    return found[:most]


def _by_batch(
    similarity: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], a: torch.Tensor, b: torch.Tensor, *, kind: torch.dtype = torch.float64
) -> torch.Tensor:
    if a.shape != b.shape or a.ndim not in (4, 5):
        raise DataError(f"two sets of images (N, C, [D,] H, W) of one shape are needed, got {tuple(a.shape)} and {tuple(b.shape)}")
    step = max(1, BATCH // max(1, a[:1].numel()))
    # Luminances are compared as shares of the range, 0 for black.
    parts = [similarity(x.to(kind) / 2 + 0.5, y.to(kind) / 2 + 0.5) for x, y in zip(a.split(step), b.split(step), strict=True)]
    return torch.cat(parts)


def _ms_ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    weights = WEIGHTS[: scales(tuple(a.shape[2:]))]
    pool = F.avg_pool2d if a.ndim == 4 else F.avg_pool3d
    value = torch.ones(a.shape[:2], dtype=a.dtype, device=a.device)
    for level, weight in enumerate(weights):
        similar, contrast = _maps(a, b)
        last = level == len(weights) - 1
        term = similar.flatten(2).mean(2) if last else _inner(contrast).flatten(2).mean(2)
        value = value * term.clamp(min=0) ** (weight / sum(weights))
        a, b = (a, b) if last else (pool(a, 2), pool(b, 2))
    return value.mean(1)


def _maps(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Similarity and contrast-structure at each pixel, edges mirrored; for images in 0 .. 1 (Wang et al. 2004, equation 13)."""
    c1, c2 = (share**2 for share in FAINT)
    mean_a, mean_b, aa, bb, ab = _blurred(torch.cat([a, b, a * a, b * b, a * b])).chunk(5)
    spread = (aa - mean_a**2).clamp(min=0) + (bb - mean_b**2).clamp(min=0)
    contrast = (2 * (ab - mean_a * mean_b) + c2) / (spread + c2)
    return (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * contrast, contrast


def _blurred(x: torch.Tensor) -> torch.Tensor:
    """Gaussian means of (N, C, [D,] H, W), one axis after the other; as matrix products they run much faster than as convolutions."""
    scales(tuple(x.shape[2:]))
    for axis in range(2, x.ndim):
        x = (x.transpose(axis, -1) @ _window(x.shape[axis]).to(x).T).transpose(axis, -1)
    return x


def _window(count: int) -> torch.Tensor:
    """(count, count) matrix whose row i weighs the pixels around pixel i, mirrored at both ends."""
    offsets = torch.arange(-REACH, REACH + 1)
    places = (torch.arange(count)[:, None] + offsets).abs()
    places = torch.minimum(places, 2 * (count - 1) - places)
    weights = torch.exp(-(offsets.double() ** 2) / (2 * SIGMA**2))
    return torch.zeros(count, count, dtype=torch.float64).scatter_add_(1, places, (weights / weights.sum()).expand(count, -1))


def _inner(x: torch.Tensor) -> torch.Tensor:
    """Without the border, where the window looked at mirrored pixels."""
    for axis in range(2, x.ndim):
        x = x.narrow(axis, REACH, x.shape[axis] - 2 * REACH)
    return x
