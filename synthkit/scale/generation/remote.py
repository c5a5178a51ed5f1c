"""A cohort that is made behind an address, by the drivers of fsspec.

Objects appear under names of their content, and the manifest comes last: a reader finds the cohort whole or not at all. Most stores put an object in one
step; where one does not, a torn file is noticed by its digest when it is read, and a torn page of the journal is drawn again.
"""
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

from synthkit.core.cohort import Cohort
from synthkit.core.files import read_manifest
from synthkit.core.store import KINDS, MANIFEST, UNFINISHED, Shard, finish, named
from synthkit.data.remote import filesystem
from synthkit.errors import StoreError
from synthkit.scale.generation.lease import lease
from synthkit.scale.generation.place import Place


class Remote(Place):
    """A folder behind an address; only the process that was started writes there, its workers do not."""

    def __init__(self, address: str):
        self.name = address.rstrip("/")
        self.driver, self.path = filesystem(self.name)

    def require_free(self) -> None:
        names = self._names("")
        if MANIFEST not in names and any(not name.startswith((".", *KINDS)) for name in names):
            raise StoreError(f"{self.name} holds other files and no cohort; give a new or empty folder")

    def alone(self) -> AbstractContextManager[None]:
        self.driver.makedirs(f"{self.path}/{UNFINISHED}", exist_ok=True)
        return lease(self.driver, self.path, self.name)

    @property
    def stage(self) -> Path:
        return self.work.with_name(f"{self.work.name}-stage")

    def read(self, name: str) -> bytes | None:
        self.driver.invalidate_cache()
        try:
            return self.driver.cat_file(f"{self.path}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = f"{self.path}/{name}"
        try:
            self.driver.pipe_file(path, data)
        except FileNotFoundError:  # where folders are no mere part of a name
            self.driver.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.driver.pipe_file(path, data)

    def journal(self) -> list[str]:
        return [name for name in self._names(UNFINISHED) if name.endswith(".json")]

    def take(self, folder: Path, names: Iterable[str]) -> None:
        for name in names:
            self.driver.put_file(str(folder / name), f"{self.path}/{name}")
            (folder / name).unlink()

    def holds(self, entry: dict[str, str], size: int) -> bool:
        try:
            return int(self.driver.info(f"{self.path}/{entry['file']}")["size"]) == size
        except FileNotFoundError:
            return False

    def finish(self, cohort: Cohort, shards: Iterable[Shard]) -> None:
        with TemporaryDirectory(prefix="synthkit-") as folder:
            place = finish(Path(folder), cohort, shards)
            manifest = read_manifest(place / MANIFEST)
            for name in (manifest["skipped"]["file"], MANIFEST):
                self.write(name, (place / name).read_bytes())
        keep = set(named(manifest))
        for name in self._names(""):
            if name not in keep and name.startswith(tuple(f"{kind}-" for kind in KINDS)):
                self.driver.rm_file(f"{self.path}/{name}")

    def clear(self) -> None:
        if self.driver.exists(f"{self.path}/{UNFINISHED}"):
            self.driver.rm(f"{self.path}/{UNFINISHED}", recursive=True)
        for folder in (self.work, self.stage):
            shutil.rmtree(folder, ignore_errors=True)

    def _names(self, folder: str) -> list[str]:
        """What lies in a folder there, by name."""
        self.driver.invalidate_cache()
        try:
            listed = self.driver.ls(f"{self.path}/{folder}".rstrip("/"), detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in listed)
