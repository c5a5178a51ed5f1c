"""Which metric noticed which fault: the answer of a sensitivity study."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.intervals import wilson
from synthkit.core.result import Tabled

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SEEN = 3.0  # standard deviations of the faultless scores


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity(Tabled):
    """Which metric sees which fault.

    Args:
        rows: DataFrame corruption, degree, unit, metric, extractor, value, floor, z, n, splits. `value` is the mean over
            random splits of the patients, `floor` the same without the fault, `z` how many standard deviations of the
            faultless scores lie between the two, positive where the metric calls it worse.
    """

    def seen(self) -> pd.DataFrame:
        """The least degree of each fault from which on z stays above 3, one row per metric; blank where it stays unseen."""
        table = self.rows.pivot_table(index=["metric", "extractor"], columns="corruption", values="degree", aggfunc="min", sort=False).astype(object)
        for (metric, extractor, corruption), part in self.rows.groupby(["metric", "extractor", "corruption"], sort=False):
            late = part.loc[part["z"][::-1].cummin()[::-1] > SEEN, "degree"]
            table.loc[(metric, extractor), corruption] = late.min() if len(late) else ""
        return table.reset_index()

    def figure(self) -> "Figure":
        from synthkit.core.curves import curves

        panels = {str(name): part for name, part in self.rows.groupby("corruption", sort=False)}
        units = [part["unit"].iloc[0] for part in panels.values()]
        return curves(panels, x="degree", y="z", line="metric", title=self.title, y_name="z: standard deviations of faultless scores", mark=SEEN, x_names=units)


def summary(found: pd.DataFrame, splits: int) -> pd.DataFrame:
    """The rows of a `Sensitivity` from single scores: corruption, degree, unit, metric, extractor, value, better, share, n."""
    rows = []
    for (corruption, unit, metric, extractor), part in found.groupby(["corruption", "unit", "metric", "extractor"], sort=False):
        clean = part.loc[part["degree"] == 0, "value"]
        worse, n = 1 if part["better"].iloc[0] == "lower" else -1, int(part["n"].min())
        spread = clean.std(ddof=1)
        if part["share"].iloc[0]:
            # A share of 1 in every split has no spread, and yet is not certain.
            low, high = wilson(round(clean.mean() * n), n)
            spread = max(spread, (high - low) / 4)
        for degree, here in part.groupby("degree"):
            z = worse * (here["value"].mean() - clean.mean()) / spread if spread > 0 else float("nan")
            rows.append({"corruption": corruption, "degree": degree, "unit": unit, "metric": metric, "extractor": extractor,
                         "value": here["value"].mean(), "floor": clean.mean(), "z": z, "n": int(here["n"].min()), "splits": splits})  # fmt: skip
    return pd.DataFrame(rows)
