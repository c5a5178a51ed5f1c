"""One data set of the catalog: what it is, what may be done with it, and where a copy may lie."""
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from synthkit.core.schema import Category, Quantity, Schema
from synthkit.errors import DataError

CATALOG = "data_catalog.yaml"
WAYS = ("embedded", "package", "download", "prepare")


@dataclass(frozen=True, eq=False)
class Entry:
    """A data set by name; the fields are explained at the top of `data_catalog.yaml`."""

    name: str
    title: str
    get: str
    layout: str
    images: int
    size: tuple[int, ...]
    channel: str
    source: str
    licence: str
    terms: str
    citation: str
    address: str = ""
    folder: str = ""
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    download: str = ""
    patient: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    schema: Schema = field(default_factory=Schema)
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Everything a user must know, one line per fact."""
        size = " x ".join(map(str, self.size))
        lines = [f"{self.name}: {self.title}", f"images: {self.images} of {size} ({self.channel})", f"source: {self.source} {self.address}".rstrip()]
        lines += [f"licence: {self.licence}", f"terms: {self.terms}", f"citation: {self.citation}", f"how to get it: {self.how()}"]
        lines += [f"factor: {row.factor} ({row.values}{' ' + row.unit if row.unit else ''})" for row in self.schema.frame().itertuples()]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return "<br>".join(escape(line) for line in self.text().splitlines())

    def how(self) -> str:
        """What makes it available, in one line."""
        if self.get == "prepare":
            return f"download it from {self.address}, then: synthkit data prepare {self.name} --from FOLDER"
        ways = {"embedded": "made on this machine", "package": "pip install nilearn", "download": f"fetched from {self.download} when loaded"}
        return ways[self.get]

    def local_folder(self) -> Path | None:
        """The folder of a copy on this machine that has all files, or None."""
        places = [cache_root() / "data" / self.folder]
        if os.environ.get("SYNTHKIT_DATA"):
            places.insert(0, Path(os.environ["SYNTHKIT_DATA"]) / self.folder)
        return next((p for p in places if self.files and all((p / file).is_file() for file in self.files)), None)

    def target_folder(self) -> Path:
        """Where a new copy is written."""
        return Path(os.environ.get("SYNTHKIT_DATA") or cache_root() / "data") / self.folder


def cache_root() -> Path:
    """SYNTHKIT_CACHE, else ~/.cache/synthkit."""
    folder = os.environ.get("SYNTHKIT_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "synthkit"


@cache
def entries() -> dict[str, Entry]:
    """All entries by name, from the catalog beside the package or (installed) inside it."""
    import yaml

    package = Path(__file__).parents[1]
    path = next((p for p in (package.parent / CATALOG, package / CATALOG) if p.is_file()), None)
    if path is None:
        raise DataError(f"{CATALOG} is neither beside nor inside {package}; install synthkit again")
    return {name: _entry(name, fields) for name, fields in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def _entry(name: str, fields: dict[str, Any]) -> Entry:
    factors = tuple(Category(**f) if "levels" in f else Quantity(**f) for f in fields.pop("factors", ()))
    schema = Schema(factors, tuple(fields.pop("sensitive", ())))
    if fields["get"] not in WAYS:
        raise DataError(f"catalog entry {name}: get: {fields['get']!r} is not one of {', '.join(WAYS)}")
    fields |= {"size": tuple(fields["size"]), "notes": tuple(fields.get("notes", ()))}
    try:
        return Entry(name, schema=schema, **fields)
    except TypeError as error:
        raise DataError(f"catalog entry {name}: {error}") from error
