"""What two versions of a cohort differ in: images that came, went or changed, factors, and what the images are."""
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.lineage import canonical_json
from synthkit.core.provenance import pixel_digest
from synthkit.core.result import Tabled
from synthkit.core.schema import Category
from synthkit.evidence.given import cohort_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("what", "images", "detail")


@dataclass(frozen=True, eq=False, repr=False)
class Difference(Tabled):
    """`what` differs between two cohorts, in how many `images`, and `detail`; no row where they are the same."""

    @property
    def same(self) -> bool:
        """Whether both hold the same images under the same factors, with the same lineage."""
        return self.rows.empty

    def figure(self) -> "Figure":
        from plotly.graph_objects import Bar, Figure

        return Figure(Bar(x=self.rows["what"], y=self.rows["images"]), layout={"title": self.title, "yaxis_title": "images"})


def diff(before: str | Path | Cohort, after: str | Path | Cohort) -> Difference:
    """What changed from one cohort to another, image by image; images are matched by `image_id`."""
    old, new = cohort_of("before", before), cohort_of("after", after)
    found = [*_rows(old, new)]
    if not found and old.root != new.root:
        found = [("lineage", len(new), "the same images and factors; their records name another maker, setting or version of the code")]
    rows = pd.DataFrame(found, columns=[*COLUMNS])
    title = f"{old.version} ({len(old)} images) to {new.version} ({len(new)} images)" + (": no difference" if rows.empty else "")
    return Difference(title, rows)


def _rows(old: Cohort, new: Cohort) -> Iterator[tuple[str, int, str]]:
    apart = old.space.difference(new.space)
    if apart or old.space != new.space:
        yield "images as such", len(new), apart or "other integer scale or spacing"
    left, right = ({repr(factor): factor.name for factor in cohort.schema.factors} for cohort in (old, new))
    for text, word in [*((t, "no longer declared") for t in left if t not in right), *((t, "newly declared") for t in right if t not in left)]:
        yield f"factor {word}", len(new), text
    places = [{name: row for row, name in enumerate(cohort.table["image_id"])} for cohort in (old, new)]
    for word, mine, theirs in (("removed", *places), ("added", *places[::-1])):
        names = [name for name in mine if name not in theirs]
        if names:
            yield f"images {word}", len(names), f"first: {names[0]}"
    both = [name for name in places[0] if name in places[1]]
    yield from _changed(old, new, both, *places)
    if [name for name in places[1] if name in places[0]] != both:
        yield "order", len(both), "the images that both have stand in another order"
    yield from _shares(old, new)


def _changed(old: Cohort, new: Cohort, both: list[str], mine: dict[str, int], theirs: dict[str, int]) -> Iterator[tuple[str, int, str]]:
    other = [n for n in both if pixel_digest(old.images.raw([mine[n]])) != pixel_digest(new.images.raw([theirs[n]]))]
    if other:
        yield "pixels changed", len(other), f"first: {other[0]}"
    tables = [cohort.table.set_index("image_id").loc[both] for cohort in (old, new)]
    for column in dict.fromkeys([*tables[0].columns, *tables[1].columns]):
        if any(column not in table for table in tables):
            yield f"column {column}", len(both), "only in the " + ("first" if column in tables[0] else "second")
            continue
        values = [[canonical_json(value) for value in table[column]] for table in tables]
        rows = [row for row, (a, b) in enumerate(zip(*values)) if a != b]
        if rows:
            yield f"{column} changed", len(rows), f"first: {both[rows[0]]}, {values[0][rows[0]].decode()} to {values[1][rows[0]].decode()}"


def _shares(old: Cohort, new: Cohort) -> Iterator[tuple[str, int, str]]:
    """How the factors that both have are spread, where that changed."""
    for factor in old.schema.factors:
        if factor.name not in new.schema or not len(old) or not len(new):
            continue
        a, b = (cohort.table[factor.name] for cohort in (old, new))
        if isinstance(factor, Category):
            for level in factor.levels:
                shares = [float((values == level).mean()) for values in (a, b)]
                if not np.isclose(*shares):
                    yield f"{factor.name} = {level}", int((b == level).sum()), f"{shares[0]:.1%} to {shares[1]:.1%}"
        elif not np.isclose(a.mean(), b.mean(), equal_nan=True):
            before, after = (f"{values.mean():.4g}" if values.notna().any() else "none stated" for values in (a, b))
            yield f"{factor.name}, mean", int(b.notna().sum()), f"{before} to {after} {factor.unit}".rstrip()
