"""What run lengths, zone sizes and dependences have in common: a matrix of (grey level, size) and its features."""
from dataclasses import dataclass

import torch

from synthkit.metrics.radiomics.entropy import bits


@dataclass(frozen=True)
class SizeMatrix:
    """Counts (n, directions, levels, sizes) of things (runs, zones, pixels) of a level and a size.

    Args:
        counts: as above; levels from 1.
        sizes: (sizes,) what the last axis stands for.
    """

    counts: torch.Tensor
    sizes: torch.Tensor

    def features(self) -> dict[str, torch.Tensor]:
        """16 features (n, directions) by plain names: level, size, small and large, low and high; 0 where nothing was counted."""
        total = self.counts.sum((2, 3))
        some = total.clamp(min=1)[..., None]
        p, by_level, by_size = self.counts / some[..., None], self.counts.sum(3) / some, self.counts.sum(2) / some
        size, level = self.sizes.double(), torch.arange(1, p.shape[2] + 1).double()
        small, large = (p @ torch.stack([size**-2, size**2], 1)).unbind(-1)
        uneven_level, uneven_size = by_level.square().sum(-1), by_size.square().sum(-1)
        return {
            "total": total, "entropy": bits(p, axes=2),
            "small": small.sum(-1), "large": large.sum(-1), "low": by_level @ level**-2, "high": by_level @ level**2,
            "small low": small @ level**-2, "small high": small @ level**2, "large low": large @ level**-2, "large high": large @ level**2,
            "uneven level": uneven_level * total, "uneven level share": uneven_level, "level variance": _variance(by_level, level),
            "uneven size": uneven_size * total, "uneven size share": uneven_size, "size variance": _variance(by_size, size),
        }  # fmt: skip


def _variance(share: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    mean = share @ values
    return (share * (values - mean[..., None]) ** 2).sum(-1)
