"""Grey level dependence matrix: how many neighbours share a pixel's level (Sun & Wee 1983)."""
import torch

from synthkit.metrics.radiomics.emphasis import SizeMatrix
from synthkit.metrics.radiomics.neighbours import directions, pair
from synthkit.metrics.radiomics.region import Region
from synthkit.metrics.radiomics.tally import tally

NAMES = {
    "SmallDependenceEmphasis": "small", "LargeDependenceEmphasis": "large", "GrayLevelNonUniformity": "uneven level", "GrayLevelVariance": "level variance",
    "DependenceNonUniformity": "uneven size", "DependenceNonUniformityNormalized": "uneven size share", "DependenceVariance": "size variance",
    "DependenceEntropy": "entropy", "LowGrayLevelEmphasis": "low", "HighGrayLevelEmphasis": "high",
    "SmallDependenceLowGrayLevelEmphasis": "small low", "SmallDependenceHighGrayLevelEmphasis": "small high",
    "LargeDependenceLowGrayLevelEmphasis": "large low", "LargeDependenceHighGrayLevelEmphasis": "large high",
}  # fmt: skip


def gldm(region: Region) -> dict[str, torch.Tensor]:
    """14 features, (n,) each, of neighbours at distance 1 with exactly the same level."""
    counts = dependences(region)[:, None]
    found = SizeMatrix(counts, torch.arange(1, counts.shape[3] + 1)).features()
    return {name: found[plain][:, 0] for name, plain in NAMES.items()}


def dependences(region: Region) -> torch.Tensor:
    """(n, most, 9 or 27) pixels of each level with 0, 1, 2 ... neighbours of that level."""
    levels, steps = region.levels, directions(region.levels.ndim - 1)
    alike = torch.zeros_like(levels)
    for step in steps:
        here, there = pair(levels, step)
        same = here == there
        for side in pair(alike, step):
            side += same
    return tally(levels, region.most, (alike, 2 * len(steps) + 1))
