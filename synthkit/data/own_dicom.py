"""DICOM files that synthkit itself has written: the record and the row that they carry, and the cohort read back from them exactly."""
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.lineage import read_record
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

GROUP, CREATOR = 0x0099, "SYNTHKIT"  # the private block: element 01 holds the canonical record, 02 what reading back needs
SIDECAR = "lineage.json"  # beside the files: the whole history, and how many images there are
GONE = "an export of synthkit of which something is missing: {}; export the cohort again"


def own_block(dataset: "Dataset") -> tuple[bytes, dict[str, Any]] | None:
    """The record and the row in a dataset; None in files of others."""
    try:
        block = dataset.private_block(GROUP, CREATOR)
        return block[0x01].value.encode(), json.loads(block[0x02].value)
    except (KeyError, ValueError, AttributeError):
        return None


def read_dicom_record(path: Path) -> bytes | None:
    """The canonical record in a DICOM file; None where it carries none."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        found = own_block(dcmread(path, stop_before_pixels=True))
    except (InvalidDicomError, OSError):
        return None
    return found[0] if found else None


def is_own(folder: Path) -> bool:
    """Whether a folder is an export by `synthkit.to_dicom`."""
    try:
        return "dicom" in json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def load_own(folder: Path) -> Cohort:
    """The cohort that was exported: the same stored integers, factors, ids and lineage.

    Raises:
        DataError: a file or slice is missing, or one that is of another export.
    """
    side = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
    space, schema = Space.from_json(side["space"]), Schema.from_json(side["schema"])
    raw = np.empty((side["images"], *space.shape), space.dtype)
    filled, rows = np.zeros((side["images"], len(space.channels), space.size[0] if space.dims == 3 else 1), bool), {}
    for path in sorted(folder.rglob("*.dcm")):
        _place(path, side, raw, filled, rows)
    if not filled.all():
        raise DataError(f"{folder} is " + GONE.format(f"{int((~filled).any((1, 2)).sum())} of {side['images']} images are not there or not whole"))
    return _cohort([rows[number] for number in range(side["images"])], raw, schema, space, side)


def _place(path: Path, side: dict[str, Any], raw: np.ndarray, filled: np.ndarray, rows: dict[int, dict[str, Any]]) -> None:
    from pydicom import dcmread

    dataset = dcmread(path)
    found = own_block(dataset)
    if found is None or found[1]["export"] != side["dicom"]:
        raise DataError(f"{path} is not of the export that {SIDECAR} beside it speaks of; keep exports in folders of their own")
    told = found[1]
    pixels, number = dataset.pixel_array, told["number"]
    if told["channel"] is None:  # colours together
        raw[number], filled[number] = np.moveaxis(pixels, -1, 0), True
    elif told["slice"] is None:
        raw[number, told["channel"]], filled[number, told["channel"]] = pixels, True
    else:
        raw[number, told["channel"], told["slice"]], filled[number, told["channel"], told["slice"]] = pixels, True
    rows[number] = told["row"]


def _cohort(rows: list[dict[str, Any]], raw: np.ndarray, schema: Schema, space: Space, side: dict[str, Any]) -> Cohort:
    table = pd.DataFrame(rows, columns=side["columns"])
    return Cohort.of(raw, table, schema=schema, space=space, provenance=Provenance.from_json(side["provenance"]), notes=tuple(side["notes"]))


def origin_of(record: bytes) -> Provenance:
    """What a record alone tells of where its image comes from."""
    told = read_record(record)
    parents = tuple(Provenance(parent["kind"], parent["source"], digests=parent["digests"]) for parent in told["parents"])
    origin = Provenance(told["kind"], told["source"], told["recipe"], told["seed"], told["digests"], licence=told["licence"], parents=parents)
    return replace(origin, code=told["code"])


