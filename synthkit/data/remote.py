"""Folders behind an address (`s3://`, `gs://`, `memory://` …), by the drivers of fsspec that are installed."""
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.core.files import atomically, file_digest, unsealed, write_atomically
from synthkit.core.provenance import digest
from synthkit.core.store import FORMAT, MANIFEST, UNFINISHED, shard_files
from synthkit.data.entry import cache_root
from synthkit.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def is_remote(place: str | Path) -> bool:
    """Whether a place is an address and no path of this machine."""
    return isinstance(place, str) and "://" in place


def filesystem(address: str) -> tuple["AbstractFileSystem", str]:
    """The driver of an address, and the path that it goes by there.

    Raises:
        MissingExtraError: a known protocol whose driver is not installed.
        StoreError: an unknown protocol.
    """
    import fsspec

    try:
        driver, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingExtraError(f"{address} needs a driver that is not installed: {error}") from error
    except ValueError as error:
        raise StoreError(f"{address}: {error}; give a folder, or an address such as s3://bucket/folder") from error
    return driver, path.rstrip("/")


def fetched(address: str) -> Path:
    """A local copy of a saved cohort behind an address; files are named by their content, so that only new ones travel.

    Raises:
        StoreError: no cohort there, one that is not finished, or a file that is missing or cannot be read.
    """
    driver, path = filesystem(address)
    folder = cache_root() / "remote" / digest(address.rstrip("/").encode())[:16]
    try:
        if not driver.exists(f"{path}/{MANIFEST}"):
            begun = ", but a generation that was begun; run the same command again to finish it" if driver.exists(f"{path}/{UNFINISHED}/job.json") else ""
            raise StoreError(f"{address} holds no saved cohort ({MANIFEST} is missing){begun}")
        written = driver.cat_file(f"{path}/{MANIFEST}")
        manifest = unsealed(written, f"{address}/{MANIFEST}")
        if manifest.get("format") != FORMAT:
            raise StoreError(f"{address} has cohort format {manifest.get('format')}; this synthkit reads format {FORMAT}")
        for entry in (manifest["skipped"], *(entry for entry, _ in shard_files(manifest))):
            _fetch(driver, f"{path}/{entry['file']}", folder / Path(entry["file"]).name, entry["sha256"])
        write_atomically(folder / MANIFEST, written)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{address} cannot be read into {folder} ({error}); see that it is whole and within reach, and that there is room") from error
    return folder


def _fetch(driver: "AbstractFileSystem", source: str, target: Path, sha256: str) -> None:
    if target.is_file() and file_digest(target) == sha256:
        return
    with driver.open(source, "rb") as file, atomically(target) as copy:
        while block := file.read(2**22):
            copy.write(block)
