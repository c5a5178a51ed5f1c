"""Requests for images: read in pieces, checked row by row before anything is drawn, and kept as typed rows that every worker can look up."""
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.schema import Category, Schema
from synthkit.errors import DataError, SchemaError
from synthkit.scale.generation.tables import Source

if TYPE_CHECKING:
    import pyarrow as pa

    from synthkit.generators.generator import Generator

FILE, NUMBERED = "requests.parquet", "row"
AGAIN = re.compile(r"#\d+$")  # how the id of a request ends when it is asked again


@dataclass(frozen=True)
class Requests:
    """Checked requests in a file; they may be asked again and again, each time for another image.

    Args:
        folder: where the file lies.
        schema: the factors; the file has those that were given.
    """

    folder: Path
    schema: Schema

    @staticmethod
    def read(table: str | Path | pd.DataFrame, generator: "Generator", *, seed: int, n: int | None, folder: Path) -> tuple["Requests", str]:
        """Check a table from its first row to its last, and keep its rows in a folder.

        Returns:
            The requests and the sha256 of all that counts in them.
        Raises:
            SchemaError: no row, or a row that cannot be asked for: its number, the value, and what is allowed.
            DataError: a file that cannot be read as a table.
        """
        import pyarrow.parquet as pq

        source, schema = Source.of(table, generator.schema.names), generator.schema
        generator.require_request(source.head().drop(columns="image_id", errors="ignore"), seed)
        key = "image_id" if "image_id" in source.columns else NUMBERED
        types, seen, told, start = _types(schema, source.columns, key), Seen(), sha256(repr(key).encode()), 0
        with pq.ParquetWriter(folder / FILE, types, compression="zstd") as file:
            for block in source.blocks():
                rows = _checked(schema, block, start, source.name, again=n is not None)
                if key == NUMBERED:
                    rows[key] = [str(number) for number in range(start, start + len(rows))]
                seen.add(rows[key])
                told.update(rows[types.names].to_csv(index=False, header=False, lineterminator="\n").encode())
                file.write_table(_arrow(rows, types))
                start += len(rows)
        found = Requests(folder, schema)
        seen.require_once(found, source.name)
        return found, told.hexdigest()

    @cached_property
    def _starts(self) -> np.ndarray:
        """The first row of each group of rows in the file, and the number of all rows."""
        import pyarrow.parquet as pq

        meta = pq.read_metadata(self.folder / FILE)
        return np.cumsum([0, *(meta.row_group(number).num_rows for number in range(meta.num_row_groups))])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def take(self, start: int, stop: int) -> tuple[list[str], pd.DataFrame]:
        """Keys and factors of the requests start..stop, counted through all repetitions."""
        number = np.arange(start, stop)
        row, turn = number % len(self), number // len(self)
        frame = self._rows(row)
        if NUMBERED in frame:
            return [str(one) for one in number], self.schema.check(frame.drop(columns=NUMBERED))
        keys = [name if again == 0 else f"{name}#{again + 1}" for name, again in zip(frame["image_id"].astype(str), turn)]
        return keys, self.schema.check(frame.drop(columns="image_id"))

    def groups(self, columns: list[str] | None = None) -> Iterator[pd.DataFrame]:
        """All rows, some thousands at a time."""
        for number in range(len(self._starts) - 1):
            yield self._group(number, columns)

    def _rows(self, rows: np.ndarray) -> pd.DataFrame:
        """Some rows of the file, in the order given."""
        group = np.searchsorted(self._starts, rows, side="right") - 1
        needed = np.unique(group)
        frame = pd.concat([self._group(number) for number in needed], ignore_index=True)
        sizes = np.diff(self._starts)[needed]
        before = np.cumsum(sizes) - sizes
        place = before[np.searchsorted(needed, group)] + rows - self._starts[group]
        return frame.iloc[place].reset_index(drop=True)

    def _group(self, number: int, columns: list[str] | None = None) -> pd.DataFrame:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.folder / FILE) as file:
            return file.read_row_group(int(number), columns=columns).to_pandas()


class Seen:
    """Ids met so far, eight bytes each, so that one that stands twice is found without holding them all."""

    def __init__(self) -> None:
        self.digests = bytearray()

    def add(self, keys: pd.Series) -> None:
        self.digests += b"".join(blake2b(key.encode(), digest_size=8).digest() for key in keys)

    def require_once(self, requests: Requests, name: str) -> None:
        """Raise SchemaError for an id on two rows."""
        found, counts = np.unique(np.frombuffer(bytes(self.digests), np.uint64), return_counts=True)
        suspects, first, start = set(found[counts > 1].tolist()), {}, 1
        if not suspects:
            return
        for frame in requests.groups(["image_id"]):
            for number, key in enumerate(frame["image_id"], start):
                if int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "little") in suspects and first.setdefault(key, number) != number:
                    raise SchemaError(f"{name}, rows {first[key]} and {number}: image_id {key!r} stands on both; it keys the noise and must be unique, or "
                                      "drop the column")  # fmt: skip
            start += len(frame)


def _checked(schema: Schema, block: pd.DataFrame, start: int, name: str, *, again: bool) -> pd.DataFrame:
    """A block with its factors checked and typed; the first row that fails is named."""
    if "image_id" in block:
        blank = np.flatnonzero(block["image_id"].isna())
        if len(blank):
            raise SchemaError(f"{name}, row {start + blank[0] + 1}: image_id is blank; it keys the noise: fill it, or drop the column")
        block = block.assign(image_id=block["image_id"].astype(str).astype(object))
        clash = [number for number, key in enumerate(block["image_id"]) if again and AGAIN.search(key)]
        if clash:
            raise SchemaError(f"{name}, row {start + clash[0] + 1}: image_id {block['image_id'].iloc[clash[0]]!r} ends as that of a request that is asked "
                              "again; give ids without #NUMBER at the end, or leave out n")  # fmt: skip
    try:
        return schema.check(block)
    except SchemaError as error:
        low, high = 0, len(block)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _wrong(schema, block.iloc[low:middle]) else (middle, high)
        raise SchemaError(f"{name}, row {start + low + 1}: {_wrong(schema, block.iloc[low:high]) or error}") from None


def _wrong(schema: Schema, block: pd.DataFrame) -> str:
    try:
        schema.check(block)
    except SchemaError as error:
        return str(error)
    return ""


def _types(schema: Schema, columns: list[str], key: str) -> "pa.Schema":
    import pyarrow as pa

    kinds = {name: pa.string() if isinstance(schema[name], Category) else pa.float64() for name in schema.names if name in columns}
    return pa.schema([(key, pa.string()), *kinds.items()])


def _arrow(rows: pd.DataFrame, types: "pa.Schema") -> Any:
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(rows[types.names], schema=types, preserve_index=False)
    except pa.ArrowException as error:
        raise DataError(f"the requests cannot be kept: {error}") from error
