"""The walk through a causal graph that turns factual rows into counterfactual ones."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synthkit.causal.abduction import level_intervals, predict, rare
from synthkit.causal.codes import checked_do, coded, complete, known, named, set_column, table_of, within
from synthkit.causal.noise import Array
from synthkit.causal.result import TableCounterfactual
from synthkit.causal.scm import SCM
from synthkit.causal.step import Step
from synthkit.core import randomness
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Factor
from synthkit.errors import SchemaError

EFFECTS = ("total", "direct")
# A quantity that moves by less than this share of its range has moved by rounding alone.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Rows:
    """The rows in question: what was seen, and what keys the draws of values that come to apply."""

    scm: SCM
    factual: pd.DataFrame
    identities: Sequence[Any]
    seed: int

    def drawn(self, name: str, rows: Array) -> Array:
        """Own noise for some rows, each from its own stream."""
        law = self.scm.mechanisms[name].law
        sources = [randomness.generator(self.seed, self.identities[row], f"factor.{name}") for row in np.flatnonzero(rows)]
        return np.array([law.draw(source, 1)[0] for source in sources])


def counterfactual(scm: SCM, source: pd.DataFrame | Cohort, do: Mapping[str, Any], *, effect: str, seed: int) -> TableCounterfactual:
    """See `SCM.counterfactual`."""
    if effect not in EFFECTS:
        raise SchemaError(f"effect: {effect!r} is not one of {', '.join(EFFECTS)}")
    schema, table, do = scm.graph.schema, table_of(source), checked_do(do)
    factual = complete(schema, table)
    settings = {schema[name].name: set_column(schema[name], value, factual.index) for name, value in do.items()}
    rows = Rows(scm, factual, table["image_id"].tolist() if "image_id" in table else range(len(table)), seed)
    edited, descendants, steps = factual.copy(), scm.graph.descendants(settings), {}
    for name in scm.graph.order:
        if name in settings:
            steps[name] = _set(rows, edited, schema[name], settings[name])
        elif name in descendants:
            steps[name] = _follow(rows, edited, schema[name], held=effect == "direct")
        if name in steps:
            edited[name] = named(schema[name], steps[name].after, factual.index)
    result = table.copy()
    for name, step in steps.items():
        if step.changed.any():
            result[name] = _typed(edited[name], table[name])
    return TableCounterfactual(scm.graph, table.copy(), result, dict(do), effect, steps)


def _set(rows: Rows, edited: pd.DataFrame, factor: Factor, column: pd.Series) -> Step:
    scm, name = rows.scm, factor.name
    applies = scm.graph.schema.applies(factor, edited)
    old, new = coded(factor, rows.factual[name]), np.where(applies, coded(factor, column), np.nan)
    judged = applies & known(scm.graph.schema, edited, scm.graph.parents(name))
    outside = np.zeros(len(new), bool)
    if judged.any():
        outside[judged] = rare(factor, scm.mechanisms[name], new[judged], _some(scm.causes(name, edited), judged))
    return Step("set", old, new, flags={"outside": outside, "not applicable": ~applies})


def _follow(rows: Rows, edited: pd.DataFrame, factor: Factor, *, held: bool) -> Step:
    """A descendant: kept where no parent changed, else predicted; blank where it ceases to apply, drawn where it begins to."""
    scm, name, schema = rows.scm, factor.name, rows.scm.graph.schema
    before, after = scm.causes(name, rows.factual), scm.causes(name, edited)
    applied, applies = schema.applies(factor, rows.factual), schema.applies(factor, edited)
    ready, old = known(schema, edited, scm.graph.parents(name)), coded(factor, rows.factual[name])
    moved = applied & applies & _differ(before, after, len(old)) & (not held)
    again = moved & ready & ~np.isnan(old) & known(schema, rows.factual, scm.graph.parents(name))
    begins = applies & ~applied & ready
    flags = {"drawn": begins, "unknown": moved & ~again, "ceased": ~applies & ~np.isnan(old)}
    new, shares = np.where(applies & ~moved, old, np.nan), None
    if isinstance(factor, Category) and not held:
        shares = (new[:, None] == np.arange(len(factor.levels))) + np.where(np.isnan(new), np.nan, 0)[:, None]
    if again.any():
        found = predict(factor, scm.mechanisms[name], old[again], _some(before, again), _some(after, again))
        new[again] = _settled(factor, old[again], found.values)
        flags |= {"open": _spread(found.open, again), "impossible": _spread(found.impossible, again)}
        if shares is not None:
            shares[again] = found.shares
    if begins.any():
        causes = _some(after, begins)
        new[begins] = within(factor, scm.mechanisms[name].value(rows.drawn(name, begins), *causes))
        if shares is not None:
            low, high = level_intervals(factor, scm.mechanisms[name], begins.sum(), causes)
            shares[begins] = high - low
    return Step("held" if held else "follows", old, new, shares, flags)


def _some(columns: Sequence[Array], rows: Array) -> list[Array]:
    return [column[rows] for column in columns]


def _spread(part: Array, rows: Array) -> Array:
    """A flag of some rows as a flag of all."""
    whole = np.zeros(len(rows), bool)
    whole[rows] = part
    return whole


def _settled(factor: Factor, old: Array, new: Array) -> Array:
    """New codes, the old ones where they differ by rounding alone: nothing that hangs on them then moves either."""
    slack = 0.0 if isinstance(factor, Category) else ROUNDING * (factor.high - factor.low)
    return np.where(np.abs(new - old) <= slack, old, new)


def _differ(before: Sequence[Array], after: Sequence[Array], count: int) -> Array:
    """(N,) bool: any parent differs (blank equals blank)."""
    return np.any([~np.isclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in zip(before, after)] or [np.zeros(count, bool)], axis=0)


def _typed(column: pd.Series, like: pd.Series) -> pd.Series:
    """Text goes back into the kind of text column that it came from."""
    return column.astype(like.dtype) if isinstance(like.dtype, pd.StringDtype) else column
