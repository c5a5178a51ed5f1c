"""Cohort: images and their clinical table, real or synthetic, always the same type."""
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.figures import img_tag, picture_figure, plane, planes, sheet
from synthkit.core.lineage import MADE_BY, records, root_of
from synthkit.core.missing import COLUMN
from synthkit.core.notice import COHORT, told
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance
from synthkit.core.randomness import permutation
from synthkit.core.schema import Category, Schema
from synthkit.core.space import Space
from synthkit.errors import DataError, LeakageError, SchemaError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from synthkit.core.result import Section

VOLUMES, PLANES = 3, ("axial", "coronal", "sagittal")  # on a contact sheet
NO_PATIENTS = "No patient column was given: every image counts as its own patient, so patients may stand on both sides of a split."


@dataclass(frozen=True, eq=False)
class Cohort:
    """Images + clinical table + schema + provenance.

    Args:
        images: the stored pixels; `images[i]` is float32 (C, [D,] H, W) in [-1, 1].
        table: one row per image, with the columns `image_id` (unique) and `patient_id`.
        schema: its factors; factor columns are checked.
        provenance: where the images come from.
        notes: caveats that follow the cohort everywhere.
        skipped: files that could not be read (`file`, `reason`).
    """

    images: Pixels
    table: pd.DataFrame
    schema: Schema
    provenance: Provenance
    notes: tuple[str, ...] = ()
    skipped: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["file", "reason"]))

    def __post_init__(self) -> None:
        table = self.schema.check(self.table.reset_index(drop=True))
        if len(table) != len(self.images):
            raise DataError(f"{len(self.images)} images but {len(table)} table rows; they must be one to one")
        if "image_id" not in table:
            table.insert(0, "image_id", [f"{i:06d}" for i in range(len(table))])
        table["image_id"] = table["image_id"].astype(str)
        twice = table["image_id"][table["image_id"].duplicated()]
        if len(twice):
            raise DataError(f"image_id {twice.iloc[0]!r} stands on more than one row; image ids must be unique")
        if "patient_id" not in table:
            table.insert(1, "patient_id", table["image_id"])
            object.__setattr__(self, "notes", tuple(dict.fromkeys((*self.notes, NO_PATIENTS))))
        table["patient_id"] = table["patient_id"].astype(str)
        missing = [name for name in self.schema.names if name not in table]
        if missing:
            raise SchemaError(f"the table has no column for factor {missing[0]!r}; it has {', '.join(map(str, table.columns))}")
        object.__setattr__(self, "table", table)

    @staticmethod
    def of(raw: np.ndarray, table: pd.DataFrame, *, schema: Schema, space: Space, provenance: Provenance, **more: Any) -> "Cohort":
        """A cohort of integer pixels (N, C, [D,] H, W) held in memory."""
        return Cohort(Pixels([raw], space), table, schema, provenance, **more)

    @property
    def space(self) -> Space:
        """Size, channels and spacing of every image."""
        return self.images.space

    def __len__(self) -> int:
        return len(self.images)

    def _take(self, rows: np.ndarray, **step: Any) -> "Cohort":
        table = self.table.iloc[rows].reset_index(drop=True)
        provenance = self.provenance.step(**step) if step else self.provenance
        return replace(self, images=self.images.take(rows), table=table, provenance=provenance)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> "Cohort":
        """A cohort of one row, a slice, a list of positions or a boolean mask."""
        if isinstance(index, (int, np.integer)):
            if not -len(self) <= index < len(self):
                raise IndexError(f"image {index} of a cohort of {len(self)}")
            index = [int(index) % len(self)]
        rows = np.arange(len(self))[index if isinstance(index, slice) else np.asarray(index, None if len(index) else int)]
        return self._take(rows)

    def __add__(self, other: "Cohort") -> "Cohort":
        """Both cohorts as one: same size, channels and factors; the provenance keeps both."""
        if not self.space.matches(other.space):
            raise DataError(f"cannot join images of {self.space.difference(other.space)}; load both with the same size= and window=")
        if self.schema != other.schema:
            ours, theirs = {repr(f) for f in self.schema.factors}, {repr(f) for f in other.schema.factors}
            raise SchemaError(f"cannot join cohorts with different factors: {', '.join(sorted(ours ^ theirs)) or 'other order'}")
        origin = Provenance.merge((self.provenance, other.provenance))
        # The maker of each image stays known where the cohort as a whole has several.
        same = all(part.provenance.key() == origin.key() and MADE_BY not in part.table for part in (self, other))
        tables = [part.table if same else part.table.assign(**{MADE_BY: part.made_by()}) for part in (self, other)]
        return Cohort(
            images=Pixels.join(self.images, other.images),
            table=pd.concat(tables, ignore_index=True),
            schema=self.schema,
            provenance=origin,
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
            skipped=pd.concat([self.skipped, other.skipped], ignore_index=True).drop_duplicates(),
        )

    def made_by(self) -> list[str]:
        """For each image the key of the record of what made it; see `makers`."""
        return self.table[MADE_BY].astype(str).tolist() if MADE_BY in self.table else [self.provenance.key()] * len(self)

    def makers(self) -> dict[str, Provenance]:
        """Who made the images, by key.

        Raises:
            DataError: an image says that it was made by what the provenance does not hold.
        """
        known, wanted = {record.key(): record for record in self.provenance.all()}, set(self.made_by())
        lost = sorted(wanted - set(known))
        if lost:
            raise DataError(f"column {MADE_BY}: {lost[0]!r} is none of the records in the cohort's provenance; leave that column as it is, or drop it")
        return {key: known[key] for key in wanted}

    @cached_property
    def root(self) -> str:
        """The Merkle root over the records of all images, and so over pixels, table and lineage; every image is read for it once."""
        return root_of([*records(self)])

    @property
    def version(self) -> str:
        """The start of `root`, by which the cohort is known again."""
        return self.root[:16]

    def where(self, condition: str) -> "Cohort":
        """The rows for which a pandas query holds, e.g. "effusion == 'present' and age > 60"."""
        try:
            mask = self.table.eval(condition)
        except Exception as error:
            raise SchemaError(f"cannot evaluate {condition!r} ({error}); columns are {', '.join(self.table.columns)}") from error
        if not isinstance(mask, pd.Series) or not pd.api.types.is_bool_dtype(mask):
            raise SchemaError(f"{condition!r} is not true or false for each row; compare a column, for instance \"age > 60\"")
        return self._take(np.flatnonzero(mask.fillna(False)), where=condition)

    def split(self, fractions: Sequence[float], *, by: str = "patient_id", seed: int = 0) -> tuple["Cohort", ...]:
        """Disjoint cohorts of about these shares; all images of one patient (column `by`) stay together.

        Raises:
            DataError: shares that are not positive or exceed 1, or fewer patients than parts.
        """
        if isinstance(fractions, (str, float, int)):
            raise DataError(f"split takes shares such as (.6, .2, .2), got {fractions!r}")
        shares = np.asarray(fractions, float)
        if (shares <= 0).any() or shares.sum() > 1 + 1e-9:
            raise DataError(f"split shares {tuple(fractions)} must be positive and add up to at most 1")
        if by not in self.table:
            raise SchemaError(f"cannot split by {by!r}: columns are {', '.join(self.table.columns)}")
        units = self.table[by].astype(str).to_numpy()
        names, counts = np.unique(units, return_counts=True)
        if len(names) < len(shares):
            raise DataError(f"{len(names)} distinct {by} cannot fill {len(shares)} parts; give fewer parts or more patients")
        order = permutation(len(names), seed=seed, identity=by, stream="split")
        part_of = _fill(counts[order], shares)
        chosen = dict(zip(names[order], part_of))
        labels = np.array([chosen[unit] for unit in units])
        parts = range(len(shares))
        return tuple(self._take(np.flatnonzero(labels == p), split=[*map(float, shares)], by=by, seed=int(seed), part=p) for p in parts)

    def counts(self) -> pd.DataFrame:
        """Images and patients per level or group of every factor, missing and not applicable counted apart."""
        rows = []
        for factor in self.schema.factors:
            groups = self.schema.groups(self.table, factor.name)
            unfit = ~self.schema.applies(factor, self.table)
            label = groups.where(groups.notna(), "missing").where(~unfit, "not applicable")
            order = [*(factor.levels if isinstance(factor, Category) else factor.group_names), "missing", "not applicable"]
            for level in order:
                here = (label == level).to_numpy()
                if here.any():
                    rows.append((factor.name, level, int(here.sum()), self.table["patient_id"][here].nunique()))
        return pd.DataFrame(rows, columns=["factor", "level", "images", "patients"])

    def caveats(self) -> list[str]:
        """What a reader must know before using these images."""
        marks = {"synthetic": "Synthetic images: generated, of no real patient.", "edited": "Edited images: each is a changed copy of its source.",
                 "mixed": "Real and synthetic images are mixed."}  # fmt: skip
        lines = [marks[self.provenance.kind]] if self.provenance.kind in marks else []
        if len(self.skipped):
            lines.append(f"{len(self.skipped)} files were skipped; see `.skipped` for the reasons.")
        lacking = self.table[COLUMN].fillna("").ne("").sum() if COLUMN in self.table else 0
        if lacking:
            lines.append(f"{lacking} of {len(self)} images lack a channel (column {COLUMN}).")
        return [*lines, *self.notes]

    def figure(self, *, images: int = 24, columns: int = 8) -> "Figure":
        """A contact sheet of the first images, titled with the cohort's kind and source; of volumes three planes of every channel."""
        if self.space.dims == 3 and len(self):
            return self._planes(min(images, VOLUMES))
        pictures = [plane(self.images[i]) for i in range(min(images, len(self)))]
        if not pictures:
            raise DataError("an empty cohort has no images to show")
        rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
        return picture_figure(rows, title=f"{self.provenance.kind.capitalize()}: {self.provenance.source} ({len(self)} images)")

    def _planes(self, images: int) -> "Figure":
        rows, names, channels = [], [], self.space.channels
        for i in range(min(images, len(self))):
            cuts = [planes(self.images[i][number : number + 1]) for number in range(len(channels))]
            rows += [list(row) for row in zip(*cuts)]
            names += [f"{self.table['image_id'].iloc[i][-16:]}, {name}" for name in PLANES]
        title = f"{self.provenance.kind.capitalize()}: {self.provenance.source} ({len(self)} volumes)"
        return picture_figure(rows, title=title, row_names=names, column_names=[channel.name for channel in channels])

    def _repr_html_(self) -> str:
        shown = [plane(self.images[i]) for i in range(min(12, len(self)))]
        pictures = img_tag(sheet(shown, columns=12), scale=max(1, 64 // shown[0].shape[0]), alt="thumbnails") if shown else ""
        size = " × ".join(map(str, self.space.size)) + f" px, {len(self.space.channels)} channel(s)"
        spacing = " × ".join(f"{s:.3g}" for s in self.space.spacing_mm) + " mm" if self.space.spacing_mm else "spacing unknown"
        patients = self.table["patient_id"].nunique()
        notes = "".join(f"<li>{escape(c)}</li>" for c in self.caveats())
        lineage = "\n".join(self.provenance.lines())
        return (
            f"<h4>{self.provenance.kind.capitalize()} cohort: {escape(self.provenance.source)}</h4>"
            f"<p>{len(self)} images of {patients} patients · {size} · {spacing} · licence: {escape(self.provenance.licence)}</p>{pictures}"
            f"<ul>{notes}</ul><details><summary>Counts per factor</summary>{self.counts().to_html(index=False, border=0)}</details>"
            f"<details><summary>Lineage</summary><pre>{escape(lineage)}</pre></details>"
        )

    def __repr__(self) -> str:
        return f"Cohort({self.provenance.kind}, {self.provenance.source!r}, {len(self)} images {self.space.shape}, factors {', '.join(self.schema.names)})"

    def save(self, folder: str | Path, *, qc: "Section | pd.DataFrame | None" = None) -> Path:
        """Write the cohort with a record of every image; an interrupted save leaves what stood there before. Read back with `sk.load(folder)`.

        Where this machine has a key (`synthkit keys`), what is saved is signed; `synthkit verify` tells whether all still is as it was.

        Args:
            folder: made if absent; an older cohort there is replaced.
            qc: quality control of these images, such as `sk.check(cohort)`, to be kept and signed with them.
        Raises:
            StoreError: a folder with other files, no room, another process that is writing there.
        """
        from synthkit.core.store import save

        return told(COHORT, save(self, Path(folder), qc=qc), cohort=self)


def _fill(counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Part of each patient: the part furthest below its share takes the next; a patient beyond all shares is left out (-1)."""
    total, filled = counts.sum(), np.zeros(len(shares))
    # .7 + .2 + .1 falls short of 1 by one rounding: that is no share.
    rest = 1 - shares.sum() if shares.sum() < 1 - 1e-9 else 0.0
    goals, filled = np.append(shares, rest) * total, np.append(filled, 0.0)
    part_of = np.empty(len(counts), int)
    for number in np.argsort(-counts, kind="stable"):
        deficit = (goals - filled) / np.maximum(goals, 1e-9)
        deficit[goals <= 0] = -np.inf
        part_of[number] = int(np.argmax(deficit))
        filled[part_of[number]] += counts[number]
    return np.where(part_of == len(shares), -1, part_of)


def require_disjoint(first: Cohort, second: Cohort, *, names: tuple[str, str], by: str = "patient_id") -> None:
    """Raise LeakageError if one patient stands in both cohorts."""
    both = sorted(set(first.table[by]) & set(second.table[by]))
    if both:
        raise LeakageError(
            f"{len(both)} patient(s) stand in both {names[0]} and {names[1]} (first: {both[0]!r}); "
            f"split by patient first: cohort.split((.6, .2, .2), by={by!r})"
        )
