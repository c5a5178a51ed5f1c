"""What a viewer shows: one image with its window, spacing and caption, read from a cohort or an array and checked."""
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.widgets.checks import as_numbers, checked_spacing

COLOURS = ["red", "green", "blue"]
OWN_SCALE = (-1.0, 1.0)
MOST_CHANNELS = 4  # a shorter first axis of a three-axis array is channels, a longer one is slices


@dataclass(frozen=True, eq=False)
class Shown:
    """One image as it is drawn.

    Args:
        values: float32 (C, [D,] H, W); C is 1, or 3 for a colour image.
        window: the values drawn black and white.
        spacing_mm: millimetres per pixel along ([D,] H, W), or None where unknown.
        title: what it is, real or synthetic, and its source.
        facts: which image, which channel, its size.
        channels: how many the source has.
        channel: the one that is drawn; None where all are.
    """

    values: np.ndarray
    window: tuple[float, float]
    spacing_mm: tuple[float, ...] | None
    title: str
    facts: str
    channels: int = 1
    channel: int | None = 0

    @property
    def size(self) -> tuple[int, ...]:
        """([D,] H, W)."""
        return self.values.shape[1:]

    @property
    def steps(self) -> tuple[float, ...]:
        """Spacing to draw with: millimetres, or equal steps where they are unknown."""
        return self.spacing_mm or (1.0,) * len(self.size)

    def grey(self, plane: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 picture of a (C, H, W) plane of its values."""
        low, high = self.window
        share = np.clip((plane - low) / (high - low), 0, 1).transpose(1, 2, 0)
        return np.broadcast_to(share * 255 + 0.5, (*share.shape[:2], 3)).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class _Source:
    """What a source says of itself, before a channel is chosen."""

    values: np.ndarray
    names: list[str]
    title: str
    facts: str = ""
    spacing_mm: tuple[float, ...] | None = None
    window: tuple[float, float] | None = None


def shown(source: Any, *, channel: str | int | None = None, spacing_mm: tuple[float, ...] | None = None) -> Shown:
    """The image to draw.

    Args:
        source: a cohort (its first image), or an array or tensor (H, W), (D, H, W), (C, H, W) or (C, D, H, W). Three axes of which
            the first is at most 4 long are channels, unless three spacings are given.
        channel: name or number; without it all three of a colour image, else the first.
        spacing_mm: of a source that states none, along ([D,] H, W).
    Raises:
        DataError: nothing to show, no numbers, NaN, another number of axes, a batch, channels last, an unknown channel, a spacing that does not fit.
    """
    found = _of_cohort(source) if isinstance(source, Cohort) else _of_array(source, spacing_mm)
    values, names = found.values, found.names
    if bad := int((~np.isfinite(values)).sum()):
        raise DataError(f"{found.title}: {bad} of {values.size} values are NaN or infinite; replace them, for instance with numpy.nan_to_num")
    if found.spacing_mm is not None and spacing_mm is not None:
        raise DataError(f"{found.title} states its spacing ({_text(found.spacing_mm)} mm); leave spacing_mm out")
    spacing = found.spacing_mm or checked_spacing(spacing_mm, values.shape[1:])
    number = None if channel is None and names == COLOURS and values.ndim == 3 else _channel(0 if channel is None else channel, names)
    chosen = values if number is None else values[number : number + 1]
    size = " × ".join(map(str, values.shape[1:])) + (f" at {_text(spacing)} mm" if spacing else ", spacing unknown")
    which = f"channel {names[number]} of {', '.join(names)}" if number is not None and len(names) > 1 else ""
    facts = " · ".join(part for part in (found.facts, which, size) if part)
    return Shown(np.ascontiguousarray(chosen), found.window or _window(chosen), spacing, found.title, facts, len(values), number)


def _of_cohort(cohort: Cohort) -> _Source:
    if not len(cohort):
        raise DataError("an empty cohort has no image to show; its condition may match no row")
    channels = cohort.space.channels
    names = COLOURS if [c.kind for c in channels] == ["colour"] * 3 else [c.name for c in channels]
    which = f"image {cohort.table['image_id'].iloc[0]}" + (f", the first of {len(cohort)} (cohort[i] picks another)" if len(cohort) > 1 else "")
    title = f"{cohort.provenance.kind.capitalize()}: {cohort.provenance.source}"
    return _Source(cohort.images[0].numpy(), names, title, which, cohort.space.spacing_mm, OWN_SCALE)


def _of_array(source: Any, spacing_mm: Any) -> _Source:
    values = as_numbers(source, "the image", "give a Cohort, an array or a tensor. Files are read by sk.load(path)")
    if values.ndim not in (2, 3, 4) or 0 in values.shape:
        raise DataError(f"the image has shape {values.shape}; give (H, W), (D, H, W), or (C, [D,] H, W): one image, not a batch")
    _refuse_misread(values.shape, spacing_mm)
    deep = len(values) > MOST_CHANNELS or (isinstance(spacing_mm, (tuple, list)) and len(spacing_mm) == 3)
    if values.ndim == 2 or (values.ndim == 3 and deep):
        values = values[None]
    names = COLOURS if len(values) == 3 and values.ndim == 3 else [str(i) for i in range(len(values))]
    return _Source(values.astype(np.float32), names, "Array: where it comes from is not recorded")


def _refuse_misread(shape: tuple[int, ...], spacing_mm: Any) -> None:
    """DataError for a batch and for channels that stand last: both would pass for volumes."""
    if len(shape) == 4 and shape[1] == 1:
        raise DataError(f"the image has shape {shape}: it looks like a batch (N, 1, H, W); give one image, e.g. batch[0]")
    if len(shape) == 3 and shape[0] > MOST_CHANNELS and shape[2] in (3, 4) and spacing_mm is None:
        moved = "move them to the front with numpy.moveaxis(image, -1, 0), or give a volume as (1, D, H, W)"
        raise DataError(f"the image has shape {shape}: its channels stand last; {moved}")


def _channel(channel: str | int, names: list[str]) -> int:
    if channel in names:
        return names.index(str(channel))
    if isinstance(channel, (int, np.integer)) and not isinstance(channel, bool) and 0 <= channel < len(names):
        return int(channel)
    raise DataError(f"channel {channel!r} is not one of {', '.join(names)} (or 0..{len(names) - 1})")


def _window(values: np.ndarray) -> tuple[float, float]:
    """An array in synthkit's own scale is drawn in it, any other from its lowest to its highest value."""
    low, high = float(values.min()), float(values.max())
    if -1 <= low < -0.5 and high <= 1:
        return OWN_SCALE
    return (low, high) if low < high else (low - 1, low + 1)


def _text(spacing: tuple[float, ...]) -> str:
    return " × ".join(f"{s:.3g}" for s in spacing)
