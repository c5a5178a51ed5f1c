"""The catalog: data sets by name, what may be done with them, and how to get them."""
import hashlib
from pathlib import Path

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.headings import closest
from synthkit.data.entry import Entry, entries
from synthkit.data.options import Options
from synthkit.errors import DataError


def entry_names() -> tuple[str, ...]:
    """The names that `sk.load` knows."""
    return tuple(entries())


def suggest(name: str) -> str:
    """How to go on after an unknown name: the nearest one, or all."""
    return closest(name, entry_names())


def entry(name: str) -> Entry:
    """One data set by name.

    Raises:
        DataError: an unknown name; the message suggests the nearest.
    """
    if name not in entries():
        raise DataError(f"the catalog has no {name!r}; {suggest(name)}")
    return entries()[name]


def catalog() -> pd.DataFrame:
    """All data sets: `name`, `title`, `images`, `size`, `licence`, `factors`, `available` (yes or no: on this machine), `how` to get them."""
    from synthkit.data.entry_load import available, schema_of

    rows = [
        {
            "name": one.name,
            "title": one.title,
            "images": one.images,
            "size": " x ".join(map(str, one.size)),
            "licence": one.licence,
            "factors": ", ".join(schema_of(one).names),
            "available": "yes" if available(one) else "no",
            "how": one.how(),
        }
        for one in entries().values()
    ]
    return pd.DataFrame(rows)


def load_entry(name: str, *, options: Options | None = None) -> Cohort:
    """The cohort of a catalog name; see `sk.load`.

    Raises:
        DataError: no copy on this machine (the message gives the commands), or an option that the entry itself decides.
        MissingExtraError: a package that brings the data is not installed.
    """
    from synthkit.data.entry_load import load

    return load(entry(name), options or Options())


def check(name: str) -> pd.DataFrame:
    """The local files of a data set against their recorded digests.

    Returns:
        One row per file: `file`, `recorded`, `found`, `verdict` (as recorded, differs, missing).
    """
    one = entry(name)
    folder = one.local_folder() or one.target_folder()
    rows = [{"file": file, "recorded": ", ".join(known), **_compare(folder / file, known)} for file, known in one.files.items()]
    return pd.DataFrame(rows, columns=["file", "recorded", "found", "verdict"])


def _compare(path: Path, known: tuple[str, ...]) -> dict[str, str]:
    if not path.is_file():
        return {"found": "", "verdict": "missing"}
    found = digests(path)
    return {"found": found["sha256"], "verdict": "as recorded" if any(f"{kind}:{value}" in known for kind, value in found.items()) else "differs"}


def digests(path: Path) -> dict[str, str]:
    """{"sha256": …, "md5": …} of a file; md5 only because some sources publish nothing else."""
    result = {}
    for kind in ("sha256", "md5"):
        with open(path, "rb") as file:
            result[kind] = hashlib.file_digest(file, lambda kind=kind: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    return result


def prepare(name: str, source_folder: str | Path) -> Path:
    """Make a local copy of a data set from its official download.

    Args:
        source_folder: where the download was unpacked.
    Returns:
        The folder written: SYNTHKIT_DATA/<folder>, else in the user cache.
    Raises:
        DataError: files of the download are missing, or this data set has no recipe; the message says what to write by hand.
    """
    from synthkit.data.prepare import RECIPES, by_hand

    one, source = entry(name), Path(source_folder).expanduser()
    if not source.is_dir():
        raise DataError(f"{source} is no folder; give the one that the download of {name} was unpacked in")
    if name not in RECIPES:
        raise DataError(by_hand(one))
    target = one.target_folder()
    for file, data in RECIPES[name](source).items():
        write_atomically(target / file, data)
    return target
