"""Clinical tables: read from a file as text, so that no id loses its zeros, and asked for columns by name."""
from pathlib import Path

import pandas as pd

from synthkit.core.headings import closest, snake
from synthkit.errors import DataError

TABLES = (".csv", ".tsv", ".parquet")


def read_table(table: str | Path | pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The table itself, or one read from a file that lies in `folder` or at the path given.

    Raises:
        DataError: no such file (the message lists those in the folder), not a table, or no rows.
    """
    if isinstance(table, pd.DataFrame):
        frame = table.reset_index(drop=True)
    else:
        path = next((p for p in (folder / table, Path(table)) if p.is_file()), None)
        if path is None:
            raise DataError(f"table={str(table)!r} is neither in {folder} nor a path; {closest(table, tables_in(folder))}")
        frame = _parse(path)
    if not len(frame):
        raise DataError("the table has no rows")
    frame.columns = [str(c).strip() for c in frame.columns]
    return frame


def tables_in(folder: Path) -> list[str]:
    """Names of the tables that lie directly in a folder."""
    return sorted(p.name for p in folder.iterdir() if p.suffix.lower() in TABLES and not p.name.startswith(".")) if folder.is_dir() else []


def _parse(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path)
    raw = path.read_bytes()
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise DataError(f"{path.name} is no text in UTF-8; save it as CSV in UTF-8")
    from io import StringIO

    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        return pd.read_csv(StringIO(text), sep=separator, dtype=str, skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path.name} is no table: {error}; save it as CSV with one heading line") from error


def find_column(table: pd.DataFrame, name: str, *, argument: str) -> str:
    """The column of that name, whatever its case and blanks.

    Raises:
        DataError: no such column; the message says which is spelled nearest.
    """
    columns = [str(c) for c in table.columns]
    if name in columns:
        return name
    near = [c for c in columns if snake(c) == snake(name)]
    if len(near) != 1:
        raise DataError(f"{argument}={name!r} is no column of the table; {closest(name, columns)}")
    return near[0]
