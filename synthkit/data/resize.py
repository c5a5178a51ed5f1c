"""Bringing a picture to the wanted size and spacing, antialiased, with its spacing kept true.

The aspect in the plane is kept: the image is scaled to fit and padded with the darkest value, so nothing of the
anatomy is cut and nothing is squeezed. A volume's slices are brought to the wanted number apart from that.
Where the spacing is what is asked for, the scale is given, and size= then pads or crops around the middle.
"""
from dataclasses import replace

import numpy as np

from synthkit.data.options import Options
from synthkit.data.picture import Picture, Unreadable

LONGEST = 8192


def fit(picture: Picture, options: Options) -> Picture:
    """The picture as the options want it; unchanged where they ask for nothing."""
    dims = len(picture.size)
    size, spacing = options.target_size(dims), options.target_spacing(dims)
    if spacing and picture.spacing_mm:
        scaled = tuple(max(1, round(n * have / want)) for n, have, want in zip(picture.size, picture.spacing_mm, spacing))
        if max(scaled) > LONGEST:
            raise Unreadable(f"at the wanted spacing it would have {' x '.join(map(str, scaled))} pixels")
        picture = replace(_scale(picture, scaled), spacing_mm=spacing)
    elif spacing:
        picture = replace(picture, spacing_mm=spacing)
        picture = picture if size is None else _scale(picture, _inside(picture.size, size))
    elif size is not None:
        picture = _scale(picture, _inside(picture.size, size))
    return picture if size is None else replace(picture, pixels=_centred(picture.pixels, size, [c.low for c in picture.channels]))


def _inside(size: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """The largest plane of the same aspect inside the wanted one; slices as wanted."""
    factor = min(want / n for n, want in zip(size[-2:], wanted[-2:]))
    return (*wanted[:-2], *(max(1, round(n * factor)) for n in size[-2:]))


def _scale(picture: Picture, size: tuple[int, ...]) -> Picture:
    if size == picture.size:
        return picture
    spacing = picture.spacing_mm and tuple(step * n / new for step, n, new in zip(picture.spacing_mm, picture.size, size))
    return replace(picture, pixels=resample(picture.pixels, size), spacing_mm=spacing)


def resample(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Integers (C, [D,] H, W) at another size; when shrinking, every source pixel counts (antialiased triangle filter)."""
    planes = pixels.reshape(-1, *pixels.shape[-2:])
    out = np.stack([_plane(plane, size[-2:]) for plane in planes]).reshape(*pixels.shape[:-2], *size[-2:])
    if len(size) == 3 and size[0] != pixels.shape[1]:
        out = np.stack([_plane(channel.reshape(len(channel), -1), (size[0], channel[0].size)).reshape(size) for channel in out])
    ends = np.iinfo(pixels.dtype)
    return np.clip(np.rint(out), ends.min, ends.max).astype(pixels.dtype)


def _plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    from PIL import Image

    if plane.shape == size:
        return plane.astype(np.float32)
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _centred(pixels: np.ndarray, size: tuple[int, ...], fill: list[float]) -> np.ndarray:
    """Cropped or padded around the middle to the size."""
    if pixels.shape[1:] == size:
        return pixels
    out = np.empty((len(pixels), *size), pixels.dtype)
    out[:] = np.asarray(fill).reshape(-1, *(1,) * len(size))
    source, target = [slice(None)], [slice(None)]
    for have, want in zip(pixels.shape[1:], size):
        source.append(slice(max(0, (have - want) // 2), max(0, (have - want) // 2) + min(have, want)))
        target.append(slice(max(0, (want - have) // 2), max(0, (want - have) // 2) + min(have, want)))
    out[tuple(target)] = pixels[tuple(source)]
    return out
