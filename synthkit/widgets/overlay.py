"""What lies over an image: a mask, a label map, or a signed map such as an attribution."""
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from synthkit.errors import DataError
from synthkit.widgets.checks import as_numbers

# Red speaks for, blue against, as in core/figures.signed_plane.
RED, BLUE = (178, 24, 43), (33, 102, 172)
PALETTE = (
    (230, 57, 70), (69, 123, 227), (42, 157, 84), (244, 162, 38), (155, 93, 229), (0, 187, 212), (255, 112, 166), (140, 190, 30), (160, 110, 70), (255, 225, 80)
)  # fmt: skip
SOLID = 140  # of 255: how much a mask or label covers
LEVELS = 127  # shades on either side of 0


@dataclass(frozen=True, eq=False)
class Overlay:
    """A map over an image of the same size.

    Args:
        kind: mask, labels or signed.
        values: ([D,] H, W); bool as uint8, integers, or float32.
        limit: a signed map is drawn over -limit..limit; for the others the highest label.
    """

    kind: str
    values: np.ndarray
    limit: float

    def index(self, plane: np.ndarray) -> np.ndarray:
        """Row of `table` for every value of a plane, or of a whole volume."""
        if self.kind == "signed":
            return np.rint(np.clip(plane / self.limit, -1, 1) * LEVELS).astype(np.uint16) + LEVELS
        return np.searchsorted([0, *self.legend], plane).astype(np.uint16)

    @cached_property
    def table(self) -> np.ndarray:
        """(n, 4) uint8 colours with their cover; 0 is transparent."""
        if self.kind != "signed":
            return np.array([(0, 0, 0, 0), *((*colour, SOLID) for colour in self.legend.values())], np.uint8)
        share = np.arange(-LEVELS, LEVELS + 1)[:, None] / LEVELS
        return np.concatenate([np.where(share > 0, RED, BLUE), np.abs(share) * 255], -1).astype(np.uint8)

    def colours(self, plane: np.ndarray) -> np.ndarray:
        """(H, W, 4) uint8 picture of a plane of its values."""
        return self.table[self.index(plane)]

    @cached_property
    def legend(self) -> Mapping[int, tuple[int, int, int]]:
        """Colour of every label that occurs, 0 left out; of 1 for a mask, of none for a signed map."""
        if self.kind == "signed":
            return {}
        found = np.flatnonzero(np.bincount(self.values.ravel())[1:]) + 1
        return {int(label): PALETTE[(int(label) - 1) % len(PALETTE)] for label in found}

    @property
    def text(self) -> str:
        """What the colours mean."""
        if not self.values.any():
            return f"{'0 everywhere' if self.kind == 'signed' else 'empty'}, nothing to see"
        if self.kind == "signed":
            return f"red is positive, blue negative, up to ±{self.limit:.3g}"
        return "mask in red" if self.kind == "mask" else f"label{'s' * (len(self.legend) > 1)} {', '.join(map(str, self.legend))}"


def overlay_for(source: Any, shape: tuple[int, ...], *, channel: int | None = None) -> Overlay:
    """The overlay for an image of this shape.

    Args:
        source: booleans (a mask), integers (labels, 0 is none) or floats (signed), ([D,] H, W) or (C, [D,] H, W) as the image has them.
        shape: (C, [D,] H, W) of the whole image.
        channel: the one that is shown; None where all are: a map with channels is then averaged over them.
    Raises:
        DataError: another size, NaN, negative labels, or no numbers.
    """
    if isinstance(source, Mapping):
        names = ", ".join(map(str, source)) or "nothing"
        raise DataError(f"the overlay is a {type(source).__name__} of {names}; pick one entry and the image it belongs to, e.g. masks['heart'][0]")
    values = as_numbers(source, "the overlay", "give a mask, label map or signed map as an array or tensor; a second image goes into beside=")
    if values.ndim == len(shape) and values.shape[0] in (1, shape[0]) and values.shape[1:] == shape[1:]:
        values = _one_channel(values, channel)
    if values.shape != shape[1:]:
        raise DataError(f"the overlay has shape {values.shape}, the image {shape[1:]}; give a mask, label map or signed map of the image's size")
    if values.dtype.kind == "b":
        return Overlay("mask", values.astype(np.uint8), 1)
    if values.dtype.kind in "iu":
        return _labels(values)
    if not np.isfinite(values).all():
        raise DataError(f"the overlay has {int((~np.isfinite(values)).sum())} NaN or infinite values; set them to 0 to leave them out")
    return Overlay("signed", values.astype(np.float32), float(np.abs(values).max()) or 1.0)


def _one_channel(values: np.ndarray, channel: int | None) -> np.ndarray:
    if len(values) == 1:
        return values[0]
    if channel is not None:
        return values[channel]
    if values.dtype.kind != "f":
        raise DataError(f"the overlay has {len(values)} channels; a mask or label map over a colour image has none: give shape {values.shape[1:]}")
    return values.mean(0)


def _labels(values: np.ndarray) -> Overlay:
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise DataError(f"labels are {low}..{high}; a label map holds 0 (none) to 65535, a signed map holds floats: convert with .astype(float)")
    return Overlay("labels", values.astype(np.uint16), float(max(high, 1)))
