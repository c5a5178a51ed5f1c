"""A classifier under sweeps of single factors."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import interval_plot, picture_figure, plane
from synthkit.core.result import Tabled
from synthkit.errors import SchemaError
from synthkit.studies.sweeps.scores import AUC, CHANCE, SENSITIVITY, SPECIFICITY
from synthkit.studies.sweeps.seen import SHOWN

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("factor", "value", "images", "measure", "score", "low", "high", "change", "change_low", "change_high", "n", "patients", "limit", "broken")
MEASURES = (AUC, SENSITIVITY, SPECIFICITY)
DRAWN = (*MEASURES, CHANCE, SHOWN)


@dataclass(frozen=True, eq=False, repr=False)
class Stress(Tabled):
    """A classifier under sweeps of single factors.

    Args:
        rows: one per factor, value, kind of images and measure: score, 95 % interval over patients, paired change from the
            reference (the first value of the sweep), the limit, and whether the score is surely below it.
        notes: what must be said beside them.
        target: what the classifier predicts.
        share: of the reference score, below which the classifier counts as broken.
        samples: the images, by factor and value.
    """

    target: str = ""
    share: float = 0.9
    samples: Mapping[str, Mapping[object, Cohort]] = field(default_factory=dict)

    def breaks(self) -> pd.DataFrame:
        """Per factor and measure the first value at which the classifier is surely below the limit, or that none is."""
        found = []
        for (factor, images, measure), part in self.rows[self.rows["measure"].isin(MEASURES)].groupby(["factor", "images", "measure"], sort=False):
            broken = part[part["broken"].astype(bool)]
            at = broken["value"].iloc[0] if len(broken) else f"none shown up to {part['value'].iloc[-1]}"
            found.append((factor, images, measure, part["value"].iloc[0], part["score"].iloc[0], part["limit"].iloc[0], at, int(part["n"].iloc[0])))
        return pd.DataFrame(found, columns=["factor", "images", "measure", "reference", "reference_score", "limit", "breaks_at", "n"])

    def figure(self) -> "Figure":
        """One panel per factor and measure: the score at each value, and the limit in red."""
        frame = self.rows[self.rows["measure"].isin(DRAWN)]
        several = frame["images"].nunique() > 1
        group = frame["value"].astype(str) + (", " + frame["images"] if several else "")
        return interval_plot(
            frame.assign(metric=frame["measure"] + ", " + frame["factor"], group=group, value=frame["score"], floor=frame["limit"]),
            title=self.title, names=("score", f"limit: {self.share:.0%} of the reference"),
        )  # fmt: skip

    def sheet(self, factor: str, *, subjects: int = 4) -> "Figure":
        """The same subjects, one a row, at each value of a factor, one a column."""
        if factor not in self.samples:
            raise SchemaError(f"{factor!r} was not swept; this result has {', '.join(self.samples)}")
        cohorts = self.samples[factor]
        rows = [[plane(cohort.images[i]) for cohort in cohorts.values()] for i in range(min(subjects, len(next(iter(cohorts.values())))))]
        return picture_figure(rows, title=f"The same subjects with {factor} set", column_names=[str(value) for value in cohorts], caption="synthetic images")
