"""Where a cohort is being made: a folder of this machine, or one behind an address."""
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from synthkit.core.cohort import Cohort
from synthkit.core.files import unsealed
from synthkit.core.provenance import digest
from synthkit.core.store import FORMAT, MANIFEST, UNFINISHED, Shard
from synthkit.data.entry import cache_root
from synthkit.errors import StoreError


class Place(ABC):
    """A folder that receives a cohort, written by one process at a time.

    Attributes:
        name: folder or address.
    """

    name: str

    @abstractmethod
    def require_free(self) -> None:
        """Raise StoreError where no cohort may be made: a file, or a folder with other files."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[None]:
        """Be the only one who writes there; StoreError where another process is."""

    @property
    def work(self) -> Path:
        """A folder for what the workers need, kept until the cohort is finished; not beside the images, since refused copies are patients'."""
        return cache_root() / "generation" / digest(self.name.encode())[:16]

    @property
    @abstractmethod
    def stage(self) -> Path:
        """A folder of this machine under which shards are written before they are moved in."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A file, or None where there is none."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write a small file; it is whole or absent, or seen to be damaged when it is read."""

    @abstractmethod
    def journal(self) -> list[str]:
        """The names of the files of the journal."""

    @abstractmethod
    def take(self, folder: Path, names: Iterable[str]) -> None:
        """Move files of this machine in, under the names of their content."""

    @abstractmethod
    def holds(self, entry: dict[str, str], size: int) -> bool:
        """Whether a file that was moved in still is there, as far as can be told without fetching it."""

    @abstractmethod
    def finish(self, cohort: Cohort, shards: Iterable[Shard]) -> None:
        """Write the manifest, last of all, and remove what it does not name."""

    @abstractmethod
    def clear(self) -> None:
        """Remove journal and work."""

    def manifest(self) -> dict[str, Any] | None:
        """The manifest of a finished cohort there, or None."""
        written = self.read(MANIFEST)
        if written is None:
            return None
        manifest = unsealed(written, f"{self.name}/{MANIFEST}")
        if manifest.get("format") != FORMAT:
            raise StoreError(f"{self.name} has cohort format {manifest.get('format')}; this synthkit writes format {FORMAT}; give another folder")
        return manifest


def page(name: str) -> str:
    """The path of a file of the journal."""
    return f"{UNFINISHED}/{name}"
