"""CT image physics in pure torch: the kernel's point spread and the dose's noise, on volumes in HU."""
import torch
from torch import Tensor

from synthkit.phantoms.physics import gaussian_matrix

AIR_HU = -1000.0
REFERENCE_MAS = 100.0
FWHM_PER_SIGMA = 2.3548
Scalar = float | Tensor


def point_spread(volume_hu: Tensor, *, spacing_mm: tuple[float, float, float], fwhm_mm: Scalar) -> Tensor:
    """The volume as the reconstruction kernel shows it: a Gaussian point spread, alike along all axes.

    Args:
        volume_hu: (N, D, H, W) HU.
        spacing_mm: of D, H, W.
        fwhm_mm: full width at half maximum, one number or (N,); far under one voxel the volume stays as it is.
    """
    widths = _each(fwhm_mm, volume_hu)
    return torch.stack([_spread(volume, spacing_mm, width) for volume, width in zip(volume_hu, widths, strict=True)])


def dose_noise(
    white: Tensor, *, mas: Scalar, spacing_mm: tuple[float, float, float], correlation_mm: Scalar, sigma_hu: Scalar
) -> Tensor:
    """Noise in HU to add to a volume; its standard deviation falls with the root of the tube's charge.

    Args:
        white: (N, D, H, W) standard normal numbers.
        mas: tube current-time product, mAs; one number or (N,).
        spacing_mm: of D, H, W.
        correlation_mm: full width at half maximum of the kernel that correlates the noise within a slice (slices are
            reconstructed apart); one number or (N,).
        sigma_hu: standard deviation of every voxel at 100 mAs, whatever the correlation; one number or (N,).
    """
    grain = torch.stack([_grain(noise, spacing_mm, width) for noise, width in zip(white, _each(correlation_mm, white), strict=True)])
    charge, sigma = _each(mas, white), _each(sigma_hu, white)
    return (sigma * (REFERENCE_MAS / charge).sqrt())[:, None, None, None] * grain


def _each(value: Scalar, volume: Tensor) -> Tensor:
    """(N,): one number per volume."""
    return torch.as_tensor(value, dtype=volume.dtype, device=volume.device).expand(len(volume))


def _matrices(volume: Tensor, spacing_mm: tuple[float, float, float], fwhm_mm: Tensor) -> list[Tensor]:
    # A floor under the width, since at zero the Gaussian divides by zero; at 0.05 voxel it is the identity.
    sigmas = [(fwhm_mm / FWHM_PER_SIGMA / step).clamp(min=0.05) for step in spacing_mm]
    return [gaussian_matrix(count, sigma.view(1, 1, 1))[0] for count, sigma in zip(volume.shape, sigmas, strict=True)]


# Volumes are taken one by one: a product over a whole batch rounds differently when the batch has another size.
def _spread(volume: Tensor, spacing_mm: tuple[float, float, float], fwhm_mm: Tensor) -> Tensor:
    through, down, across = _matrices(volume, spacing_mm, fwhm_mm)
    sliced = down @ volume @ across.T
    return (through @ sliced.flatten(1)).view_as(volume)


def _grain(white: Tensor, spacing_mm: tuple[float, float, float], fwhm_mm: Tensor) -> Tensor:
    _, *plane = _matrices(white, spacing_mm, fwhm_mm)
    down, across = (matrix / matrix.square().sum(1, keepdim=True).sqrt() for matrix in plane)
    return down @ white @ across.T
