"""Counterfactual tables and what must be said beside them."""
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.causal.graph import CausalGraph
from synthkit.causal.step import FLAGS, Step
from synthkit.core.result import Section
from synthkit.core.schema import Category, Factor, Quantity

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SURE = 0.9
# Below this a level is not certain; above, what it lacks is rounding.
CERTAIN = 1 - 1e-9
UNAVERAGED = (
    "{names}: `edited` shows the most probable level of each row, and what follows from it, so its columns must not be averaged, and `moved` and "
    "`changed` count only rows whose most probable level changed. For averages use `.probabilities`, or `scm.do(...).sample(...)`"
)


@dataclass(frozen=True, eq=False, repr=False)
class TableCounterfactual(Section):
    """Factual rows and their counterfactual twins.

    Args:
        factual, edited: tables of equal length, row by row; columns that are no factors are the same in both.
        do: the factors that were set. effect: "total" or "direct".
        steps: per factor that was set or could move, what became of it.
    """

    graph: CausalGraph
    factual: pd.DataFrame
    edited: pd.DataFrame
    do: Mapping[str, Any]
    effect: str
    steps: Mapping[str, Step]

    @property
    def title(self) -> str:  # type: ignore[override]
        settings = [f"{name} → {_shown(value)}" for name, value in self.do.items()]
        return f"What if: {', '.join(settings) or 'nothing is set'} ({self.effect} effect)"

    @property
    def moved(self) -> tuple[str, ...]:
        """The factors that changed in some row without being set."""
        return tuple(name for name, step in self.steps.items() if step.part != "set" and step.changed.any())

    @cached_property
    def probabilities(self) -> pd.DataFrame:
        """Counterfactual probability of each level given the factual row: columns (factor, level), for the categories that follow.

        Each holds for the values of its parents that `edited` shows.
        """
        shares = {name: step.shares for name, step in self.steps.items() if step.shares is not None}
        parts = {name: pd.DataFrame(share, self.edited.index, self.graph.schema[name].levels) for name, share in shares.items()}
        return pd.concat(parts, axis=1, names=["factor", "level"]) if parts else pd.DataFrame(index=self.edited.index)

    def frame(self) -> pd.DataFrame:
        """Per factor: rows, rows changed, mean change, mean probability of the level shown, share of rows outside the support.

        `expected_changed` is the mean probability that a category that follows leaves its factual level, over the rows that have one.
        """
        columns = ["factor", "part", "rows", "changed", "expected_changed", "mean_change", "unit", "mean_probability", "outside_support"]
        return pd.DataFrame([self._row(self.graph.schema[name], step) for name, step in self.steps.items()], columns=columns)

    def _row(self, factor: Factor, step: Step) -> tuple[object, ...]:
        quantity = isinstance(factor, Quantity)
        sure, left = (float(np.nanmean(shares)) if np.isfinite(shares).any() else np.nan for shares in (step.chosen, step.left))
        outside = float(step.flags["outside"].mean()) if "outside" in step.flags else np.nan
        change = step.shift if quantity else np.nan
        return factor.name, step.part, len(step.after), int(step.changed.sum()), left, change, factor.unit if quantity else "", sure, outside

    def figure(self) -> "Figure":
        """The causal graph: what was set, what moved, and by how much."""
        notes = {name: self._note(self.graph.schema[name], step) for name, step in self.steps.items() if step.changed.any()}
        figure = self.graph.figure(set_to=tuple(self.do), moved=self.moved, notes=notes)
        return figure.update_layout(title_text=self.title)

    def _note(self, factor: Factor, step: Step) -> str:
        if isinstance(factor, Category) or not np.nan_to_num(step.shift):
            return f"{step.changed.sum()} of {len(step.after)} changed"
        return f"mean {step.shift:+.3g} {factor.unit}".rstrip()

    def caveats(self) -> list[str]:
        said = []
        for name, step in self.steps.items():
            if step.part == "set":
                said += self._support(name, step)
            doubtful = int(((step.chosen < SURE) & ~step.drawn).sum())
            if doubtful:
                said.append(f"{name}: the most probable value is shown; in {_rows(doubtful)} it is less than {100 * SURE:g} % probable")
            counts = {flag: int(step.flags[flag].sum()) for flag in FLAGS if flag in step.flags}
            said += [FLAGS[flag].format(name=name, some=_rows(count)) for flag, count in counts.items() if count]
        guessed = [name for name, step in self.steps.items() if ((step.chosen < CERTAIN) & ~step.drawn).any()]
        said += [UNAVERAGED.format(names=", ".join(guessed))] if guessed else []
        return [*said, *self._assumptions()]

    def _support(self, name: str, step: Step) -> list[str]:
        """Says in how many rows the set value is one that the model hardly ever gives."""
        count, total = int(step.flags["outside"].sum()), len(step.after)
        if not count:
            return []
        given = f"{name} given its parents" if self.graph.parents(name) else name
        value = f"{name} = {_shown(self.do[name])}"
        if isinstance(self.graph.schema[name], Category):
            return [f"{count} of {total} rows: {value} has a probability under 0.5 % ({given}); the answer there is extrapolated"]
        return [f"{count} of {total} rows: {value} lies outside the 0.5–99.5 % quantiles of {given}; the answer there is extrapolated"]

    def _assumptions(self) -> list[str]:
        if not self.do:
            return []
        if self.effect == "direct":
            held = [name for name, step in self.steps.items() if step.part == "held" and not step.changed.any()]
            would = f" The model says that they would follow: {', '.join(held)}." if held else ""
            return [f"All other factors were held: this is an edit under that assumption, not what would happen to a patient.{would}"]
        moved = f"Descendants that moved: {', '.join(self.moved)}." if self.moved else "No descendant moved."
        return [f"{moved} That rests on the causal graph, and on each factor rising or falling with its own noise; data cannot confirm either."]


def _shown(value: Any) -> str:
    if not pd.api.types.is_scalar(value):
        return "a value per row"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def _rows(count: int) -> str:
    return f"{count} row{'s' if count > 1 else ''}"
