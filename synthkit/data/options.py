"""What a caller wants of a load: checked once, then handed down unchanged."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from synthkit.core.schema import Category, Quantity, Schema
from synthkit.errors import DataError

Size = int | tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Options:
    """The keyword arguments of `sk.load`; see there for their meaning."""

    table: str | Path | pd.DataFrame | None = None
    join: str | None = None
    patient: str | None = None
    factors: Schema | Sequence[str | Category | Quantity] | None = None
    size: Size | None = None
    spacing_mm: float | tuple[float, ...] | None = None
    window: tuple[float, float] | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        if self.size is not None:
            sizes = (self.size,) if isinstance(self.size, int) else tuple(self.size)
            if not 1 <= len(sizes) <= 3 or any(not isinstance(n, int) or n < 2 for n in sizes):
                raise DataError(f"size={self.size!r}: give one whole number of pixels, (height, width), or (depth, height, width)")
        if self.spacing_mm is not None:
            steps = (self.spacing_mm,) if isinstance(self.spacing_mm, (int, float)) else tuple(self.spacing_mm)
            if not 1 <= len(steps) <= 3 or any(step <= 0 for step in steps):
                raise DataError(f"spacing_mm={self.spacing_mm!r}: give millimetres per pixel, one number or one per axis")
        if self.window is not None and not (len(self.window) == 2 and self.window[0] < self.window[1]):
            raise DataError(f"window={self.window!r}: give (low, high) with low under high, e.g. (-1000, 400) for lungs in HU")
        if isinstance(self.factors, (str, Category, Quantity)):
            raise DataError(f"factors={self.factors!r}: give a list of names or factors, or a Schema")

    def target_size(self, dims: int) -> tuple[int, ...] | None:
        """Wanted pixels along each axis of a 2D image or a volume; None where sizes are kept."""
        if self.size is None or isinstance(self.size, int):
            return None if self.size is None else (self.size,) * dims
        if len(self.size) == 1:
            return (self.size[0],) * dims
        if len(self.size) != dims:
            raise DataError(f"size={self.size}: these are {dims}D images; give one number or {dims} numbers")
        return tuple(self.size)

    def target_spacing(self, dims: int) -> tuple[float, ...] | None:
        """Wanted millimetres per pixel along each axis."""
        if self.spacing_mm is None or isinstance(self.spacing_mm, (int, float)):
            return None if self.spacing_mm is None else (float(self.spacing_mm),) * dims
        if len(self.spacing_mm) not in (1, dims):
            raise DataError(f"spacing_mm={self.spacing_mm}: these are {dims}D images; give one number or {dims} numbers")
        steps = tuple(map(float, self.spacing_mm))
        return steps * dims if len(steps) == 1 else steps
