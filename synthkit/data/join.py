"""Joining table rows to files: by path, name or stem, or by what a DICOM header says."""
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.headings import as_text
from synthkit.data.dicom_header import JOIN_KEYS
from synthkit.data.files import stem
from synthkit.data.picture import Picture
from synthkit.data.tables import find_column
from synthkit.errors import DataError

Unit = tuple[str, ...]  # the files that were read together


@dataclass(frozen=True, eq=False)
class Join:
    """Which table row belongs to each picture.

    Args:
        rows: (N,) row number per picture, -1 where the table has none.
        column: the column that was joined by.
        notes: what did not meet, in counts.
    """

    rows: np.ndarray
    column: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Key:
    """One way to name files: `single` where a row may name only one file."""

    label: str
    single: bool
    of_file: Callable[[str], str] | None = None
    of_cell: Callable[[str], str] = str.lower


def _tail(count: int) -> Callable[[str], str]:
    return lambda path: "/".join(path.replace("\\", "/").lower().rsplit("/", count)[-count:])


KEYS = (
    *(_Key("file name" if n == 1 else f"last {n} parts of the path", True, _tail(n), _tail(n)) for n in (1, 2, 3, 4)),
    _Key("file stem", True, lambda path: stem(path).lower(), lambda cell: stem(cell).lower()),
    *(_Key(label, label == "SOPInstanceUID") for label in JOIN_KEYS),
    _Key("folder", False, lambda path: ("/" + path).lower().rsplit("/", 2)[1]),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Try:
    """How well one column meets one key."""

    column: str
    key: _Key
    units_of_row: dict[int, set[Unit]]
    rows_of_unit: dict[Unit, set[int]]

    @property
    def matched(self) -> int:
        return len(self.rows_of_unit)

    @property
    def repeated_row(self) -> int | None:
        return next((row for row, units in self.units_of_row.items() if self.key.single and len(units) > 1), None)

    @property
    def repeated_unit(self) -> Unit | None:
        return next((unit for unit, rows in self.rows_of_unit.items() if len(rows) > 1), None)

    @property
    def clean(self) -> bool:
        return self.repeated_row is None and self.repeated_unit is None


def join_rows(table: pd.DataFrame, pictures: Sequence[Picture], *, join: str | None) -> Join:
    """Match rows to pictures by the column `join`, or by the one that fits best.

    Raises:
        DataError: no row meets a file, one row names several files, or several rows name one.
    """
    columns = [find_column(table, join, argument="join")] if join else [str(c) for c in table.columns]
    named = {key: _named(key, pictures) for key in KEYS}
    texts = {column: as_text(table[column]).tolist() for column in columns}
    tries = [t for column in columns for key in KEYS if (t := _attempt(texts[column], column, key, named[key])).matched]
    if not tries:
        raise DataError(_no_match(table, pictures, join))
    # A row number or an age may equal some patient id by chance, so a guess wants one row per file, and trusts names of files more.
    guessed = join is None
    best = max(tries, key=lambda t: (t.clean or not guessed, t.matched * (1 if t.key.single else 0.5), t.clean, -KEYS.index(t.key)))
    if best.repeated_unit is not None:
        rows = ", ".join(str(row + 1) for row in sorted(best.rows_of_unit[best.repeated_unit])[:5])
        raise DataError(f"{best.repeated_unit[0]} is named by several rows of column {best.column!r} (rows {rows}); keep one row for each image")
    if best.repeated_row is not None:
        files = ", ".join(sorted(unit[0] for unit in best.units_of_row[best.repeated_row])[:3])
        cell = table[best.column].iloc[best.repeated_row]
        raise DataError(f"row {best.repeated_row + 1} ({best.column}: {cell!r}) names several files: {files}; give paths with their folders")
    rows = np.array([next(iter(best.rows_of_unit.get(p.files, {-1}))) for p in pictures])
    return Join(rows, best.column, _notes(rows, len(table), best))


def _named(key: _Key, pictures: Sequence[Picture]) -> dict[str, set[Unit]]:
    """What the files are called by one key."""
    named: dict[str, set[Unit]] = defaultdict(set)
    for picture in pictures:
        texts = {key.of_file(file) for file in picture.files} if key.of_file else {picture.keys.get(key.label, "").lower()}
        for text in texts - {""}:
            named[text].add(picture.files)
    return named


def _attempt(cells: Sequence[str | None], column: str, key: _Key, named: dict[str, set[Unit]]) -> _Try:
    units_of_row, rows_of_unit = defaultdict(set), defaultdict(set)
    for row, cell in enumerate(cells if named else ()):
        for unit in named.get(key.of_cell(cell), ()) if cell else ():
            units_of_row[row].add(unit)
            rows_of_unit[unit].add(row)
    return _Try(column, key, units_of_row, rows_of_unit)


def _no_match(table: pd.DataFrame, pictures: Sequence[Picture], join: str | None) -> str:
    files = ", ".join(picture.files[0] for picture in pictures[:3])
    if join is None:
        return f"no column of the table names the files ({', '.join(map(str, table.columns))}); files are {files}. Name the column with join="
    column = find_column(table, join, argument="join")
    cells = ", ".join(repr(cell) for cell in as_text(table[column]).dropna()[:3])
    return f"no row of the table matches a file: column {column!r} holds {cells}; the files are {files}. Give another join= or table="


def _notes(rows: np.ndarray, total: int, best: _Try) -> tuple[str, ...]:
    notes = [f"Table rows were joined to images by the column {best.column!r} ({best.key.label})."]
    without = int((rows < 0).sum())
    unused = total - len(set(rows[rows >= 0].tolist()))
    if without:
        notes.append(f"{without} of {len(rows)} images have no row in the table: their factors are missing.")
    if unused:
        notes.append(f"{unused} of {total} table rows name no image that was read.")
    return tuple(notes)
