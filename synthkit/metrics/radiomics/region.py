"""The pixels that features describe: values, mask, and grey levels of one bin width."""
from dataclasses import dataclass
from functools import cached_property

import torch

from synthkit.errors import DataError
from synthkit.metrics.radiomics.tally import tally

MOST_LEVELS = 1000


def cropped(values: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and masks (n, [D,] H, W) cut to windows around the masks, all of one size: what lies outside is not looked at."""
    for axis in range(1, values.ndim):
        size = values.shape[axis]
        seen = inside.movedim(axis, 1).flatten(2).any(2)
        first, last = seen.int().argmax(1), size - seen.flip(1).int().argmax(1)
        window = int((last - first).max())
        if window < size:
            place = first.clamp(max=size - window)[:, None] + torch.arange(window)
            place = place.reshape(len(place), *(window if i == axis else 1 for i in range(1, values.ndim)))
            values, inside = (part.take_along_dim(place, axis) for part in (values, inside))
    return values, inside


@dataclass(frozen=True)
class Region:
    """A batch of binned regions.

    Args:
        values: (n, [D,] H, W) float64, 0 outside.
        inside: (n, [D,] H, W) bool, the mask.
        levels: (n, [D,] H, W) int32, floor(x / width) - floor(min x / width) + 1 inside and 0 outside.
        top: (n,) the highest level of each image.
    """

    values: torch.Tensor
    inside: torch.Tensor
    levels: torch.Tensor
    top: torch.Tensor

    @staticmethod
    def of(values: torch.Tensor, inside: torch.Tensor, *, bin_width: float) -> "Region":
        """The binned region. DataError: more than 1,000 levels."""
        bins = (values / bin_width).floor_()
        lowest = bins.masked_fill(~inside, float("inf")).flatten(1).amin(1)
        top = bins.masked_fill(~inside, float("-inf")).flatten(1).amax(1) - lowest + 1
        if not top.max() <= MOST_LEVELS:
            raise DataError(f"bin_width={bin_width:g} cuts the pixels into {float(top.max()):,.0f} grey levels, {MOST_LEVELS:,} are allowed; raise bin_width")
        bins -= lowest.reshape(-1, *(1,) * (values.ndim - 1)) - 1
        return Region(values.masked_fill(~inside, 0), inside, bins.masked_fill_(~inside, 0).to(torch.int32), top.long())

    def rows(self, chosen: torch.Tensor) -> "Region":
        """Some of the images."""
        return Region(self.values[chosen], self.inside[chosen], self.levels[chosen], self.top[chosen])

    @cached_property
    def most(self) -> int:
        """The highest level of the batch."""
        return int(self.top.max())

    @cached_property
    def pixels(self) -> torch.Tensor:
        """(n,) how many pixels are inside."""
        return self.inside.flatten(1).sum(1).double()

    @cached_property
    def shares(self) -> torch.Tensor:
        """(n, most) the share of the pixels that have each level."""
        return tally(self.levels, self.most) / self.pixels[:, None]
