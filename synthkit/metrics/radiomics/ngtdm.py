"""Neighbouring grey tone difference matrix: how far each level is from the mean of its neighbours (Amadasun & King 1989)."""
import torch

from synthkit.metrics.radiomics.neighbours import sum_around
from synthkit.metrics.radiomics.region import Region
from synthkit.metrics.radiomics.tally import tally

COARSEST = 1e6


def ngtdm(region: Region) -> dict[str, torch.Tensor]:
    """5 features, (n,) each. A flat region has Coarseness 1e6 and otherwise 0."""
    p, s = region.shares, differences(region)
    i = torch.arange(1, region.most + 1).double()
    present, pixels, step = p > 0, region.pixels, i[:, None] - i
    both = (present[:, :, None] & present[:, None]).double()
    levels, total, weighted = present.sum(1), s.sum(1), (p * s).sum(1)
    p_sum, ps_sum = p[:, :, None] + p[:, None], (p * s)[:, :, None] + (p * s)[:, None]
    spread = ((p * i)[:, :, None] - (p * i)[:, None]).abs().mul(both).sum((1, 2))
    contrast = (p[:, :, None] * p[:, None] * step**2).sum((1, 2)) / (levels * (levels - 1)).clamp(min=1) * total / pixels
    return {
        "Coarseness": torch.where(weighted > 0, 1 / weighted, COARSEST),
        "Contrast": contrast,
        "Busyness": torch.where(spread > 0, weighted / spread, 0.0),
        "Complexity": (step.abs() * both * ps_sum / p_sum.masked_fill(both == 0, 1)).sum((1, 2)) / pixels,
        "Strength": torch.where(total > 0, (p_sum * step**2 * both).sum((1, 2)) / total, 0.0),
    }


def differences(region: Region) -> torch.Tensor:
    """(n, most) for each level the sum of |level - mean level of the neighbours within the mask|; a pixel alone adds 0."""
    levels, inside = region.levels, region.inside
    # Without holes, all images have as many neighbours at each place.
    inside = inside[:1] if region.pixels.min() == inside[0].numel() else inside
    sums, count = sum_around(levels), sum_around(inside.to(torch.int32))
    away = (levels - sums / count.clamp(min=1).double()).abs().masked_fill_(count == 0, 0)
    return tally(levels, region.most, weights=away)
