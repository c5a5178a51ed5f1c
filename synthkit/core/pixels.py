"""Stored pixels, read only when asked for: rows chosen from one or more integer arrays."""
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthkit.core.space import Space
from synthkit.errors import DataError

OPEN = 128  # files that are held open


class Pixels(Sequence):
    """The images of a cohort. `images[i]` is a float32 tensor (C, [D,] H, W) in [-1, 1]; nothing is decoded before.

    Args:
        parts: integer arrays (n, C, [D,] H, W), in memory or memory-mapped.
        space: their common space.
        where: (N, 2) pairs of part and row; all rows in order when left out.
    """

    def __init__(self, parts: Sequence[np.ndarray], space: Space, where: np.ndarray | None = None):
        for part in parts:
            if part.shape[1:] != space.shape:
                raise DataError(f"images of shape {part.shape[1:]} where {space.shape} was expected")
            if part.dtype.kind not in "iu":
                raise DataError(f"pixels are stored as integers, got {part.dtype}; quantise them with Space.to_raw")
        self.parts, self.space = tuple(parts), space
        self.where = _every([len(part) for part in self.parts]) if where is None else where

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, index: int) -> torch.Tensor:
        number, row = self.where[index]
        return self.space.to_float(self.parts[number][row])

    def raw(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Stored integers (N, C, [D,] H, W) of some rows, or of all."""
        chosen = self.where if rows is None else self.where[np.asarray(rows, np.int64)]
        dtype = np.result_type(*(part.dtype for part in self.parts)) if self.parts else self.space.dtype
        out = np.empty((len(chosen), *self.space.shape), dtype)
        for number in np.unique(chosen[:, 0]):
            here = chosen[:, 0] == number
            out[here] = self.parts[number][chosen[here, 1]]
        return out

    def tensor(self, rows: Sequence[int] | np.ndarray | None = None) -> torch.Tensor:
        """Float32 (N, C, [D,] H, W) in [-1, 1] of some rows, or of all."""
        return self.space.to_float(self.raw(rows))

    def take(self, rows: np.ndarray) -> "Pixels":
        """The chosen rows, still unread."""
        return Pixels(self.parts, self.space, self.where[rows])

    def to_space(self, space: Space) -> "Pixels":
        """The same images stored on another integer scale (read now)."""
        if space == self.space:
            return self
        blocks = [space.to_raw(self.tensor(range(a, min(a + 512, len(self))))) for a in range(0, len(self), 512)]
        return Pixels(blocks or [np.empty((0, *space.shape), space.dtype)], space)

    @staticmethod
    def join(first: "Pixels", second: "Pixels") -> "Pixels":
        """Both, one after the other; where their integer scales differ, both move to the 16-bit scale.

        A spacing that is not that of all images is dropped. DataError: a unit (HU) in two windows.
        """
        spacing = first.space.spacing_mm if first.space.spacing_mm == second.space.spacing_mm else None
        if first.space.channels != second.space.channels:
            _require_one_window(first.space, second.space)
            common = first.space.sixteen_bit()
            first, second = first.to_space(common), second.to_space(replace(common, spacing_mm=second.space.spacing_mm))
        shifted = second.where + np.array([len(first.parts), 0])
        return Pixels((*first.parts, *second.parts), replace(first.space, spacing_mm=spacing), np.concatenate([first.where, shifted]))


def _every(counts: Sequence[int]) -> np.ndarray:
    """(N, 2) pairs of part and row, in order."""
    sizes = np.asarray(counts, np.int64)
    numbers = np.repeat(np.arange(len(sizes)), sizes)
    return np.stack([numbers, np.arange(len(numbers)) - np.repeat(np.cumsum(sizes) - sizes, sizes)], 1)


class Stored:
    """Integers in an .npy file that is opened when rows are asked for, so that a cohort may have more files than a process may hold open.

    Args:
        path: of the file; its header is read at once.
    """

    def __init__(self, path: Path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        self.path, self.shape, self.dtype = path, array.shape, array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        now = self.path.stat()
        return _mapped(self.path, now.st_ino, now.st_mtime_ns)[rows]


@lru_cache(maxsize=OPEN)
def _mapped(path: Path, inode: int, changed: int) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _require_one_window(first: Space, second: Space) -> None:
    for a, b in zip(first.channels, second.channels):
        if (a.unit or b.unit) and (a.low, a.high, a.unit) != (b.low, b.high, b.unit):
            windows = " and ".join(f"{c.low:g}..{c.high:g} {c.unit or '(no unit)'}" for c in (a, b))
            meaning = "since a value would change its meaning; load both with the same window="
            raise DataError(f"channel {a.name}: the windows {windows} cannot be joined, {meaning}")
