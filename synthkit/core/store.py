"""Cohorts on disk: integer shards (.npy), the table (Parquet), and one JSON manifest that names them by digest.

Files are named by their content, and the manifest is replaced in one step at the end. A process killed at any
moment therefore leaves either the old cohort or the new one, never a mixture.
"""
import io
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import checked, put, read_manifest, sweep, write_manifest
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import StoreError

MANIFEST = "cohort.json"
FORMAT = 1
SHARD_BYTES = 64 * 2**20
KINDS = ("pixels", "table", "skipped")


def _npy(raw: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, raw, allow_pickle=False)
    return out.getvalue()


def _parquet(table: pd.DataFrame) -> bytes:
    from pyarrow import ArrowException

    try:
        return table.to_parquet(index=False)
    except ArrowException as error:
        raise StoreError(f"the table cannot be saved: {error.args[-1]}; make the column one type, for instance table[column].astype(str)") from error


def save(cohort: Cohort, folder: Path) -> Path:
    """Write a cohort into a folder (made if absent; an older cohort there is replaced)."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; give a folder to save the cohort in")
    if folder.is_dir() and not (folder / MANIFEST).exists() and any(not p.name.startswith((".", *KINDS)) for p in folder.iterdir()):
        raise StoreError(f"{folder} holds other files and no cohort; give a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    per_shard = max(1, SHARD_BYTES // max(1, int(np.prod(cohort.space.shape)) * 2))
    starts = range(0, len(cohort), per_shard)
    shards = [put(folder, "pixels", ".npy", _npy(cohort.images.raw(range(a, min(a + per_shard, len(cohort)))))) for a in starts]
    manifest = {
        "format": FORMAT, "images": len(cohort), "space": cohort.space.to_json(), "schema": cohort.schema.to_json(),
        "provenance": cohort.provenance.to_json(), "notes": list(cohort.notes), "shards": shards,
        "table": put(folder, "table", ".parquet", _parquet(cohort.table)),
        "skipped": put(folder, "skipped", ".parquet", cohort.skipped.astype(str).to_parquet(index=False)),
    }  # fmt: skip
    write_manifest(folder / MANIFEST, manifest)
    sweep(folder, KINDS, [MANIFEST, manifest["table"]["file"], manifest["skipped"]["file"], *(s["file"] for s in shards)])
    return folder


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a saved cohort."""
    return (folder / MANIFEST).is_file()


def load(folder: Path) -> Cohort:
    """Read a cohort back, pixels memory-mapped.

    Raises:
        StoreError: no cohort there, a file missing, or a file whose digest is not the recorded one.
    """
    if not is_saved(folder):
        raise StoreError(f"{folder} holds no saved cohort ({MANIFEST} is missing)")
    manifest = read_manifest(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise StoreError(f"{folder} has cohort format {manifest.get('format')}; this synthkit reads format {FORMAT}")
    space = Space.from_json(manifest["space"])
    parts = [np.load(checked(folder, entry), mmap_mode="r", allow_pickle=False) for entry in manifest["shards"]]
    return Cohort(
        images=Pixels(parts or [np.empty((0, *space.shape), space.dtype)], space),
        table=pd.read_parquet(checked(folder, manifest["table"])),
        schema=Schema.from_json(manifest["schema"]),
        provenance=Provenance.from_json(manifest["provenance"]),
        notes=tuple(manifest["notes"]),
        skipped=pd.read_parquet(checked(folder, manifest["skipped"])),
    )
