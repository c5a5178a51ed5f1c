"""A cohort that is made in a folder of this machine."""
import os
import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

from synthkit.core.cohort import Cohort
from synthkit.core.files import checked, write_atomically
from synthkit.core.store import UNFINISHED, Shard, finish, require_place, writing
from synthkit.errors import StoreError
from synthkit.scale.generation.place import Place, page


class Local(Place):
    """A folder; files appear by renaming, and a lock that the system holds keeps others out for as long as this process lives."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()
        self.name = str(self.folder)

    def require_free(self) -> None:
        require_place(self.folder)

    def alone(self) -> AbstractContextManager[None]:
        return writing(self.folder)

    @property
    def stage(self) -> Path:
        return self.folder / page("stage")

    def read(self, name: str) -> bytes | None:
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def write(self, name: str, data: bytes) -> None:
        write_atomically(self.folder / name, data)

    def journal(self) -> list[str]:
        folder = self.folder / UNFINISHED
        return sorted(path.name for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(".")) if folder.is_dir() else []

    def take(self, folder: Path, names: Iterable[str]) -> None:
        for name in names:
            os.replace(folder / name, self.folder / name)

    def holds(self, entry: dict[str, str], size: int) -> bool:
        path = self.folder / entry["file"]
        try:
            return path.stat().st_size == size and checked(self.folder, entry) == path
        except (StoreError, OSError):
            return False

    def finish(self, cohort: Cohort, shards: Iterable[Shard]) -> None:
        finish(self.folder, cohort, shards)

    def clear(self) -> None:
        # The journal's head goes first: what is left without it is nothing.
        (self.folder / page("job.json")).unlink(missing_ok=True)
        for folder in (self.folder / UNFINISHED, self.work):
            shutil.rmtree(folder, ignore_errors=True)
