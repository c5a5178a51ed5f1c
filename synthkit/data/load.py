"""`load`: a cohort from a catalog name, a folder or a file, in one line."""
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.data.catalog import entry_names, load_entry, suggest
from synthkit.data.folder import load_folder
from synthkit.data.options import Options
from synthkit.data.remote import fetched, is_remote
from synthkit.errors import DataError


def load(
    source: str | Path,
    *,
    table: str | Path | pd.DataFrame | None = None,
    join: str | None = None,
    patient: str | None = None,
    factors: Schema | Sequence[str | Category | Quantity] | None = None,
    size: int | tuple[int, ...] | None = None,
    spacing_mm: float | tuple[float, ...] | None = None,
    window: tuple[float, float] | None = None,
    strict: bool = False,
) -> Cohort:
    """Images and their clinical table as a cohort.

    Args:
        source: a name of the catalog ("chest-phantom"), a folder of DICOM, NIfTI, image or array files, one such file,
            or a saved cohort, here or behind an address such as "s3://bucket/folder" (a copy is kept in the cache).
            Write "./name" for a folder called like a catalog entry.
        table: a CSV, TSV or Parquet file (its name, where it lies in the folder) or a DataFrame, one row per image. Left
            out, the folder's only table is used; for DICOM it must be named.
        join: its column that names the images: path, file name, stem, array row, or what the DICOM header calls SOP
            Instance UID, Patient ID or Accession Number. Left out, it is found.
        patient: its column that says who is shown. Own ids are stored as keyed codes, never as they are.
        factors: names to keep of what is inferred, or factors, or a Schema. Left out, all that is inferred.
        size: pixels along every axis, or (height, width) or (depth, height, width). The aspect in the plane is kept by
            padding; slices are brought to the wanted number.
        spacing_mm: images that state their spacing are resampled to it, and then cropped or padded to `size`; where
            none states one, it is taken for the spacing of the stored pixels.
        window: (low, high) in stored units, HU for CT (left out: -1000..1000); it replaces a DICOM file's own.
        strict: raise at the first file that cannot be read, instead of listing it in `.skipped`.
    Raises:
        DataError: nothing there, nothing readable, sizes that differ without `size=`, or a table that fits no file.
        SchemaError: a factor without a column, or a value that a declared factor does not allow.
    Example:
        sk.load("my/dicoms", table="labels.csv", join="file", patient="mrn", size=128)
    """
    options = Options(table, join, patient, factors, size, spacing_mm, window, strict)
    if isinstance(source, str) and source in entry_names():
        return load_entry(source, options=options)
    if is_remote(source):
        source = fetched(source)
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{str(source)!r} is neither a file or folder nor a name of the catalog; {suggest(str(source))}")
    return load_folder(path, options)
