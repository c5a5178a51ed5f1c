"""Arrays in .npz files: `images` or `volumes` with one row per image, and MedMNIST's train/val/test layout."""
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core.provenance import pixel_digest
from synthkit.core.space import Channel
from synthkit.data.options import Options
from synthkit.data.picture import COLOURS, Picture, Skip, Unreadable, grey, require_content
from synthkit.data.resize import fit
from synthkit.errors import DataError

KEYS = ("images", "volumes")
PARTS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Stack:
    """Images of an array file.

    Args:
        values: (N, H, W), (N, H, W, 3) or (N, D, H, W), any type of number.
        volumes: whether the last three axes are one volume.
        table: what the file itself says of each image (MedMNIST: split and labels), else no columns.
    """

    values: np.ndarray
    volumes: bool
    table: pd.DataFrame


def array_file(folder: Path) -> Path | None:
    """The array file of a folder: images.npz or volumes.npz, else its only .npz where no other holds arrays of images."""
    named = [folder / f"{key}.npz" for key in KEYS if (folder / f"{key}.npz").is_file()]
    others = sorted(folder.glob("*.npz"))
    return named[0] if named else others[0] if len(others) == 1 else None


def read_arrays(path: Path) -> Stack:
    """The images of an .npz file.

    Raises:
        DataError: damaged, or without images; the message names the keys that it has.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            names = file.files
            if all(f"{part}_images" in names for part in PARTS[:1]):
                return _medmnist({name: file[name] for name in names if name.split("_")[0] in PARTS})
            key = next((key for key in KEYS if key in names), names[0] if len(names) == 1 else None)
            values = file[key] if key else None
    except (OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} is truncated or damaged, or holds Python objects ({type(error).__name__}); make it again") from error
    if values is None or values.ndim not in (3, 4):
        shape = "" if values is None else f" of shape {values.shape}"
        raise DataError(f"{path.name} holds {', '.join(names) or 'nothing'}{shape}; it needs `images` (N, H, W[, 3]) or `volumes` (N, D, H, W)")
    volumes = key == "volumes" or (values.ndim == 4 and values.shape[-1] != 3)
    return Stack(values, volumes, pd.DataFrame(index=range(len(values))))


def _medmnist(arrays: dict[str, np.ndarray]) -> Stack:
    """MedMNIST v2: {train,val,test}_images and _labels (N, K) (Yang et al. 2023)."""
    parts = [part for part in PARTS if f"{part}_images" in arrays]
    values = np.concatenate([arrays[f"{part}_images"] for part in parts])
    table = pd.DataFrame({"split": np.repeat(parts, [len(arrays[f"{part}_images"]) for part in parts])})
    if all(f"{part}_labels" in arrays for part in parts):
        labels = np.concatenate([arrays[f"{part}_labels"].reshape(len(arrays[f"{part}_images"]), -1) for part in parts])
        for number, column in enumerate(labels.T):
            table["label" if labels.shape[1] == 1 else f"label_{number}"] = column
    return Stack(values, values.ndim == 4 and values.shape[-1] != 3, table)


def array_pictures(stack: Stack, options: Options, *, channel: str = "grey") -> tuple[list[Picture], list[Skip]]:
    """One picture per row; a row with NaN or without contrast is skipped under the name "row N".

    Truth values become 0 and 255, numbers from 0 to 1 are spread over 16 bits, whole numbers that fit 8 or 16 bits stay.
    """
    pictures, skips = [], []
    whole_digest = pixel_digest(stack.values)
    factor, dtype = _storage(stack) if options.window is None else (1, None)
    for row, values in enumerate(stack.values):
        try:
            require_content(values)
            whole = values if dtype is None else np.rint(values * factor).astype(dtype)
            pixels, channels = _row(whole, stack, options, channel)
            pictures.append(fit(Picture(pixels, channels, (f"row {row}",), f"{whole_digest} row {row}"), options))
        except Unreadable as error:
            if options.strict:
                raise DataError(f"row {row} of the array: {error}. strict=True stops at the first such image") from error
            skips.append(Skip(f"row {row}", str(error), is_file=False))
    return pictures, skips


def _row(values: np.ndarray, stack: Stack, options: Options, channel: str) -> tuple[np.ndarray, tuple[Channel, ...]]:
    if values.ndim == 2 or stack.volumes:
        pixels, one = grey(values, channel, window=options.window)
        return pixels, (one,)
    if values.dtype not in (np.uint8, np.uint16):
        raise Unreadable("its colours are not whole numbers from 0 to 255 or 65535")
    high = float(np.iinfo(values.dtype).max)
    return np.moveaxis(values, -1, 0), tuple(Channel(name, "colour", high=high) for name in COLOURS)


def _storage(stack: Stack) -> tuple[int, type | None]:
    """(factor, integer type) in which all rows are stored alike; no type where each is spread over its own percentiles."""
    values = stack.values
    if values.dtype == bool:
        return 255, np.uint8
    low, high = (np.nanmin(values), np.nanmax(values)) if values.size else (0, 0)
    if values.dtype.kind in "iu" and 0 <= low and high <= 65535:
        return 1, np.uint8 if high <= 255 else np.uint16
    if values.dtype.kind == "f" and 0 <= low and high <= 1:
        return 65535, np.uint16
    return 1, None
