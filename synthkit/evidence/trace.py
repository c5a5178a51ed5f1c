"""Where one image comes from, link by link: its record, the request, the generator, and what that had learnt from."""
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.lineage import manifest_root, read_record, record_digest, records
from synthkit.core.result import Tabled
from synthkit.core.store import is_saved
from synthkit.errors import DataError
from synthkit.evidence.exported import exported_record
from synthkit.evidence.given import cohort_of
from synthkit.generators.base import cohort_digest

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("link", "what", "digest")


@dataclass(frozen=True, eq=False, repr=False)
class Trace(Tabled):
    """The history of one image: `link`, `what` and `digest`, from the image back to the data that its maker learnt from.

    Args:
        record: the canonical record as a dictionary.
        holds: whether the pixels are those of the record, where the file has all of them.
        learnt: whether the given training cohort is one that its maker learnt from; None where none was given.
    """

    record: dict[str, Any] | None = None
    holds: bool = True
    learnt: bool | None = None

    def figure(self) -> "Figure":
        from plotly.graph_objects import Figure, Sankey

        names = [f"{row.link}: {row.what}"[:60] for row in self.rows.itertuples()]
        steps = list(range(len(names) - 1))
        links = {"source": [step + 1 for step in steps], "target": steps, "value": [1] * len(steps)}
        return Figure(Sankey(node={"label": names}, link=links), layout={"title": self.title})


def trace(image: str | Path, *, cohort: str | Path | Cohort | None = None, train: str | Path | Cohort | None = None) -> Trace:
    """Follow an image back: its pixels against its record, its request, its generator, and the digests of what that learnt from.

    Digests and counts are told, never pixels or patients.

    Args:
        image: an exported file (DICOM, PNG, NIfTI), or the `image_id` of a cohort.
        cohort: where the image stands: the cohort or its folder; needed for an `image_id`.
        train: real images, to be compared with the training manifest that the record names.
    Raises:
        DataError: no such image, a file without a record, or a train cohort that cannot be compared.
    """
    require_kind("image", image, (str, Path), "an exported file, or the image_id of a cohort")
    if cohort is None:
        record, pixels = exported_record(Path(image))
    else:
        record, pixels = _of_cohort(str(image), cohort)
    told = read_record(record)
    rows = [("image", f"{told['image_id']} ({told['kind']})", told["pixels"]), ("record", "canonical JSON, RFC 8785", record_digest(record))]
    holds = pixels in (None, told["pixels"])
    if pixels != told["pixels"]:
        said = "a part of the image, not compared" if holds else "not those of the record: the image was changed after it was made"
        rows.append(("pixels found", said, pixels or ""))
    rows += [*_asked(told), *_made(told)]
    learnt = None if train is None else _learnt(told, train)
    rows += [] if learnt is None else [("training cohort given", "it is what the maker learnt from" if learnt else "it is another one", "")]
    return Trace(f"Trace of {told['image_id']}", pd.DataFrame(rows, columns=[*COLUMNS]), (), told, holds, learnt)


def _of_cohort(name: str, given: str | Path | Cohort) -> tuple[bytes, str | None]:
    found = cohort_of("cohort", given)
    rows = np.flatnonzero(found.table["image_id"] == name)
    if not len(rows):
        raise DataError(f"{found.provenance.source} has no image {name!r}; its first is {next(iter(found.table['image_id']), 'none')!r}")
    record = next(records(found[rows[:1]]))
    return record, read_record(record)["pixels"]


def _asked(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    factors = ", ".join(f"{name}={value}" for name, value in told["factors"].items() if value is not None) or "no factor given"
    keys = ", ".join(f"{name}={told[name]}" for name in ("request_id", "source_id", "draws") if told.get(name) is not None)
    return [("asked for", f"{factors}; {keys or 'no request'}, seed {told['seed']}", told["row"])]


def _made(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    recipe = told["recipe"]
    family = str((recipe.get("recipe") or {}).get("family", recipe.get("phantom", "")))
    settings = {name: value for name, value in (recipe.get("recipe") or recipe).items() if name not in ("family", "environment")}
    rows = [("made by", f"{told['source']}: {family} {settings}", str(told["digests"].get("weights", "")))]
    if "environment" in recipe:
        versions = dict(recipe["environment"])
        source = versions.pop("source", "")
        rows.append(("ran on", ", ".join(f"{name} {value}" for name, value in versions.items()), source))
    for parent in told["parents"]:
        digests = parent["digests"]
        rows.append(("learnt or edited from", f"{parent['source']} ({parent['kind']})", str(digests.get("root") or digests.get("data") or "")))
    return rows


def _learnt(told: dict[str, Any], train: str | Path | Cohort) -> bool:
    """Whether a cohort is, image by image, the training manifest that the record names."""
    if not isinstance(train, Cohort) and not is_saved(Path(train)):
        raise DataError(f"train={str(train)!r} is no saved cohort; give the one that the generator was fitted on, or its folder")
    found = cohort_of("train", train)
    named = {value for parent in told["parents"] for name, value in parent["digests"].items() if name == "data" or name.startswith("root")}
    if not named:
        raise DataError("the record names no training data by digest, so that none can be compared with it")
    return manifest_root(found) in named or cohort_digest(found) in named
