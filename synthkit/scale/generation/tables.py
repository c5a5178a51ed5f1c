"""A table in memory or in a file, a few thousand rows at a time."""
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthkit.core.kinds import require_kind
from synthkit.errors import DataError, SchemaError

BLOCK = 8192  # rows
SHOWN = 6  # columns in a message
SEPARATORS = (",", ";", "\t")  # of text files


class Source(ABC):
    """A table of requests.

    Attributes:
        name: what a person calls it.
        columns: all that it has.
    """

    name: str
    columns: list[str]

    @staticmethod
    def of(table: str | Path | pd.DataFrame, factors: Sequence[str]) -> "Source":
        """The table, of which the factors and `image_id` will be read.

        Raises:
            DataError: no such file, or no table.
            SchemaError: a table without a row.
        """
        if isinstance(table, pd.DataFrame):
            found: Source = Frame(table, [*factors, "image_id"])
        else:
            require_kind("table", table, (str, Path), "a DataFrame with one row per image, or the path of a CSV, TSV or Parquet file")
            kind = Parquet if Path(table).suffix.lower() in (".parquet", ".pq") else Text
            with _readable(table):
                found = kind(Path(table), [*factors, "image_id"])
            if not {*found.columns} & {*factors, "image_id"}:
                raise SchemaError(f"{found.name}: no column is a factor; it has {', '.join(found.columns[:SHOWN])}, and the factors are {', '.join(factors)}")
        if found.head().empty:
            raise SchemaError(f"{found.name} holds no request; give one row per image")
        return found

    @abstractmethod
    def head(self) -> pd.DataFrame:
        """The first row, with all its columns."""

    @abstractmethod
    def blocks(self) -> Iterator[pd.DataFrame]:
        """The wanted columns of all rows."""


@dataclass(frozen=True, eq=False)
class Frame(Source):
    """A DataFrame."""

    table: pd.DataFrame
    wanted: Sequence[str]
    name = "the table"

    @property
    def columns(self) -> list[str]:  # type: ignore[override]
        return [str(name) for name in self.table.columns]

    def head(self) -> pd.DataFrame:
        # A row without a column counts, and asks for any image.
        return self.table.head(1) if len(self.table.columns) or not len(self.table) else pd.DataFrame({"row": [0]})

    def blocks(self) -> Iterator[pd.DataFrame]:
        chosen = [name for name in self.table.columns if name in self.wanted]
        for start in range(0, len(self.table), BLOCK):
            yield self.table[chosen].iloc[start : start + BLOCK].reset_index(drop=True)


class Text(Source):
    """A CSV or TSV file; values as they are written, since ids key the noise, and only an empty cell leaves a factor open."""

    def __init__(self, path: Path, wanted: Sequence[str]):
        self.path, self.wanted, self.name = path, wanted, path.name
        options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
        # The separator is the one that cuts the heading into most names; some spreadsheets write semicolons.
        headings = {sep: pd.read_csv(path, sep=sep, header=None, nrows=1, **options) for sep in SEPARATORS}
        self.options = options | {"sep": max(SEPARATORS, key=lambda sep: headings[sep].shape[1])}
        names = headings[self.options["sep"]].iloc[0].dropna()
        if names.duplicated().any():
            raise SchemaError(f"{self.name}: column {names[names.duplicated()].iloc[0]!r} stands twice in the heading; rename or drop one")
        self.first = self._even(pd.read_csv(path, nrows=1, **self.options))
        self.columns = [str(name) for name in self.first.columns]

    def head(self) -> pd.DataFrame:
        return self.first

    def blocks(self) -> Iterator[pd.DataFrame]:
        chosen = [name for name in self.columns if name in self.wanted]
        # All columns are read, since pandas passes over surplus values where it reads some of them only.
        with _readable(self.path), pd.read_csv(self.path, chunksize=BLOCK, **self.options) as file:
            for block in file:
                yield self._even(block)[chosen].apply(_whole).reset_index(drop=True)

    def _even(self, block: pd.DataFrame) -> pd.DataFrame:
        """The same rows; SchemaError where pandas took surplus values for row labels, which shifts all others."""
        if not isinstance(block.index, pd.RangeIndex):
            raise SchemaError(f"{self.name}: a row has more values than the heading has names; name every column, and quote values with a separator in them")
        return block


class Parquet(Source):
    """A Parquet file."""

    def __init__(self, path: Path, wanted: Sequence[str]):
        import pyarrow.parquet as pq

        self.path, self.wanted, self.name = path, wanted, path.name
        with pq.ParquetFile(path) as file:
            self.columns, self.rows = file.schema_arrow.names, file.metadata.num_rows
            self.first = next((batch.to_pandas() for batch in file.iter_batches(1)), pd.DataFrame(columns=self.columns))

    def head(self) -> pd.DataFrame:
        return self.first

    def blocks(self) -> Iterator[pd.DataFrame]:
        import pyarrow.parquet as pq

        chosen = [name for name in self.columns if name in self.wanted]
        with _readable(self.path), pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(BLOCK, columns=chosen):
                yield batch.to_pandas().reset_index(drop=True)


def _whole(values: pd.Series) -> pd.Series:
    """Text in which a whole number that stands as 1.0, as tables write levels of a column with blanks, is 1; ids stay as they are."""
    return values if values.name == "image_id" else values.str.replace(r"^(-?\d+)\.0$", r"\1", regex=True)


@contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (SchemaError, DataError):
        raise
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8; save it as CSV in UTF-8") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table of requests ({error}); give a CSV, TSV or Parquet file") from error
