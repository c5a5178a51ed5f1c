"""A plan to rebalance a training set, with the synthetic images that carry it out."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.result import Tabled

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Rebalanced(Tabled):
    """A plan, and the synthetic images that carry it out.

    Args:
        rows: one row per cell: its levels, real images, patients, wanted images, synthetic images, whose factors are asked for.
        notes: what must be said beside them.
        train: the real images.
        complement: the synthetic ones.
    """

    train: Cohort
    complement: Cohort

    @property
    def plan(self) -> pd.DataFrame:
        """The plan: one row per cell."""
        return self.rows

    @property
    def joined(self) -> Cohort:
        """Real and synthetic images as one cohort to train on."""
        return self.train + self.complement

    def figure(self) -> "Figure":
        """Real and synthetic images per cell, stacked."""
        import plotly.graph_objects as go

        columns = list(self.rows.columns[: self.rows.columns.get_loc("real")])
        names = self.rows[columns].astype(str).agg(", ".join, axis=1)
        tints = {"real": "#2166ac", "synthetic": "#d8a36a"}
        bars = [go.Bar(x=self.rows[kind], y=names, orientation="h", name=kind, marker_color=tint) for kind, tint in tints.items()]
        figure = go.Figure(bars).update_layout(barmode="stack", title=self.title, template="plotly_white", height=140 + 30 * len(names), margin=dict(l=160))
        return figure.update_yaxes(autorange="reversed").update_xaxes(title_text="images")
