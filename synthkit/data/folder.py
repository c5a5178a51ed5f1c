"""A folder or file of the user's own as a cohort, whatever of the known layouts it has."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core import store
from synthkit.core.cohort import Cohort
from synthkit.core.headings import as_text, snake
from synthkit.data.arrays import array_file, array_pictures, read_arrays
from synthkit.data.assemble import Origin, assemble
from synthkit.data.files import KNOWN_SUFFIXES, image_files, read_files
from synthkit.data.join import join_rows
from synthkit.data.options import Options
from synthkit.data.own_export import load_own, sidecar
from synthkit.data.picture import Picture
from synthkit.data.tables import find_column, read_table, tables_in
from synthkit.errors import DataError, StoreError


def load_folder(source: Path, options: Options) -> Cohort:
    """A cohort from DICOM, NIfTI or image files (with a table or not), from arrays, or as saved by `cohort.save`.

    Raises:
        DataError: nothing there to read, or files and table that do not fit together.
    """
    if source.is_dir() and store.is_saved(source):
        return _saved(source, options)
    if (source / store.UNFINISHED).is_dir():
        raise store.missing(source)
    if source.is_dir() and not asked(options) and sidecar(source):
        return load_own(source)
    arrays = source if source.suffix == ".npz" else array_file(source) if source.is_dir() else None
    if arrays is not None and (source.is_file() or arrays.stem in ("images", "volumes") or not _has_images(source)):
        return _load_arrays(arrays, options)
    return _load_files(source, options)


def _has_images(folder: Path) -> bool:
    return any(path.name.lower().endswith(KNOWN_SUFFIXES) for path in image_files(folder))


def asked(options: Options) -> list[str]:
    """The options that were given."""
    return [name for name, value in vars(options).items() if value is not None and value is not False]


def _saved(folder: Path, options: Options) -> Cohort:
    if asked(options):
        raise StoreError(f"{folder} holds a saved cohort, which is read back as it is: leave out {asked(options)[0]}=, or load the original files")
    return store.load(folder)


def _load_files(source: Path, options: Options) -> Cohort:
    folder = source if source.is_dir() else source.parent
    pictures, skips = read_files(source, options)
    if not pictures and not skips:
        held = ", ".join(sorted(path.name for path in folder.iterdir())[:5]) or "nothing"
        raise DataError(f"{source} holds no image files (it holds {held}); synthkit reads DICOM, NIfTI, PNG, JPEG, TIFF, BMP, WebP and npz")
    dicom = any(picture.facts for picture in pictures)
    table, given = options.table, options.table is not None
    if not given and not dicom and len(tables_in(folder)) == 1:
        table = tables_in(folder)[0]
    rows, notes = pd.DataFrame(index=range(len(pictures))), ()
    if table is not None and pictures:
        rows, notes = _joined(read_table(table, folder), pictures, options, strict=given)
    layout = "DICOM files" if dicom else "volumes" if pictures and len(pictures[0].size) == 3 else "image files"
    return assemble(pictures, rows, skips, options, Origin(f"own {layout}", layout, notes=notes))


def _joined(table: pd.DataFrame, pictures: Sequence[Picture], options: Options, *, strict: bool) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table's rows in the order of the pictures, without the column that was joined by."""
    try:
        join = join_rows(table, pictures, join=options.join)
    except DataError:
        if strict or options.join:
            raise
        return pd.DataFrame(index=range(len(pictures))), ("The folder's table was not used, since no column of it names the files.",)
    rows = _rows(table, join.rows)
    patient = find_column(table, options.patient, argument="patient") if options.patient else None
    return rows.drop(columns=[join.column] if join.column != patient else []), join.notes


def _rows(table: pd.DataFrame, numbers: np.ndarray) -> pd.DataFrame:
    return table.reindex(np.where(numbers < 0, len(table) + 1, numbers)).reset_index(drop=True)


def _load_arrays(path: Path, options: Options) -> Cohort:
    stack = read_arrays(path)
    table = options.table if options.table is not None else next(iter(_beside(path)), None)
    rows, notes = stack.table, ()
    if table is not None:
        rows, notes = by_index(read_table(table, path.parent), len(stack.values), join=options.join)
        rows = pd.concat([stack.table[[c for c in stack.table if c not in rows]], rows], axis=1)
    pictures, skips = array_pictures(stack, options)
    kept = [int(picture.files[0].removeprefix("row ")) for picture in pictures]
    rows = rows.iloc[kept].reset_index(drop=True)
    return assemble(pictures, rows, skips, options, Origin("own arrays", "arrays", notes=notes))


def _beside(path: Path) -> list[str]:
    """The table beside an array file: metadata.csv, else the folder's only one."""
    tables = tables_in(path.parent)
    return ["metadata.csv"] if "metadata.csv" in tables else tables if len(tables) == 1 else []


def by_index(table: pd.DataFrame, count: int, *, join: str | None) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The table's rows in the order of `count` array rows, by the column `index` (or `join`), else as they stand.

    Raises:
        DataError: numbers that are no row of the array, or stand twice; without such a column, another number of rows.
    """
    column = find_column(table, join, argument="join") if join else next((c for c in table.columns if snake(c) == "index"), None)
    if column is None:
        if len(table) != count:
            raise DataError(f"{count} images but {len(table)} table rows, and no column `index` that says which is which; add it or name it with join=")
        return table, ()
    numbers = pd.to_numeric(as_text(table[column]), errors="coerce")
    unfit = table[column][~(numbers.between(0, count - 1) & (numbers % 1 == 0))]
    if len(unfit):
        raise DataError(f"column {column!r} holds {unfit.iloc[0]!r}, which is no row of the array; allowed are 0 to {count - 1}")
    if numbers.duplicated().any():
        raise DataError(f"column {column!r} names array row {int(numbers[numbers.duplicated()].iloc[0])} twice; keep one table row for each image")
    rows = table.drop(columns=column).set_index(numbers.astype(int)).reindex(range(count)).reset_index(drop=True)
    without = count - len(table)
    return rows, (f"{without} of {count} images have no row in the table: their factors are missing.",) if without else ()
