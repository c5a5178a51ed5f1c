"""One row per image in one Parquet file: the clinical table, where the pixels lie, and the picture where PNG can hold it exactly."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import atomically
from synthkit.core.lineage import read_record, record_digest, records
from synthkit.core.space import Space
from synthkit.data.own_export import RECORD
from synthkit.errors import DataError
from synthkit.export.pictures import png_bytes

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = ("pixels_file", "pixels_row")
ROWS = 512  # of a row group; as many pictures are held in memory
WORDS = {"real": "Real", "synthetic": "Synthetic", "edited": "Synthetic"}


@dataclass(frozen=True)
class Picture:
    """A column of PNG bytes.

    Args:
        name: of the column.
        channel: its number; None for colours.
    """

    name: str
    channel: int | None


def pictures_of(space: Space) -> list[Picture]:
    """The columns of pictures: one for colours or a single channel, else one per channel; none for volumes and values below 0."""
    if space.dims == 3 or space.dtype.kind == "i":
        return []
    if len(space.channels) == 3 and space.dtype == np.uint8 and all(channel.kind == "colour" for channel in space.channels):
        return [Picture("image", None)]
    if len(space.channels) == 1:
        return [Picture("image", 0)]
    return [Picture(f"image_{channel.name}", number) for number, channel in enumerate(space.channels)]


def write_records(cohort: Cohort, path: Path, shards: Sequence[tuple[str, int]]) -> None:
    """Write the rows of a saved cohort; `shards` are the files of its pixels and how many images each holds."""
    import pyarrow.parquet as pq

    pictures = pictures_of(cohort.space)
    taken = sorted({*PLACE, *(one.name for one in pictures)} & set(cohort.table.columns))
    if taken:
        raise DataError(f"to_croissant: the table has a column {taken[0]!r}, which the pixels need; rename it")
    table = _placed(cohort.table, shards)
    told = records(cohort)
    with atomically(path) as file:
        writer = None
        for start in range(0, len(cohort), ROWS):
            part = table.slice(start, ROWS)
            for name, column in _drawn(cohort, start, part.num_rows, told, pictures):
                part = part.append_column(name, column)
            writer = writer or pq.ParquetWriter(file, part.schema, compression="zstd")
            writer.write_table(part)
        writer.close()


def _placed(table: pd.DataFrame, shards: Sequence[tuple[str, int]]) -> "pa.Table":
    import pyarrow as pa

    files, rows = [name for name, count in shards for _ in range(count)], [row for _, count in shards for row in range(count)]
    return pa.Table.from_pandas(table.assign(**dict(zip(PLACE, (files, rows)))), preserve_index=False)


def _drawn(cohort: Cohort, start: int, count: int, told: Iterator[bytes], pictures: Sequence[Picture]) -> Iterator[tuple[str, Any]]:
    """Column name and PNG bytes of some rows; each picture carries the record of its image."""
    import pyarrow as pa

    raw, columns = cohort.images.raw(range(start, start + count)), {one.name: [] for one in pictures}
    for pixels, record in zip(raw, told) if pictures else ():
        texts = {"Description": f"{WORDS[read_record(record)['kind']]}; record sha256:{record_digest(record)}", "Software": "synthkit", RECORD: record.decode()}
        for one in pictures:
            columns[one.name].append(png_bytes(np.moveaxis(pixels, 0, -1) if one.channel is None else pixels[one.channel], texts))
    yield from ((name, pa.array(found, pa.binary())) for name, found in columns.items())
