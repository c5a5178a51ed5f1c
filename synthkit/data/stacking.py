"""From pictures to one block of pixels: one kind, one size, one integer scale."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthkit.core.space import Channel, Space
from synthkit.data.orientation import notes_on_axes
from synthkit.data.picture import COLOURS, Picture, Skip, kind_text
from synthkit.errors import DataError


@dataclass(frozen=True, eq=False)
class Block:
    """Pixels (N, C, [D,] H, W) in one space, with what must be said of them."""

    raw: np.ndarray
    space: Space
    notes: tuple[str, ...]


def one_kind(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Skip]]:
    """The pictures of the kind that most files hold; the others as skips that say so. Grey photographs among colour ones become colour."""
    files: Counter = Counter()
    for picture in pictures:
        files[picture.kind] += len(picture.files)
    chosen = max(files, key=lambda kind: (files[kind], -list(files).index(kind)))
    coloured = [_coloured(p) if chosen[1] == COLOURS and p.kind == (2, ("grey",)) else p for p in pictures]
    kept = [p for p in coloured if p.kind == chosen]
    reason = "it belongs to the {} beside the {} that were loaded; a cohort holds one kind: load these files from a folder of their own"
    left = {file: Skip(file, reason.format(kind_text(p.kind), kind_text(chosen))) for p in coloured if p.kind != chosen for file in p.files}
    return kept, list(left.values())


def _coloured(picture: Picture) -> Picture:
    channels = tuple(replace(picture.channels[0], name=name, kind="colour") for name in COLOURS)
    return replace(picture, pixels=np.repeat(picture.pixels, 3, axis=0), channels=channels)


def stack(pictures: Sequence[Picture]) -> Block:
    """Pictures of one kind as one block.

    Raises:
        DataError: sizes differ; the message lists them with counts.
    """
    sizes = Counter(picture.size for picture in pictures)
    if len(sizes) > 1:
        listed = ", ".join(f"{' x '.join(map(str, size))} ({count})" for size, count in sizes.most_common(8))
        more = f" and {len(sizes) - 8} more" if len(sizes) > 8 else ""
        raise DataError(f"{kind_text(pictures[0].kind)} have different sizes: {listed}{more}; give size=, e.g. size=64")
    dtype = np.result_type(*{picture.pixels.dtype for picture in pictures})
    raw = np.empty((len(pictures), *pictures[0].pixels.shape), dtype)
    for number, picture in enumerate(pictures):
        # 255 * 257 = 65535: eight bits on the sixteen-bit scale.
        raw[number] = picture.pixels.astype(dtype) * 257 if picture.pixels.dtype == np.uint8 and dtype == np.uint16 else picture.pixels
    spacing, notes = _spacing(pictures)
    notes += notes_on_axes(pictures)
    return Block(raw, Space(pictures[0].size, _channels(pictures[0].channels, raw), spacing), notes)


def _channels(channels: Sequence[Channel], raw: np.ndarray) -> tuple[Channel, ...]:
    """Windows as declared; unsigned grey and colour span the bits that are in use (8, 10, 12… 16)."""
    if raw.dtype.kind == "i":
        return tuple(channels)
    bits = max(8, int(raw.max()).bit_length())
    return tuple(replace(c, high=float(2**bits - 1)) for c in channels)


def _spacing(pictures: Sequence[Picture]) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    known = np.array([p.spacing_mm for p in pictures if p.spacing_mm])
    if not len(known):
        return None, ("No file states its pixel spacing: nothing is claimed in mm.",)
    if len(known) < len(pictures):
        return None, (f"{len(pictures) - len(known)} of {len(pictures)} files state no pixel spacing: nothing is claimed in mm.",)
    low, high = known.min(0), known.max(0)
    if (high > 1.01 * low).any():
        ends = f"{' x '.join(f'{s:.3g}' for s in low)} to {' x '.join(f'{s:.3g}' for s in high)} mm"
        return None, (f"The pixel spacing differs from image to image ({ends}): nothing is claimed in mm; give spacing_mm= to bring all to one.",)
    return tuple(float(s) for s in known.mean(0)), ()
