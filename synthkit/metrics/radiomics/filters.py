"""Filtered images that features are taken of as well: undecimated wavelets and the Laplacian of a Gaussian, in 2D."""
from collections.abc import Callable, Sequence
from math import ceil

import torch

from synthkit.errors import DataError

SIGMAS = (2.0, 3.0)
_ROOT = 7**0.5
# Coiflet of order 1 (Daubechies 1992); its high pass is the low pass backwards with every second sign turned.
COIF1 = {"L": [v / 512**0.5 for v in (_ROOT - 3, 1 - _ROOT, 14 - 2 * _ROOT, 14 + 2 * _ROOT, 5 + _ROOT, 1 - _ROOT)]}
COIF1["H"] = [(-1) ** (k + 1) * v for k, v in enumerate(reversed(COIF1["L"]))]
# Exponential series for the Gaussian and its second derivative, of Farnebäck & Westin 2006 (a, b, decay, frequency per sigma), as ITK has them.
GAUSSIAN = ((1.3530, 1.8151, -1.3932, 0.6681), (-0.3531, 0.0902, -1.3732, 2.0787))
CURVATURE = ((-1.3563, 5.2318, -1.3932, 0.6681), (0.3446, -2.2355, -1.3732, 2.0787))
REACH = 20  # sigmas; the series has fallen below 1e-11 there

Filtered = dict[str, torch.Tensor]


def filtered(values: torch.Tensor, names: Sequence[str]) -> Filtered:
    """Images (n, [D,] H, W) by the prefix of their features: "" for the original, "wavelet-LH_", "log-sigma-2-0-mm-3D_" ..."""
    out: Filtered = {}
    for name in names:
        out |= FILTERS[name](values)
    return out


def wavelet(values: torch.Tensor) -> Filtered:
    """LL, LH, HL and HH of (n, H, W): low or high pass along the columns first, then along the rows; periodic, one level."""
    height, width = _flat("wavelet", values)
    # A period is even; an odd side is continued by its first row or column for the time being.
    even = torch.cat([values, values[:, :1]], 1) if height % 2 else values
    even = torch.cat([even, even[..., :1]], 2) if width % 2 else even
    bands = {first + second: _passed(_passed(even, COIF1[first], 2), COIF1[second], 1) for first in "LH" for second in "LH"}
    return {f"wavelet-{name}_": band[:, :height, :width] for name, band in bands.items()}


def laplacian_of_gaussian(values: torch.Tensor) -> Filtered:
    """The Laplacian of (n, H, W) smoothed with sigma 2 and 3 pixels, times sigma squared; the border pixels go on outside.

    Each Gaussian is the exponential series that ITK's recursive filter runs, so that values are those of ITK up to its float32.
    """
    height, width = _flat("log", values)
    out = {}
    for sigma in SIGMAS:
        smooth, curve = _kernels(sigma)
        smooth_y, curve_y, smooth_x, curve_x = (_matrix(kernel, size) for size in (height, width) for kernel in (smooth, curve))
        both = curve_y @ values @ smooth_x.T + smooth_y @ values @ curve_x.T
        out[f"log-sigma-{sigma:.1f}-mm-3D_".replace(".", "-")] = sigma**2 * both
    return out


FILTERS: dict[str, Callable[[torch.Tensor], Filtered]] = {"original": lambda values: {"": values}, "wavelet": wavelet, "log": laplacian_of_gaussian}


def _flat(name: str, values: torch.Tensor) -> tuple[int, int]:
    if values.ndim != 3:
        raise DataError(f'the filter "{name}" takes images (N, 1, H, W), got volumes of {tuple(values.shape[1:])}; take filters=("original",) for volumes')
    return values.shape[1], values.shape[2]


def _passed(values: torch.Tensor, weights: list[float], axis: int) -> torch.Tensor:
    return sum(weight * values.roll(k - 3, axis) for k, weight in enumerate(weights))


def _kernels(sigma: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights at 0, 1, 2 ... pixels of a Gaussian of sum 1, and of its second derivative of sum 0 and second moment 2."""
    k = torch.arange(ceil(REACH * sigma) + 1).double()
    twice = torch.full_like(k, 2.0)
    twice[0] = 1
    smooth, curve = (sum(((a * (w * k / sigma).cos() + b * (w * k / sigma).sin()) * (d * k / sigma).exp() for a, b, d, w in terms), torch.zeros_like(k))
                     for terms in (GAUSSIAN, CURVATURE))  # fmt: skip
    smooth = smooth / (twice @ smooth)
    curve = curve - (twice @ curve) * smooth
    return smooth, 2 * curve / (twice @ (curve * k**2))


def _matrix(kernel: torch.Tensor, size: int) -> torch.Tensor:
    """(size, size): the symmetric kernel as a matrix, where places beyond an end mean the end."""
    shift = torch.arange(1 - len(kernel), len(kernel))
    place = torch.arange(size)[:, None]
    return torch.zeros(size, size, dtype=kernel.dtype).scatter_add_(1, (place + shift).clamp(0, size - 1), kernel[shift.abs()].expand(size, -1).contiguous())
