"""Scanning a head: T1, T2 and FLAIR by the signal equations, CT in Hounsfield units."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms import ct, mr
from synthkit.phantoms.brain_frame import FIELD_MM
from synthkit.phantoms.brain_tissue import TISSUES, Anatomy

HU_WINDOW = (-1000.0, 1200.0)
BIAS, FALL = 0.2, 0.7  # the field reaches 10 to 20 %; each Legendre order is weaker than the last
AGENT_MILLIMOLAR = 0.4  # in a tumour of enhancement 1
KERNEL_MM, GRAIN_MM, NOISE_HU = 1.0, 5.0, 5.0


@dataclass(frozen=True)
class Scanner:
    """Field strength and protocol; `gain` turns signals of T1, T2, FLAIR to 0..1, `sigma` is the noise after it."""

    tissues: Mapping[str, tuple[float, float, float, float]]
    spgr: Mapping[str, float]
    spin_echo: Mapping[str, float]
    flair: Mapping[str, float]
    gain: tuple[float, float, float]
    sigma: float


# Proton density, T1, T2, T2* in ms. Healthy brain, fat and muscle at 1.5 T as in BrainWeb (Kwan et al. 1999).
TISSUES_15T = {
    "air": (0.0, 1000.0, 50.0, 20.0), "fat": (1.0, 350.0, 70.0, 58.0), "muscle": (0.9, 900.0, 47.0, 30.0), "bone": (0.04, 500.0, 10.0, 3.0),
    "marrow": (0.55, 380.0, 60.0, 30.0), "eye": (0.98, 2500.0, 300.0, 58.0), "csf": (1.0, 2569.0, 329.0, 58.0),
    "ventricles": (1.0, 2569.0, 329.0, 58.0), "grey": (0.86, 833.0, 83.0, 69.0), "white": (0.77, 500.0, 70.0, 61.0),
    "thalamus": (0.82, 690.0, 76.0, 62.0), "caudate": (0.86, 800.0, 81.0, 64.0), "putamen": (0.85, 760.0, 77.0, 58.0),
    "pallidum": (0.79, 600.0, 66.0, 42.0), "brain_stem": (0.79, 570.0, 73.0, 61.0), "wm_lesions": (0.82, 850.0, 165.0, 120.0),
    "oedema": (0.86, 1000.0, 135.0, 100.0), "tumour": (0.9, 1200.0, 115.0, 80.0), "necrosis": (0.96, 1900.0, 210.0, 100.0),
}  # fmt: skip
# At 3 T, T1 is longer and T2* shorter; grey and white matter after Wansapura et al. (1999).
TISSUES_3T = {name: (density, t1 * 1.45, t2 * 0.95, star * 0.7) for name, (density, t1, t2, star) in TISSUES_15T.items()} | {
    "fat": (1.0, 382.0, 68.0, 40.0), "csf": (1.0, 3800.0, 320.0, 45.0), "ventricles": (1.0, 3800.0, 320.0, 45.0), "eye": (0.98, 3600.0, 290.0, 45.0),
    "grey": (0.86, 1331.0, 88.0, 42.0), "white": (0.77, 832.0, 68.0, 45.0),
}  # fmt: skip
SCANNERS = (
    Scanner(
        TISSUES_15T,
        spgr={"tr": 20, "te": 6, "flip": 40},
        spin_echo={"tr": 3300, "te": 120},
        flair={"tr": 9000, "te": 120, "ti": mr.null_time(2569, tr=9000)},
        gain=(9.0, 1.7, 2.9),
        sigma=0.018,
    ),
    Scanner(
        TISSUES_3T,
        spgr={"tr": 9, "te": 3.5, "flip": 20},
        spin_echo={"tr": 5000, "te": 95},
        flair={"tr": 9000, "te": 105, "ti": mr.null_time(3800, tr=9000)},
        gain=(15.5, 1.5, 2.8),
        sigma=0.011,
    ),
)
HOUNSFIELD = {
    "air": ct.AIR_HU, "fat": -90.0, "muscle": 55.0, "bone": 1000.0, "marrow": 420.0, "eye": 10.0, "csf": 5.0, "ventricles": 5.0, "grey": 38.0,
    "white": 28.0, "thalamus": 36.0, "caudate": 38.0, "putamen": 38.0, "pallidum": 40.0, "brain_stem": 31.0, "wm_lesions": 20.0,
    "oedema": 18.0, "tumour": 35.0, "necrosis": 15.0,
}  # fmt: skip


def scan(anatomy: Anatomy, values: Mapping[str, Tensor], *, noise: Tensor | None) -> Tensor:
    """(4, D, H, W) in [0, 1]: T1 (after contrast agent), T2, FLAIR, CT; without `noise` the mean exposures.

    Args:
        noise: (7, D, H, W) standard normal; two for each MR channel, one for CT.
    """
    scanner = SCANNERS[int(values["scanner"])]
    shares = torch.stack([anatomy.shares[name] for name in TISSUES])
    table = torch.cat([signals(scanner, values), hounsfield(values)[None]])
    mean = (table @ shares.flatten(1)).view(4, *shares.shape[1:])
    resonance = _resonance(mean[:3], anatomy, values, noise, sigma=scanner.sigma)
    tomography = _tomography(mean[3], values, noise)
    return torch.cat([resonance, tomography[None]])


def signals(scanner: Scanner, values: Mapping[str, Tensor]) -> Tensor:
    """(3, tissues) signal of T1, T2, FLAIR, gain included."""
    density, t1, t2, star = torch.tensor([scanner.tissues[name] for name in TISSUES], device=values["age"].device).T
    years = values["age"] - 50
    t1 = t1 * (1 + _at({"white": 0.0022, "grey": -0.0006}, t1) * years)
    iron = 1 - _at({"pallidum": 0.006, "putamen": 0.0045, "caudate": 0.003}, t1) * (years + 30)
    t1 = mr.with_agent(t1, AGENT_MILLIMOLAR * values["enhancement"] * _at({"tumour": 1.0, "necrosis": 0.06}, t1))
    images = (
        mr.spgr(density, t1, star * iron, **scanner.spgr),
        mr.spin_echo(density, t1, t2 * iron, **scanner.spin_echo),
        mr.flair(density, t1, t2 * iron, **scanner.flair),
    )
    return torch.stack([gain * image for gain, image in zip(scanner.gain, images, strict=True)])


def hounsfield(values: Mapping[str, Tensor]) -> Tensor:
    """(tissues,) HU; bone thins with age, and the pallidum calcifies."""
    hu = torch.tensor([HOUNSFIELD[name] for name in TISSUES], device=values["age"].device)
    return hu + _at({"bone": -3.0, "marrow": -2.0, "pallidum": 0.15}, hu) * (values["age"] - 50)


def _at(weights: Mapping[str, float], like: Tensor) -> Tensor:
    return torch.tensor([weights.get(name, 0.0) for name in TISSUES], device=like.device)


def _resonance(signal: Tensor, anatomy: Anatomy, values: Mapping[str, Tensor], noise: Tensor | None, *, sigma: float) -> Tensor:
    nuisance, shape = anatomy.nuisance, tuple(signal.shape[1:])
    seen = signal
    if values["motion"] > 0:
        step = FIELD_MM / shape[1]
        seen = torch.stack([mr.move(image, values["motion"], phases, step_mm=step) for image, phases in zip(signal, nuisance.phases, strict=True)])
    seen = seen * mr.bias_field(bias_coefficients(nuisance.bias, values["scanner"]), shape)
    shown = seen.abs() if noise is None else mr.rician(seen, torch.stack([noise[:3], noise[3:6]]), sigma=sigma)
    return shown.clamp(max=1)


def bias_coefficients(draws: Tensor, scanner: Tensor) -> Tensor:
    """(4, 4, 4) Legendre coefficients; the 3 T scanner is also brighter in the middle of the head."""
    orders = torch.arange(4, device=draws.device)
    order = orders[:, None, None] + orders[:, None] + orders
    drawn = torch.where((order > 0) & (order < 4), draws * FALL**order, 0.0)
    shape = drawn / _peak(drawn)
    shape[2, 0, 0] -= 0.3 * scanner
    shape[0, 2, 0] -= 0.3 * scanner
    shape[0, 0, 2] -= 0.3 * scanner
    return BIAS * (0.5 + 0.5 * torch.sigmoid(draws[0, 0, 0])) * shape / _peak(shape)


def _peak(coefficients: Tensor) -> Tensor:
    """The greatest magnitude of the log field, on a grid that is the same for every image size."""
    places = torch.linspace(-1, 1, 17, device=coefficients.device)
    return mr.log_bias(coefficients, (places, places, places)).abs().amax()


def _tomography(hu: Tensor, values: Mapping[str, Tensor], noise: Tensor | None) -> Tensor:
    """(D, H, W) in [0, 1] of the window."""
    spacing = (FIELD_MM / len(hu),) * 3
    seen = ct.point_spread(hu[None], spacing_mm=spacing, fwhm_mm=KERNEL_MM)
    if noise is not None:
        seen = seen + ct.dose_noise(noise[None, 6], mas=values["dose"], spacing_mm=spacing, correlation_mm=GRAIN_MM, sigma_hu=NOISE_HU)
    low, high = HU_WINDOW
    return ((seen[0] - low) / (high - low)).clamp(0, 1)


def exposure_noise(seed: int, subject: str, size: int) -> Tensor:
    """(7, size, size, size) standard normal numbers of one scan."""
    return randomness.normal((7, size, size, size), seed=seed, identities=[subject], stream=f"noise.{size}")[0]
