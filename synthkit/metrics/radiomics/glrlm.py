"""Grey level run length matrix: how far a level goes on along a line (Galloway 1975)."""
import torch

from synthkit.metrics.radiomics.emphasis import SizeMatrix
from synthkit.metrics.radiomics.neighbours import Offset, along, directions, pair
from synthkit.metrics.radiomics.region import Region
from synthkit.metrics.radiomics.tally import tally

NAMES = {
    "ShortRunEmphasis": "small", "LongRunEmphasis": "large", "GrayLevelNonUniformity": "uneven level", "GrayLevelNonUniformityNormalized": "uneven level share",
    "RunLengthNonUniformity": "uneven size", "RunLengthNonUniformityNormalized": "uneven size share", "GrayLevelVariance": "level variance",
    "RunVariance": "size variance", "RunEntropy": "entropy", "LowGrayLevelRunEmphasis": "low", "HighGrayLevelRunEmphasis": "high",
    "ShortRunLowGrayLevelEmphasis": "small low", "ShortRunHighGrayLevelEmphasis": "small high",
    "LongRunLowGrayLevelEmphasis": "large low", "LongRunHighGrayLevelEmphasis": "large high",
}  # fmt: skip


def glrlm(region: Region) -> dict[str, torch.Tensor]:
    """16 features, (n,) each: the mean over the directions in which any line crosses two pixels of the mask."""
    counts = runs(region)
    found = SizeMatrix(counts, torch.arange(1, counts.shape[3] + 1)).features()
    features = {name: found[plain] for name, plain in NAMES.items()} | {"RunPercentage": found["total"] / region.pixels[:, None]}
    known = (found["total"] > 0).double()
    return {name: (values * known).sum(1) / known.sum(1) for name, values in features.items()}


def runs(region: Region) -> torch.Tensor:
    """(n, directions, most, longest) runs of each level and length; 0 throughout in a direction that the mask does not extend along."""
    size = max(region.levels.shape[1:])
    counts = torch.stack([_of_direction(region, step, size) for step in directions(region.levels.ndim - 1)], 1)
    return counts[..., : int(counts.sum((0, 1, 2)).nonzero().max()) + 1]


def _of_direction(region: Region, step: Offset, size: int) -> torch.Tensor:
    levels = region.levels
    go_on = torch.zeros_like(levels, dtype=torch.bool)
    here, there = pair(levels, step)
    pair(go_on, step)[1].copy_(here == there)
    so_far = along(step, go_on, torch.ones_like(levels))
    # Pixels that are the k-th of their run are as many as runs of at least k pixels.
    reached = tally(levels, region.most, (so_far, size + 1))[..., 1:]
    counts = reached - torch.nn.functional.pad(reached[..., 1:], (0, 1))
    single = counts[..., 1:].sum((1, 2)) == 0
    if single.any():
        counts[single] *= _extends(region.inside[single], step)[:, None, None]
    return counts


def _extends(inside: torch.Tensor, step: Offset) -> torch.Tensor:
    """(n,) whether any line of a direction crosses the mask twice."""
    in_grid = torch.zeros_like(inside)
    pair(in_grid, step)[1].fill_(True)
    return along(step, in_grid, inside.to(torch.int32)).flatten(1).amax(1) > 1
