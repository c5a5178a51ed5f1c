"""Grey level size zone matrix: how large the connected zones of a level are (Thibault et al. 2009)."""
import numpy as np
import torch

from synthkit.metrics.radiomics.emphasis import SizeMatrix
from synthkit.metrics.radiomics.region import Region
from synthkit.metrics.radiomics.zones import zones

NAMES = {
    "SmallAreaEmphasis": "small", "LargeAreaEmphasis": "large", "GrayLevelNonUniformity": "uneven level",
    "GrayLevelNonUniformityNormalized": "uneven level share",
    "SizeZoneNonUniformity": "uneven size", "SizeZoneNonUniformityNormalized": "uneven size share", "GrayLevelVariance": "level variance",
    "ZoneVariance": "size variance", "ZoneEntropy": "entropy", "LowGrayLevelZoneEmphasis": "low", "HighGrayLevelZoneEmphasis": "high",
    "SmallAreaLowGrayLevelEmphasis": "small low", "SmallAreaHighGrayLevelEmphasis": "small high",
    "LargeAreaLowGrayLevelEmphasis": "large low", "LargeAreaHighGrayLevelEmphasis": "large high",
}  # fmt: skip


def glszm(region: Region) -> dict[str, torch.Tensor]:
    """16 features, (n,) each, of zones that hang together by 8 or 26 neighbours."""
    found = zone_sizes(region).features()
    features = {name: found[plain] for name, plain in NAMES.items()} | {"ZonePercentage": found["total"] / region.pixels[:, None]}
    return {name: values[:, 0] for name, values in features.items()}


def zone_sizes(region: Region) -> SizeMatrix:
    """Zones of each level and size; of the sizes, only those that occur in the batch."""
    found = zones(region.levels.numpy())
    sizes, column = np.unique(found.size, return_inverse=True)
    key = torch.from_numpy((found.image * region.most + found.level - 1) * len(sizes) + column)
    shape = (len(region.levels), 1, region.most, len(sizes))
    counts = torch.bincount(key, minlength=int(np.prod(shape))).reshape(shape).double()
    return SizeMatrix(counts, torch.from_numpy(sizes))
