"""What every export of images has in common: what may leave, the file beside the images, and what each file is told of its image."""
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind
from synthkit.core.lineage import plain, record_digest, records
from synthkit.data.own_export import SIDECAR, sidecar
from synthkit.errors import AbilityError, DataError


@dataclass(frozen=True, eq=False)
class Leaving:
    """One image on its way out.

    Args:
        row: its table row as JSON.
        record: its canonical record.
        pixels: (C, [D,] H, W) stored integers.
    """

    cohort: Cohort
    number: int
    row: dict[str, Any]
    record: bytes
    pixels: np.ndarray

    @property
    def mark(self) -> str:
        """sha256 of the record."""
        return record_digest(self.record)

    @property
    def name(self) -> str:
        """The image's id where it can be a file name, else its record's digest."""
        name = str(self.row["image_id"])
        return name if name.replace("-", "").replace("_", "").isalnum() and len(name) < 100 else self.mark[:32]

    def told(self, channel: int | None, part: int | None) -> dict[str, Any]:
        """What a file must say of itself, so that the cohort can be read back."""
        space = self.cohort.space
        return {"export": self.cohort.version, "number": self.number, "channel": channel, "slice": part, "channels": len(space.channels),
                "flat": space.dims == 2, "row": self.row}  # fmt: skip


def destination(folder: str | Path) -> Path:
    """The folder to write into; DataError for what is no path, or a file."""
    require_kind("folder", folder, (str, Path), "a folder, made if absent")
    place = Path(folder).expanduser()
    if place.exists() and not place.is_dir():
        raise DataError(f"folder: {str(place)!r} is a file; give a folder")
    return place


def require_synthetic(cohort: Cohort, verb: str) -> None:
    """Raise AbilityError for a cohort with real images, which no mark could make synthetic; DataError for an empty one."""
    require_kind("cohort", cohort, Cohort, "a synthetic cohort, as gen.sample(...) answers")
    if not len(cohort):
        raise DataError(f"{verb}: the cohort is empty; give one image or more")
    kinds = {maker.kind for maker in cohort.makers().values()}
    if not kinds <= {"synthetic", "edited"}:
        raise AbilityError(f"{verb}: the cohort is {cohort.provenance.kind}; only synthetic and edited images are written as such")


def begin(cohort: Cohort, place: Path, verb: str) -> None:
    """Write what belongs to all files first: by it an export is known again, and one that broke off is seen."""
    side = {"synthkit export": cohort.version, "images": len(cohort), "columns": list(cohort.table.columns), "space": cohort.space.to_json(),
            "schema": cohort.schema.to_json(), "provenance": cohort.provenance.to_json(), "notes": list(cohort.notes)}  # fmt: skip
    before = sidecar(place)
    others = [path.name for path in place.iterdir() if not path.name.startswith(".")] if place.is_dir() else []
    if others and (before is None or before["synthkit export"] != cohort.version):
        held = f"an export of cohort {before['synthkit export']}" if before else f"other files ({others[0]})"
        raise DataError(f"{verb}: {str(place)!r} holds {held}; give a new or empty folder")
    try:
        write_atomically(place / SIDECAR, json.dumps(plain(side), ensure_ascii=False).encode())
    except OSError as error:
        raise unwritten(place, verb, error) from error


def leaving(cohort: Cohort) -> Iterator[Leaving]:
    """The images one by one."""
    rows = cohort.table.to_dict("records")
    for number, record in enumerate(records(cohort)):
        yield Leaving(cohort, number, plain(rows[number]), record, cohort.images.raw([number])[0])


def unwritten(place: Path, verb: str, error: OSError) -> DataError:
    """The error where a folder cannot be written to."""
    return DataError(f"{verb}: {str(place)!r} cannot be written to ({error.strerror or error}); make room or give another folder. The same call then "
                     "completes what is there")  # fmt: skip
