"""X-ray physics in pure torch: path lengths through solids, Beer-Lambert, scatter, quantum noise, film response."""
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

Scalar = float | Tensor
Interval = tuple[Tensor, Tensor]

SOFT_PER_CM = 0.20
LUNG_PER_CM = 0.055
BONE_PER_CM = 0.20  # in excess of the soft tissue that the bone displaces
METAL_PER_CM = 8.0
PHOTONS = 2e5
SCATTER_SHARE = 0.35
SCATTER_CM = 2.7
ELECTRONIC_NOISE = 6.0
SHOULDER = 0.6


def root(base: Tensor, power: float = 2.0) -> Tensor:
    """base^(1/power) where base is positive, else 0; the gradient stays finite at the rim."""
    positive = base.clamp(min=0)
    # positive^(1/p) written so that neither value nor slope divides by zero; off by 1e-6 of the base at most.
    if power == 2:
        return positive * (positive + 1e-6).rsqrt()
    if power == 4:
        inverse = (positive + 1e-6).rsqrt()
        return positive * inverse * inverse.sqrt()
    return positive * (positive + 1e-6) ** (1 / power - 1)


def superquadric(
    x: Tensor, y: Tensor, *, half: tuple[Scalar, Scalar, Scalar], power: float = 2.0, angle: Scalar = 0.0
) -> Tensor:
    """Half of the path length along z through |x/a|^p + |y/b|^p + |z/c|^p <= 1.

    Args:
        x, y: cm from the solid's centre.
        half: the half axes a, b, c in cm.
        angle: radians by which the solid is turned in the image plane, from x towards y.
    Returns:
        Half length in cm, so that the ray is inside for z in [centre - half length, centre + half length].
    """
    if isinstance(angle, Tensor) or angle:
        turn = torch.as_tensor(angle, dtype=x.dtype, device=x.device)
        x, y = x * turn.cos() + y * turn.sin(), y * turn.cos() - x * turn.sin()
    width, height, depth = half
    if power == 2:
        return depth * root(1 - (x / width).square() - (y / height).square())
    return depth * root(1 - (x / width).abs() ** power - (y / height).abs() ** power, power)


def clip_interval(centre: Scalar, half: Tensor, within: Tensor) -> Interval:
    """The part of [centre - half, centre + half] inside [-within, within]; empty ones have start >= end."""
    return torch.maximum(centre - half, -within), torch.minimum(centre + half, within)


def union_length(intervals: Sequence[Interval]) -> Tensor:
    """Exact length covered by overlapping intervals of each ray (inclusion and exclusion)."""
    total = torch.zeros_like(intervals[0][0])
    for count in range(1, len(intervals) + 1):
        for chosen in itertools.combinations(intervals, count):
            start, end = chosen[0]
            for other_start, other_end in chosen[1:]:
                start, end = torch.maximum(start, other_start), torch.minimum(end, other_end)
            shared = (end - start).clamp(min=0)
            total = total + shared if count % 2 else total - shared
    return total


def gaussian_matrix(count: int, sigma: Tensor) -> Tensor:
    """(N, count, count) blurs along one axis, sigma (N, 1, 1) in pixels; rows sum to one, so edges neither darken nor brighten."""
    lags = torch.arange(-count, count, dtype=torch.float32, device=sigma.device)
    # Capped, for exponentials that underflow to subnormal numbers are slow.
    weights = torch.exp(-0.5 * (lags / sigma[:, 0]).square().clamp(max=60)).unfold(1, count, 1)[:, 1:].flip(1)
    return weights / weights.sum(2, keepdim=True)


def blur(image: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of square (N, H, H) images; sigma (N, 1, 1) in pixels."""
    kernel = gaussian_matrix(image.shape[-1], sigma)
    return torch.bmm(torch.bmm(kernel, image), kernel.mT)


def scatter(primary: Tensor, *, pixel_cm: Tensor, photons: float = PHOTONS) -> Tensor:
    """Mean detected photons of a transmission image: the primary beam and the scatter around it."""
    return photons * (primary + SCATTER_SHARE * blur(primary, SCATTER_CM / pixel_cm))


def add_noise(mean: Tensor, noise: Tensor) -> Tensor:
    """Quantum noise (Gaussian limit of Poisson) and electronic noise; `noise` is (N, 2, H, W) standard normal."""
    return mean + mean.sqrt() * noise[:, 0] + ELECTRONIC_NOISE * noise[:, 1]


def film(detected: Tensor, *, offset: Scalar = 0.6, span: Scalar = 3.8, photons: float = PHOTONS) -> Tensor:
    """Logarithmic detector response in [0, 1): dense tissue bright, the brightest rolled off as on film."""
    density = math.log(photons) - detected.clamp(min=1).log()
    linear = ((density - offset) / span).clamp(min=0)
    over = (linear - SHOULDER).clamp(min=0)
    return linear - over + (0.96 - SHOULDER) * torch.tanh(over / (0.96 - SHOULDER))


def enhance(
    image: Tensor, pixel_cm: Tensor, *, gamma: float = 0.85, sharpen: float = 0.6, radius_cm: float = 0.9
) -> Tensor:
    """The vendor processing of site B: gamma and an unsharp mask."""
    bright = image.clamp(min=1e-4) ** gamma
    return (bright + sharpen * (bright - blur(bright, radius_cm / pixel_cm))).clamp(0, 1)


def shrink(image: Tensor, factor: int) -> Tensor:
    """Mean over factor x factor blocks of (N, H, W)."""
    return torch.nn.functional.avg_pool2d(image, factor)
