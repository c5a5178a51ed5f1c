"""Cohorts on disk: shards of integers (.npy), table, records and quality control (Parquet), and one JSON manifest that names them by digest.

Files are named by their content, and the manifest is replaced in one step at the end. A process killed at any
moment therefore leaves either the old cohort or the new one, never a mixture.
"""
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.environment import environment
from synthkit.core.files import checked, put, read_manifest, sealed, sweep, write_manifest
from synthkit.core.lineage import records
from synthkit.core.merkle import Tree, leaf, root
from synthkit.core.pixels import OPEN, Pixels, Stored
from synthkit.core.provenance import Provenance
from synthkit.core.result import Section
from synthkit.core.schema import Schema
from synthkit.core.signing import sign
from synthkit.core.space import Space
from synthkit.errors import DataError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "cohort.json"
FORMAT = 2
SHARD_BYTES = 64 * 2**20
KINDS = ("pixels", "table", "records", "qc", "skipped")
LOCK = ".lock"
UNFINISHED = ".generation"  # folder beside the files of a cohort that is still being made, image by image


@dataclass(frozen=True)
class Shard:
    """Some images of a saved cohort.

    Args:
        files: by kind, as the manifest names them.
        leaves: of the Merkle tree, one per image.
    """

    files: dict[str, dict[str, str]]
    leaves: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        return {"images": len(self.leaves), "root": root(self.leaves), **self.files}


def save(cohort: Cohort, folder: Path, *, qc: Section | pd.DataFrame | None = None) -> Path:
    """Write a cohort into a folder (made if absent; an older cohort there is replaced)."""
    require_place(folder)
    checks, count, shape = _checks(cohort, qc), per_shard(cohort.space), _shape(cohort.table)
    with writing(folder):
        starts = range(0, len(cohort), count)
        shards = [write_shard(folder, cohort[a : a + count], None if checks is None else checks[a : a + count], shape) for a in starts]
        return finish(folder, cohort, shards)


def require_place(folder: Path) -> None:
    """Raise StoreError for a folder in which no cohort may be written."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; give a folder to save the cohort in")
    if folder.is_dir() and not (folder / MANIFEST).exists() and any(not p.name.startswith((".", *KINDS)) for p in folder.iterdir()):
        raise StoreError(f"{folder} holds other files and no cohort; give a new or empty folder")


def per_shard(space: Space) -> int:
    """Images of a shard."""
    return max(1, SHARD_BYTES // max(1, int(np.prod(space.shape)) * 2))


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the only one who writes there; StoreError where another process is, or where there is no room."""
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK, timeout=0):
            yield
    except StoreError:
        raise
    except Timeout:
        raise StoreError(f"{folder} is being written by another process; wait for it, or give another folder") from None
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror or error}); what was saved there before is as it was. Make room, or give "
                         "another folder") from error  # fmt: skip


def write_shard(folder: Path, cohort: Cohort, checks: pd.DataFrame | None = None, shape: "pa.Schema | None" = None) -> Shard:
    """Write a cohort as one shard; it belongs to nothing until a manifest names it.

    Args:
        checks: quality control, a row per image in the same order.
        shape: the types of the table's columns, where other shards must agree.
    """
    told = [*records(cohort, qc=checks)]
    lineage = pd.DataFrame({"image_id": cohort.table["image_id"], "record": [one.decode() for one in told]})
    files = {"pixels": put(folder, "pixels", ".npy", _npy(cohort.images.raw()))}
    tables = {"table": _parquet(cohort.table, shape or _shape(cohort.table)), "records": _parquet(lineage)}
    if checks is not None:
        tables["qc"] = _parquet(checks)
    files |= {kind: put(folder, kind, ".parquet", data) for kind, data in tables.items()}
    return Shard(files, tuple(map(leaf, told)))


def finish(folder: Path, cohort: Cohort, shards: Iterable[Shard]) -> Path:
    """Write the manifest over all shards, signed where there is a key, and remove what it does not name.

    Args:
        cohort: what holds for all of them: space, schema, provenance, notes and skipped files; its images do not count.
        shards: in the order of their images; gone through once.
    """
    tree, told = Tree(), []
    for shard in shards:
        tree.extend(shard.leaves)
        told.append(shard.to_json())
    manifest = {
        "format": FORMAT, "images": tree.count, "root": tree.root(),
        "space": cohort.space.to_json(), "schema": cohort.schema.to_json(), "provenance": cohort.provenance.to_json(), "notes": list(cohort.notes),
        "saved with": environment(), "shards": told,
        "skipped": put(folder, "skipped", ".parquet", cohort.skipped.astype(str).to_parquet(index=False)),
    }  # fmt: skip
    # Signed is the text as it is written, so that not even a blank or the order of names can change.
    signature = sign(sealed(manifest))
    write_manifest(folder / MANIFEST, manifest | ({"signature": vars(signature)} if signature else {}))
    sweep(folder, KINDS, named(manifest))
    return folder


def named(manifest: dict[str, Any]) -> list[str]:
    """The files of a saved cohort, the manifest's own included."""
    return [MANIFEST, manifest["skipped"]["file"], *(entry["file"] for entry, _ in shard_files(manifest))]


def shard_files(manifest: dict[str, Any]) -> Iterator[tuple[dict[str, str], str]]:
    """The entries of all files of all shards, with their kind."""
    yield from ((shard[kind], kind) for shard in manifest["shards"] for kind in KINDS if kind in shard)


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a saved cohort."""
    return (folder / MANIFEST).is_file()


def missing(folder: Path) -> StoreError:
    """The error for a folder without a saved cohort."""
    if (folder / UNFINISHED).is_dir():
        return StoreError(f"{folder} holds a generation that is not finished; run the same command again, which goes on where it stopped")
    return StoreError(f"{folder} holds no saved cohort ({MANIFEST} is missing)")


def manifest_of(folder: Path) -> dict[str, Any]:
    """The manifest of a saved cohort; StoreError where there is none, or one of another format."""
    if not is_saved(folder):
        raise missing(folder)
    manifest = read_manifest(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise StoreError(f"{folder} has cohort format {manifest.get('format')}; this synthkit reads format {FORMAT}")
    return manifest


def load(folder: Path, *, first: int | None = None) -> Cohort:
    """Read a cohort back, pixels memory-mapped.

    Args:
        first: read no more shards than hold so many images; all when left out.
    Raises:
        StoreError: no cohort there, a file missing, or a file whose digest is not the recorded one.
    """
    manifest = manifest_of(folder)
    space, shards = Space.from_json(manifest["space"]), _first(manifest["shards"], first)
    paths = [checked(folder, shard["pixels"]) for shard in shards]
    parts = [np.load(path, mmap_mode="r", allow_pickle=False) for path in paths] if len(paths) <= OPEN else [Stored(path) for path in paths]
    schema = Schema.from_json(manifest["schema"])
    return Cohort(
        images=Pixels(parts or [np.empty((0, *space.shape), space.dtype)], space),
        table=read_tables(checked(folder, shard["table"]) for shard in shards) if parts else pd.DataFrame(columns=["image_id", *schema.names]),
        schema=schema,
        provenance=Provenance.from_json(manifest["provenance"]),
        notes=tuple(manifest["notes"]),
        skipped=pd.read_parquet(checked(folder, manifest["skipped"])),
    )


def _first(shards: list[dict[str, Any]], images: int | None) -> list[dict[str, Any]]:
    """The shards, or the first ones that hold so many images."""
    before = np.cumsum([0, *(shard["images"] for shard in shards)])[:-1]
    return shards if images is None else [shard for shard, start in zip(shards, before) if start < images]


def read_tables(paths: Iterable[Path]) -> pd.DataFrame:
    """Parquet files one below the other; a column that is empty in one of them takes the type of the others."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pa.concat_tables([pq.read_table(path) for path in paths], promote_options="permissive").to_pandas()


def _checks(cohort: Cohort, qc: Section | pd.DataFrame | None) -> pd.DataFrame | None:
    """One row of quality control per image, in the cohort's order."""
    if qc is None:
        return None
    frame = qc.frame() if isinstance(qc, Section) else qc
    if not isinstance(frame, pd.DataFrame) or "image_id" not in frame or sorted(frame["image_id"]) != sorted(cohort.table["image_id"]):
        raise DataError("qc= must have one row for each image of the cohort, by image_id; give sk.check(cohort) of this very cohort")
    return frame.set_index("image_id").loc[cohort.table["image_id"]].reset_index()


def _npy(raw: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, raw, allow_pickle=False)
    return out.getvalue()


def _shape(table: pd.DataFrame) -> "pa.Schema":
    import pyarrow as pa

    try:
        return pa.Table.from_pandas(table, preserve_index=False).schema
    except pa.ArrowException as error:
        raise StoreError(f"the table cannot be saved: {error.args[-1]}; make the column one type, for instance table[column].astype(str)") from error


def _parquet(table: pd.DataFrame, schema: "pa.Schema | None" = None) -> bytes:
    return table.to_parquet(index=False, schema=schema, compression="zstd")
