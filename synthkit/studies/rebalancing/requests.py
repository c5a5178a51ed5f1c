"""The requests of a plan: factors of real people, with each cell's own levels set."""
from collections.abc import Mapping

import numpy as np
import pandas as pd

from synthkit.core.randomness import generator
from synthkit.core.schema import Quantity
from synthkit.studies.rebalancing.cells import Cells
from synthkit.studies.rebalancing.plan import OWN


def requested(plan: pd.DataFrame, cells: Cells, *, seed: int) -> pd.DataFrame:
    """One row of factors per synthetic image of a plan, cell after cell."""
    return pd.concat([_of_cell(row, cells, seed) for row in plan.to_dict("records") if row["synthetic"]], ignore_index=True)


def _of_cell(row: Mapping[str, object], cells: Cells, seed: int) -> pd.DataFrame:
    """The factors of real people for one cell, drawn with replacement, with the cell's own levels set."""
    wanted = {name: str(row[name]) for name in cells.names}
    rng, labels, train = generator(seed, "/".join(wanted.values()), "rebalance"), cells.labels, cells.train
    drawn = rng.choice(_donors(row, wanted, cells), int(row["synthetic"]))  # type: ignore[call-overload]
    table = train.table.iloc[drawn].reset_index(drop=True)
    for name, level in wanted.items():
        foreign = (labels[name].iloc[drawn] != level).to_numpy(bool)
        if foreign.any():
            values = table[name].to_numpy(object, copy=True)
            values[foreign] = _values(cells, name, level, int(foreign.sum()), rng)
            table = train.schema.do(table, {name: values})
    return table


def _donors(row: Mapping[str, object], wanted: Mapping[str, str], cells: Cells) -> np.ndarray:
    """The images whose factors are repeated: the cell's own, and those of the nearest cells where its people are too few."""
    # Another level of the finding stands further away than any other group with it.
    weight = {name: 1 if name in cells.by else len(cells.names) for name in cells.names}
    apart = sum(weight[name] * (cells.labels[name] != level) for name, level in wanted.items()).where(cells.labels.notna().all(axis=1))
    own, others = np.flatnonzero(apart == 0), apart[apart > 0]
    if row["asked like"] == OWN or not len(others):
        return own
    return np.concatenate([own, np.flatnonzero(apart == others.min())])


def _values(cells: Cells, name: str, level: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """The level, or for a quantity values of real people of this group, or where there are none anything in its range."""
    factor = cells.train.schema[name]
    if not isinstance(factor, Quantity):
        return np.full(count, level, object)
    known = cells.train.table[name].to_numpy(float)[(cells.labels[name] == level).to_numpy(bool)]
    if len(known):
        return rng.choice(known, count)
    edges = [factor.low, *(factor.cuts or ((factor.low + factor.high) / 2,)), factor.high]
    place = factor.group_names.index(level)
    # A group holds its lower edge, not its upper one.
    return np.minimum(rng.uniform(edges[place], edges[place + 1], count), np.nextafter(edges[place + 1], -np.inf))
