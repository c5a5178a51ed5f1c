"""MR image physics in pure torch: signal equations, contrast agent, coil sensitivity, motion, Rician noise.

Times are in ms, angles in degrees. Signals are in units of the proton density, which is 1 for water.
"""
import math

import torch
from torch import Tensor

Scalar = float | Tensor
DRIFT_CYCLES, PULSE_CYCLES = 1.3, 9.7  # slow head movement and pulsation, over one acquisition
DRIFT_MM, PULSE_MM = 2.4, 1.1


def spgr(density: Tensor, t1: Tensor, t2_star: Tensor, *, tr: float, te: float, flip: float) -> Tensor:
    """Spoiled gradient echo at steady state (Ernst and Anderson 1966)."""
    angle, decay = math.radians(flip), torch.exp(-tr / t1)
    return density * math.sin(angle) * (1 - decay) / (1 - math.cos(angle) * decay) * torch.exp(-te / t2_star)


def spin_echo(density: Tensor, t1: Tensor, t2: Tensor, *, tr: float, te: float) -> Tensor:
    """Spin echo; with TE far below TR."""
    return density * (1 - torch.exp(-tr / t1)) * torch.exp(-te / t2)


def flair(density: Tensor, t1: Tensor, t2: Tensor, *, tr: float, te: float, ti: float) -> Tensor:
    """Magnitude of an inversion-recovery spin echo; what has T1 = TI/ln 2 (TR long) is nulled."""
    return density * (1 - 2 * torch.exp(-ti / t1) + torch.exp(-tr / t1)).abs() * torch.exp(-te / t2)


def null_time(t1: float, *, tr: float) -> float:
    """The inversion time at which `flair` shows nothing of a tissue."""
    return t1 * (math.log(2) - math.log1p(math.exp(-tr / t1)))


def with_agent(t1: Tensor, millimolar: Scalar, *, relaxivity: float = 4.5) -> Tensor:
    """T1 shortened by a gadolinium agent; relaxivity in 1/(mM s)."""
    return 1 / (1 / t1 + relaxivity * millimolar / 1000)


def legendre(places: Tensor, degree: int) -> Tensor:
    """(degree + 1, n) Legendre polynomials at (n,) places in [-1, 1]."""
    rows = [torch.ones_like(places), places]
    for order in range(1, degree):
        rows.append(((2 * order + 1) * places * rows[-1] - order * rows[-2]) / (order + 1))
    return torch.stack(rows[: degree + 1])


def log_bias(coefficients: Tensor, places: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """(D, H, W) sum of c_ijk P_i P_j P_k at the places in [-1, 1] along D, H, W; `coefficients` is (n, n, n)."""
    through, down, across = (legendre(along, len(coefficients) - 1) for along in places)
    # One axis after the other, so that nothing of size n^3 x D x H x W is made.
    planes = torch.tensordot(through, coefficients, ([0], [0]))
    lines = torch.tensordot(planes, down, ([1], [0]))
    return torch.tensordot(lines, across, ([1], [0]))


def bias_field(coefficients: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(D, H, W) smooth sensitivity of the coil, exp(sum c_ijk P_i P_j P_k), about 1."""
    centres = tuple((torch.arange(count, dtype=torch.float32, device=coefficients.device) + 0.5) / count * 2 - 1 for count in shape)
    return torch.exp(log_bias(coefficients, centres))


def move(volume: Tensor, amount: Scalar, phases: Tensor, *, step_mm: float) -> Tensor:
    """What is seen of a head that moves to and fro while it is scanned: blur, and ghosts along the phase direction H.

    Every line of k-space along H is taken at another time, and so at another displacement; a translation is a
    phase ramp there. The head drifts once or so per scan (blur), and pulses (ghosts).

    Args:
        volume: (..., D, H, W) signal.
        amount: 0 (still) to 1 (2.4 mm of drift and 1.1 mm of pulsation).
        phases: (2,) in [0, 1): where in their cycles drift and pulsation begin.
        step_mm: voxel size along H.
    Returns:
        Complex, of the same shape.
    """
    count = volume.shape[-2]
    frequency = torch.fft.fftfreq(count, device=volume.device)
    time = torch.arange(count, device=volume.device) / count  # lines in the order of their frequency, lowest first
    time = time[torch.argsort(torch.argsort(frequency))]
    drift = DRIFT_MM * torch.sin(2 * math.pi * (DRIFT_CYCLES * time + phases[0]))
    pulse = PULSE_MM * torch.sin(2 * math.pi * (PULSE_CYCLES * time + phases[1]))
    ramp = -2 * math.pi * frequency * amount * (drift + pulse) / step_mm
    return torch.fft.ifft(torch.fft.fft(volume, dim=-2) * torch.polar(torch.ones_like(ramp), ramp)[:, None], dim=-2)


def rician(signal: Tensor, noise: Tensor, *, sigma: Scalar) -> Tensor:
    """Magnitude of a complex signal with independent noise in both parts (Gudbjartsson and Patz 1995).

    Args:
        signal: (...) real or complex.
        noise: (2, ...) standard normal.
        sigma: standard deviation of each part; without signal the mean is sigma sqrt(pi/2).
    """
    parts = torch.view_as_real(signal).unbind(-1) if signal.is_complex() else (signal, torch.zeros_like(signal))
    # A hair above zero, where the root has no slope.
    return ((parts[0] + sigma * noise[0]).square() + (parts[1] + sigma * noise[1]).square() + 1e-12).sqrt()
