"""Files that synthkit itself has exported (DICOM, PNG, NIfTI): the record that each carries, and the cohort read back from them exactly."""
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import DataError

if TYPE_CHECKING:
    pass

GROUP, CREATOR = 0x0099, "SYNTHKIT"  # the private block of DICOM: element 01 holds the record, 02 what reading back needs
RECORD, ROW = "synthkit-record", "synthkit-row"  # the same in text chunks of PNG and in a comment of NIfTI
SIDECAR = "lineage.json"  # beside the files: the whole history, and how many images there are


@dataclass(frozen=True, eq=False)
class Exported:
    """One exported file.

    Args:
        record: the canonical record of its image.
        told: which image, channel and slice of which export it is, and the image's row.
        pixels: the stored integers as they lie in the file.
    """

    record: bytes
    told: dict[str, Any]
    pixels: np.ndarray

    @property
    def whole(self) -> bool:
        """Whether the file holds all of the image's pixels."""
        return self.told["slice"] is None and self.told["channels"] == 1 or self.told["channel"] is None


def read_exported(path: Path) -> Exported | None:
    """What an exported file holds; None for files of others."""
    reader = next((read for suffix, read in READERS.items() if path.name.lower().endswith(suffix)), _of_dicom)
    try:
        return reader(path)
    except (OSError, ValueError, KeyError, AttributeError, SyntaxError, EOFError):
        return None


def _of_dicom(path: Path) -> Exported | None:
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        dataset = dcmread(path)
    except InvalidDicomError:
        return None
    block = dataset.private_block(GROUP, CREATOR)
    pixels = dataset.pixel_array
    return Exported(block[0x01].value.encode(), json.loads(block[0x02].value), np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels)


def _of_png(path: Path) -> Exported:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        pixels = np.asarray(image)
        return Exported(image.text[RECORD].encode(), json.loads(image.text[ROW]), np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels)


def _of_nifti(path: Path) -> Exported:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
    except ImageFileError as error:
        raise ValueError("no NIfTI") from error
    comments = [json.loads(one.get_content()) for one in image.header.extensions if one.get_code() == 6]
    own = next(one for one in [*comments, {}] if RECORD in one or not one)
    pixels = np.asarray(image.dataobj).transpose(2, 1, 0)
    return Exported(own[RECORD].encode(), own[ROW], pixels[0] if own[ROW]["flat"] else pixels)


READERS: dict[str, Callable[[Path], Exported | None]] = {".png": _of_png, ".nii.gz": _of_nifti, ".nii": _of_nifti}


def sidecar(folder: Path) -> dict[str, Any] | None:
    """What belongs to all files of an export; None in other folders."""
    try:
        side = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        return side if side.get("synthkit export") else None
    except (OSError, ValueError, AttributeError):
        return None


def load_own(folder: Path) -> Cohort:
    """The cohort that was exported: the same stored integers, factors, ids and lineage.

    Raises:
        DataError: a file or slice is missing, or one that is of another export.
    """
    side = sidecar(folder)
    if side is None:
        raise DataError(f"{folder} is no export of synthkit: {SIDECAR} is missing or damaged")
    space, schema = Space.from_json(side["space"]), Schema.from_json(side["schema"])
    raw = np.empty((side["images"], *space.shape), space.dtype)
    filled = np.zeros((side["images"], len(space.channels), space.size[0] if space.dims == 3 else 1), bool)
    rows: dict[int, dict[str, Any]] = {}
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and not any(part.startswith(".") for part in one.relative_to(folder).parts)):
        if path.name not in (SIDECAR, "table.csv"):
            _place(path, side, raw, filled, rows)
    lost = int((~filled).any((1, 2)).sum())
    if lost:
        raise DataError(f"{folder} is an export of synthkit in which {lost} of {side['images']} images are not there or not whole; export the cohort again")
    table = pd.DataFrame([rows[number] for number in range(side["images"])], columns=side["columns"])
    return Cohort.of(raw, table, schema=schema, space=space, provenance=Provenance.from_json(side["provenance"]), notes=tuple(side["notes"]))


def _place(path: Path, side: dict[str, Any], raw: np.ndarray, filled: np.ndarray, rows: dict[int, dict[str, Any]]) -> None:
    found = read_exported(path)
    if found is None or found.told["export"] != side["synthkit export"]:
        raise DataError(f"{path} is not of the export that {SIDECAR} beside it speaks of; keep exports in folders of their own")
    number, channel, part = (found.told[name] for name in ("number", "channel", "slice"))
    place = (number,) if channel is None else (number, channel) if part is None else (number, channel, part)
    if raw[place].shape != found.pixels.shape:
        raise DataError(f"{path} holds {found.pixels.shape} pixels, not {raw[place].shape}; export the cohort again")
    raw[place], filled[place], rows[number] = found.pixels, True, found.told["row"]
