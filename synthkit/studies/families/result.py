"""Families of generators side by side."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import interval_plot, picture_figure, plane
from synthkit.core.result import Tabled
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
from synthkit.studies.families.scoreboard import ADHERENCE, COST

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN = 10  # images of each family in the sheet
DRAWN_COSTS = ("training (min)", "time per image (ms)", "memory of sampling (MB)", "parameters (millions)")
MARKS = ("family", "real against real, or the judge on real images")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Tabled):
    """Families of generators side by side.

    Args:
        rows: one per family and measure: value, 95 % interval, n, the real floor, and the difference from the first family with a
            simultaneous 95 % interval and what it shows (`against_first`).
        notes: what must be said beside them.
        real: the test images whose factors were asked for.
        samples: each family's images of these requests, row by row.
        generators: the families, ready to use.
    """

    real: Cohort | None = None
    samples: Mapping[str, Cohort] = field(default_factory=dict)
    generators: Mapping[str, Generator] = field(default_factory=dict)

    def overview(self) -> pd.DataFrame:
        """Families side by side: one row per measure, its value and interval as text, `*` where it differs from the first family."""
        lines = self.rows.assign(text=[_text(row) for row in self.rows.to_dict("records")], order=range(len(self.rows)))
        lines["measure"] = lines["measure"].where(lines["group"] == "all", lines["measure"] + ", " + lines["group"].astype(str))
        table = lines.pivot_table(index=["aspect", "measure"], columns="family", values="text", aggfunc="first", sort=False)
        return table[list(self.samples)].fillna("").reset_index().rename_axis(columns=None)

    def figure(self) -> "Figure":
        """One panel per measure: each family with its interval, and the real floor in red."""
        kept = (self.rows["aspect"] != COST) | self.rows["measure"].isin(DRAWN_COSTS)
        levels = (self.rows["aspect"] == ADHERENCE) & self.rows["group"].astype(str).str.contains("=", regex=False)
        frame = self.rows[kept & ~levels & self.rows["value"].notna()]
        panel = frame["measure"].where(frame["group"] == "all", frame["measure"] + ", " + frame["group"].astype(str))
        return interval_plot(frame.assign(metric=panel, group=frame["family"]), title=self.title, names=MARKS)

    def sheet(self, *, images: int = SHOWN) -> "Figure":
        """Images of every family for the same requests: a column is one request, the first row the patient whose factors it names."""
        if self.real is None or not self.samples:
            raise DataError("this comparison carries no images; sheet() needs one made by sk.compare")
        cohorts = {"test image": self.real, **self.samples}
        rows = [[plane(cohort.images[i]) for i in range(min(images, len(cohort)))] for cohort in cohorts.values()]
        return picture_figure(rows, title="The same requests to every family", row_names=list(cohorts), caption="all but the first row are synthetic")


def _text(row: Mapping[str, object]) -> str:
    if not np.isfinite(row["value"]):
        return str(row["reading"])
    apart = " *" if row["against_first"] in ("better", "worse") else ""
    ends = f" [{row['low']:.3g}, {row['high']:.3g}]" if np.isfinite(row["low"]) else ""
    return f"{row['value']:.4g}{ends}{apart}"
