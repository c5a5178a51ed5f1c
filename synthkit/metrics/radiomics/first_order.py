"""First-order features: how the pixel values are distributed, wherever they lie."""
import numpy as np
import torch

from synthkit.metrics.radiomics.entropy import bits
from synthkit.metrics.radiomics.region import Region


def first_order(region: Region) -> dict[str, torch.Tensor]:
    """18 first-order features, (n,) each.

    Variance divides by N, kurtosis is 3 for a Gaussian, entropy is in bits, a pixel has the volume 1. A flat region has skewness and kurtosis 0.
    """
    x, inside, pixels = region.values.flatten(1), region.inside.flatten(1), region.pixels
    ordered = _sorted(x, inside)
    low, high = ordered[:, 0], ordered.gather(1, pixels.long()[:, None] - 1)[:, 0]
    tenth, quarter, half, three_quarters, ninetieth = (_quantile(ordered, pixels, share) for share in (0.1, 0.25, 0.5, 0.75, 0.9))
    core = inside & (x >= tenth[:, None]) & (x <= ninetieth[:, None])
    in_core = core.sum(1).clamp(min=1)  # of two pixels, neither lies between the percentiles
    energy, shares = x.square().sum(1), region.shares
    return {
        "10Percentile": tenth, "90Percentile": ninetieth, "Median": half, "InterquartileRange": three_quarters - quarter,
        "Minimum": low, "Maximum": high, "Range": high - low,
        "Energy": energy, "TotalEnergy": energy, "RootMeanSquared": (energy / pixels).sqrt(),
        "Entropy": bits(shares), "Uniformity": shares.square().sum(1),
        "RobustMeanAbsoluteDeviation": _centred(x * core, core, in_core)[1].abs().sum(1) / in_core,
        **_moments(x, inside, pixels, flat=low == high),
    }  # fmt: skip


def _moments(x: torch.Tensor, inside: torch.Tensor, pixels: torch.Tensor, *, flat: torch.Tensor) -> dict[str, torch.Tensor]:
    mean, away = _centred(x, inside, pixels)
    # The mean of equal values may be off by a rounding, which the ratios below would blow up.
    away[flat] = 0
    squared = away.square()
    second, third, fourth = (power.sum(1) / pixels for power in (squared, squared * away, squared.square()))
    safe = second.masked_fill(flat, 1)
    return {"Mean": mean, "MeanAbsoluteDeviation": away.abs().sum(1) / pixels, "Variance": second,
            "Skewness": third / safe**1.5, "Kurtosis": fourth / safe**2}  # fmt: skip


def _centred(x: torch.Tensor, inside: torch.Tensor, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean over a mask, outside of which x is 0, and the differences from it (0 outside)."""
    mean = x.sum(1) / pixels
    return mean, (x - mean[:, None]).mul_(inside)


def _sorted(x: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(n, pixels) in rising order, those outside last."""
    last = x.masked_fill(~inside, float("inf"))
    # NumPy sorts several times faster than torch here, and float32, which holds all 8- and 16-bit images, faster again.
    single = last.float()
    return torch.from_numpy(np.sort((single if torch.equal(single.double(), last) else last).numpy(), axis=1)).double()


def _quantile(ordered: torch.Tensor, pixels: torch.Tensor, share: float) -> torch.Tensor:
    """Linear between the two nearest ranks."""
    place = share * (pixels - 1)
    before = place.floor().long()[:, None]
    after = torch.minimum(before + 1, pixels.long()[:, None] - 1)
    low, high = ordered.gather(1, before)[:, 0], ordered.gather(1, after)[:, 0]
    return low + (high - low) * (place - place.floor())
