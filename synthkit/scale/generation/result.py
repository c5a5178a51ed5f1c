"""What a generation left: how many images, under which root, and what was rejected."""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.result import Tabled
from synthkit.core.store import load
from synthkit.data.load import load as loaded
from synthkit.data.remote import is_remote

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN = 24


@dataclass(frozen=True, eq=False, repr=False)
class Generation(Tabled):
    """A saved synthetic cohort that is read when it is asked for: `what` and `value`, one row per fact.

    Args:
        folder: folder or address.
        images: that came out.
        root: Merkle root over their records; the same for every engine, number of workers and shard size.
        rejected: draws that were near copies of refused images; `left_out` requests gave nothing else.
        drawn: images that were drawn by this call, the others were there.
        seconds: of this call.
    """

    folder: str = ""
    images: int = 0
    root: str = ""
    rejected: int = 0
    left_out: int = 0
    drawn: int = 0
    seconds: float = 0.0

    @staticmethod
    def of(folder: str, manifest: dict[str, Any], *, drawn: int, seconds: float) -> "Generation":
        """From the manifest of the finished cohort."""
        record = Provenance.from_json(manifest["provenance"])
        last = record.recipe["steps"][-1]
        facts = {"images": manifest["images"], "root": manifest["root"], "rejected": last.get("rejected", 0), "left_out": last.get("left_out", 0)}
        rows = {**facts, "shards": len(manifest["shards"]), "drawn by this call": drawn, "seconds": round(seconds, 1)}
        title = f"{manifest['images']:,} images by {record.source}, seed {record.seed}"
        notes = ("Synthetic images: generated, of no real patient.", *manifest["notes"])
        return Generation(title, pd.DataFrame(rows.items(), columns=["what", "value"]), notes, folder=folder, drawn=drawn, seconds=seconds, **facts)

    @cached_property
    def cohort(self) -> Cohort:
        """The images with their table; pixels stay on disk until they are looked at."""
        return loaded(self.folder)

    def first(self, images: int = SHOWN) -> Cohort:
        """The first images, without the table of all others."""
        return (self.cohort if is_remote(self.folder) else load(Path(self.folder), first=images))[:images]

    def figure(self) -> "Figure":
        return self.first().figure()
