"""What one image is: size, channels, spacing, and the map between stored integers and [-1, 1]."""
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from synthkit.errors import DataError

KINDS = ("modality", "colour", "mask")


@dataclass(frozen=True)
class Channel:
    """One channel: stored integers low..high map to -1..1 (the window); outside is clipped.

    Args:
        name: "xray", "T1", "red".
        kind: modality, colour or mask.
        low, high: window in stored units.
        unit: "HU" where the integers are a physical unit, else empty.
    """

    name: str
    kind: str = "modality"
    low: float = 0.0
    high: float = 255.0
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"channel {self.name}: kind {self.kind!r} is not one of {', '.join(KINDS)}")
        for name, end in (("low", self.low), ("high", self.high)):
            object.__setattr__(self, name, end.item() if isinstance(end, np.generic) else end)
        if not self.low < self.high:
            raise DataError(f"channel {self.name}: the window {self.low:g}..{self.high:g} is empty")


@dataclass(frozen=True)
class Space:
    """Image geometry of a cohort.

    Args:
        size: (H, W) or (D, H, W) in pixels.
        channels: one or more.
        spacing_mm: millimetres per pixel along `size`, or None where unknown (then nothing is claimed in mm).
    """

    size: tuple[int, ...]
    channels: tuple[Channel, ...]
    spacing_mm: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", tuple(int(n) for n in self.size))
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.spacing_mm is not None:
            object.__setattr__(self, "spacing_mm", tuple(float(s) for s in self.spacing_mm))
        if len(self.size) not in (2, 3) or min(self.size) < 1:
            raise DataError(f"size {self.size} is neither (height, width) nor (depth, height, width)")
        if not self.channels:
            raise DataError("an image needs at least one channel")
        if self.spacing_mm is not None and len(self.spacing_mm) != len(self.size):
            raise DataError(f"spacing_mm {self.spacing_mm} does not fit size {self.size}")

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.size)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, [D,] H, W)."""
        return (len(self.channels), *self.size)

    @property
    def parts(self) -> tuple[tuple[int, ...], ...]:
        """Channel numbers of what is there or missing as a whole: each modality, each mask, and all colours together."""
        colours = tuple(number for number, channel in enumerate(self.channels) if channel.kind == "colour")
        alone = [(number,) for number, channel in enumerate(self.channels) if channel.kind != "colour"]
        return tuple(sorted([*alone, *([colours] if colours else [])]))

    def _window(self) -> tuple[np.ndarray, np.ndarray]:
        ends = np.array([(c.low, c.high) for c in self.channels], np.float64).T
        column = (-1, *(1,) * self.dims)
        return ends[0].reshape(column), ends[1].reshape(column)

    def to_float(self, raw: np.ndarray) -> torch.Tensor:
        """Stored integers (..., C, [D,] H, W) to float32 in [-1, 1]."""
        low, high = self._window()
        scaled = np.asarray(raw, np.float32) * np.float32(2) / (high - low).astype(np.float32)
        scaled -= ((low + high) / (high - low)).astype(np.float32)
        return torch.from_numpy(np.clip(scaled, -1, 1))

    def to_raw(self, images: torch.Tensor) -> np.ndarray:
        """Float images in [-1, 1] to the integers of this space, rounded."""
        low, high = self._window()
        values = (images.detach().cpu().double().clamp(-1, 1).numpy() + 1) / 2 * (high - low) + low
        return np.rint(values).astype(self.dtype)

    @property
    def dtype(self) -> np.dtype:
        """The smallest of uint8, uint16, int16 that holds every channel's window."""
        low, high = min(c.low for c in self.channels), max(c.high for c in self.channels)
        for kind in (np.uint8, np.uint16, np.int16):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return np.dtype(kind)
        raise DataError(f"the window {low:g}..{high:g} does not fit 16 bits; give a narrower window=")

    def sixteen_bit(self) -> "Space":
        """This space with unitless channels on the full 16-bit scale: how generated images are stored."""
        # Beside a channel in HU, which needs a sign, fifteen bits are left.
        top = 32767.0 if any(c.unit and c.low < 0 for c in self.channels) else 65535.0
        wide = [c if c.unit else replace(c, low=0.0, high=top) for c in self.channels]
        return replace(self, channels=tuple(wide))

    def matches(self, other: "Space") -> bool:
        """Whether images of both fit together, whatever the integer scale; see `difference`."""
        return not self.difference(other)

    def difference(self, other: "Space") -> str:
        """What keeps images of two spaces apart, in words: size, channels, or the window of a channel in a unit such as HU."""
        if self.size != other.size:
            return f"sizes {self.size} and {other.size}"
        ours, theirs = [c.name for c in self.channels], [c.name for c in other.channels]
        # One plain channel is one, whatever the file called it.
        if ours != theirs and not (len(ours) == len(theirs) == 1 and self.channels[0].kind == other.channels[0].kind and not self.channels[0].unit):
            return f"channels {', '.join(ours)} and {', '.join(theirs)}"
        for a, b in zip(self.channels, other.channels):
            if (a.unit or b.unit) and (a.low, a.high, a.unit) != (b.low, b.high, b.unit):
                return f"windows of {a.name} {a.low:g}..{a.high:g} {a.unit or '(no unit)'} and {b.low:g}..{b.high:g} {b.unit or '(no unit)'}"
        return ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Space":
        spacing = data["spacing_mm"]
        return Space(tuple(data["size"]), tuple(Channel(**c) for c in data["channels"]), tuple(spacing) if spacing else None)
