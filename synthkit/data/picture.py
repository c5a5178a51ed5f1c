"""One image or volume between its file and a cohort."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from synthkit.core.space import Channel

FULL = 65535.0
COLOURS = ("red", "green", "blue")


class Unreadable(Exception):
    """A file that cannot become an image. The reason is stored with the cohort: it must never quote the file or its name."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Decoded pixels with what the file says about them.

    Args:
        pixels: integers (C, [D,] H, W).
        channels: one per C.
        files: what it was read from, relative to the folder that is loaded.
        identity: what its id is made from; never shown or stored.
        spacing_mm: per axis of the size, or None where the file does not say.
        keys: {kind: text} by which a table may name it (SOPInstanceUID, PatientID…); never stored.
        facts: columns for the clinical table.
        patient: who it shows, still in the clear; None where unknown.
        names: words that identify the person; never stored.
        oblique_degrees: of a volume on the axes of the viewer, the most by which one of them is off the anatomical axis that
            it is named after; None where the file does not say how it lies, and the axes are as stored.
    """

    pixels: np.ndarray
    channels: tuple[Channel, ...]
    files: tuple[str, ...]
    identity: str
    spacing_mm: tuple[float, ...] | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    patient: str | None = None
    names: frozenset[str] = frozenset()
    oblique_degrees: float | None = None
    synthetic: bool = False

    @property
    def size(self) -> tuple[int, ...]:
        return self.pixels.shape[1:]

    @property
    def kind(self) -> tuple[int, tuple[str, ...]]:
        """(2 or 3, channel names with units): only pictures of one kind share a cohort."""
        return len(self.size), tuple(f"{c.name} ({c.unit})" if c.unit else c.name for c in self.channels)


@dataclass(frozen=True)
class Job:
    """Files that are read together, and how."""

    files: tuple[str, ...]
    read: Callable[[], list[Picture]]


@dataclass(frozen=True)
class Skip:
    """A file that was left out, and why (the reason quotes nothing that the file holds); `is_file` is False for a row of an array."""

    file: str
    reason: str
    is_file: bool = True


def kind_text(kind: tuple[int, tuple[str, ...]]) -> str:
    """ "2D images of xray", "volumes of CT (HU)"."""
    dims, channels = kind
    return f"{'volumes' if dims == 3 else '2D images'} of {' + '.join(channels)}"


def require_content(values: np.ndarray) -> None:
    """Raise Unreadable where pixels are no numbers, or all the same."""
    if values.size == 0:
        raise Unreadable("it holds no pixels")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unreadable("it holds NaN or infinite pixels")
    if values.min() == values.max():
        raise Unreadable("it is constant: every pixel has the same value")


def grey(values: np.ndarray, name: str, *, window: tuple[float, float] | None = None) -> tuple[np.ndarray, Channel]:
    """Numbers of any type as one stored channel.

    Whole numbers from 0 to 255 or 65535 (uint8, uint16) stay as they are unless a window is given; anything else is
    spread over 16 bits between the window's ends, or between the 0.5 and 99.5 percentiles.

    Args:
        values: ([D,] H, W).
    Returns:
        (1, [D,] H, W) uint8 or uint16, and its channel.
    """
    if window is None and values.dtype in (np.uint8, np.uint16):
        return values[None], Channel(name, high=float(np.iinfo(values.dtype).max))
    low, high = window or percentiles(values)
    share = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
    return np.rint(share * FULL).astype(np.uint16)[None], Channel(name, high=FULL)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles, or the ends where these meet: a window that a few bright pixels cannot stretch."""
    low, high = np.percentile(values, [0.5, 99.5])
    return (float(low), float(high)) if low < high else (float(values.min()), float(values.max()))


def colour(values: np.ndarray) -> tuple[np.ndarray, tuple[Channel, ...]]:
    """(H, W, 3) uint8 as three channels, or as one where all three are equal."""
    if (values[..., 0] == values[..., 1]).all() and (values[..., 1] == values[..., 2]).all():
        return values[..., 0][None], (Channel("grey"),)
    return np.moveaxis(values, -1, 0), tuple(Channel(name, "colour") for name in COLOURS)
