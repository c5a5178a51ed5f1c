"""The answer of an audit: figures per group, gaps, verdicts."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.result import Tabled
from synthkit.studies.audit.figures import ALL
from synthkit.studies.audit.gaps import verdict_frame
from synthkit.studies.audit.groups import CROSS
from synthkit.studies.audit.intervention import Intervention
from synthkit.studies.audit.measures import MEASURES

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MARKS = ("group, with its 95 % interval", "all images")
DRAWN = ("TPR", "FPR", "AUC", "ECE")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Audit(Tabled):
    """How well a classifier does in each group, and which gaps are more than chance.

    Args:
        rows: attribute, group, metric, value, low, high, expected (of the ECE: what a calibrated classifier would show), n,
            images, patients, positives, reading.
        notes: what must be said beside them.
        differences: one row per attribute and metric; see `gaps`.
        intervention: what editing the attribute itself does to the prediction, if an editor was given.
    """

    differences: pd.DataFrame
    intervention: Intervention | None = None

    def gaps(self) -> pd.DataFrame:
        """Per attribute and metric the largest difference of two groups, its interval and ratio, the groups, p values and verdict."""
        return self.differences

    def verdicts(self) -> pd.DataFrame:
        """Per attribute: "gap shown", "no gap shown" or "not assessed (too few)", and the gap that decided it."""
        return verdict_frame(self.differences, MEASURES)

    def worst(self) -> pd.DataFrame:
        """Per metric the worst group of all attributes, with its value, interval and n; the gap of that attribute has the verdict."""
        known = self.rows[self.rows["value"].notna() & (self.rows["attribute"] != ALL)]
        better = known["metric"].map({measure.name: measure.better for measure in MEASURES})
        merit = known["value"].where(better == "higher", -known["value"])
        return known.loc[merit.groupby(known["metric"], sort=False).idxmin()].drop(columns="reading").reset_index(drop=True)

    def figure(self) -> "Figure":
        """One panel per metric, one row per group, the value over all images as a red mark. Groups too small for a number are not drawn."""
        from synthkit.core.figures import interval_plot

        known = self.rows[self.rows["value"].notna() & self.rows["metric"].isin(DRAWN)]
        whole = known[known["attribute"] == ALL].set_index("metric")["value"]
        # Beside a single attribute its name says nothing; with pairs it would be said twice.
        label = known["group"].where(known["attribute"].str.contains(CROSS, regex=False), known["attribute"] + ": " + known["group"])
        drawn = known.assign(group=label, floor=known["metric"].map(whole))[known["attribute"] != ALL]
        drawn = drawn.sort_values("metric", key=lambda names: names.map(DRAWN.index), kind="stable")
        return interval_plot(drawn, title=self.title, names=MARKS)
