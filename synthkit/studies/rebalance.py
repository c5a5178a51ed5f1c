"""Rebalancing: synthetic images for the groups that a training set has too few of."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.randomness import generator
from synthkit.core.result import Tabled
from synthkit.core.schema import Quantity, Schema
from synthkit.errors import DataError, SchemaError
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FEW = 10  # patients: under them a cell's own people are too few to draw requests from
OWN, NEAREST = "its own", "its own and the nearest cells'"
Cell = tuple[str, ...]
Target = str | Mapping[str | Cell, int | float]


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


def rebalance(
    gen: Generator, train: Cohort, *, by: Sequence[str] | str, target: Target = "balanced", within: str | None = None, limit: int = 4_096,
    test: Cohort | None = None, seed: int = 0,
) -> Rebalanced:  # fmt: skip
    """The synthetic complement that brings every group of a training set to a target; nothing real is taken away.

    The requests repeat the other factors of real people of the same cell, so that they stay plausible; a cell of fewer than ten
    patients borrows those of the cells that differ in the fewest of `by`, with `by` set.

    Args:
        gen: a generator that knows `by` and `within`; fitted on no test patient.
        train: the real training images.
        by: factors whose levels or groups (quantities, cut where the schema says) are the cells.
        target: "balanced" for as many as the largest cell, or {cell: images}, or {cell: share} adding up to 1; a cell is a level,
            or a tuple of levels where `by` names several factors.
        within: a finding, for instance; the target is then met at each of its levels by itself, and so at equal prevalence when balanced.
        limit: most synthetic images; a plan that needs more is refused before anything is drawn.
        test: patients that neither `train` nor the generator may hold.
        seed: of the requests and of the noise.
    Raises:
        SchemaError: a factor that the generator or the cohort does not know, an unknown cell.
        DataError: shares that do not add up to 1, fewer images asked for than there are, nothing to add, or more than `limit`.
        LeakageError: test patients in `train` or known to the generator.

    Example:
        more = sk.rebalance(gen, train, by="sex", within="effusion", test=test)
        clf = sk.Classifier("effusion").fit(more.joined, seed=0)
    """
    names = (by,) if isinstance(by, str) else tuple(by)
    cells = (*names, within) if within is not None else names
    _require_known(gen, train, names, cells)
    if test is not None:
        require_disjoint(train, test, names=("train", "test"))
        gen.require_unseen(test)
    if not gen.space.matches(train.space):
        raise DataError(f"the generator makes other images than train holds: {gen.space.difference(train.space)}; load train with size={gen.space.size[-1]}")
    labels = pd.DataFrame({name: train.schema.groups(train.table, name).to_numpy(object) for name in cells}, dtype=object)
    if not labels.notna().all(axis=1).any():
        raise DataError(f"no image of train has a known value of {', '.join(cells)}; there is nothing to balance")
    plan = _plan(labels, train, names, within, target)
    total = int(plan["synthetic"].sum())
    if total == 0:
        raise DataError("every cell already holds what is asked for; train on the cohort as it is, or ask for more")
    if total > limit:
        raise DataError(f"the plan needs {total} synthetic images, more than limit={limit}; ask for less, or raise limit=\n{plan.to_string(index=False)}")
    shared = tuple(name for name in train.schema.names if name in gen.schema and gen.schema[name] == train.schema[name])
    requests = pd.concat([_requests(row, train, labels, names, cells, seed) for row in plan.to_dict("records") if row["synthetic"]], ignore_index=True)
    requests = requests[list(shared)].assign(image_id=[f"rebalance-{number}" for number in range(len(requests))])
    made = gen.sample(requests, seed=seed)
    blank = {name: pd.Series([None] * len(made), dtype=object) for name in train.schema.names if name not in shared}
    kept = made.table[["image_id", "patient_id", "request_id", *shared]].assign(**blank)
    title = f"Rebalancing of {train.provenance.source} by {', '.join(names)}" + (f" within {within}" if within else "")
    return Rebalanced(title, plan, tuple(_notes(plan, cells, labels, tuple(blank))), train=train, complement=replace(made, table=kept, schema=train.schema))


def _require_known(gen: Generator, train: Cohort, names: tuple[str, ...], cells: tuple[str, ...]) -> None:
    if not names or len(set(cells)) < len(cells):
        raise SchemaError(f"by={names}, within={cells[len(names):] or None}: name one factor or more, each once")
    for name in cells:
        if name not in train.schema or name not in gen.schema:
            where = "train" if name not in train.schema else "the generator"
            shared = [known for known in train.schema.names if known in gen.schema]
            raise SchemaError(f"{where} does not know the factor {name!r}, so no image can be asked for by it; both know {', '.join(shared) or 'none'}")
        if gen.schema[name] != train.schema[name]:
            raise SchemaError(f"{name} is declared as {train.schema[name]} in train and as {gen.schema[name]} in the generator; load train with one schema=")


def _groups(schema: Schema, name: str) -> list[str]:
    factor = schema[name]
    return list(factor.group_names if isinstance(factor, Quantity) else factor.levels)


def _plan(labels: pd.DataFrame, train: Cohort, names: tuple[str, ...], within: str | None, target: Target) -> pd.DataFrame:
    """One row per cell: levels, real, patients, wanted, synthetic, whose factors are asked for."""
    asked = _asked(target, train.schema, names)
    there = [[group for group in _groups(train.schema, name) if (labels[name] == group).any() or any(key[place] == group for key in asked)]
             for place, name in enumerate(names)]  # fmt: skip
    levels = [None] if within is None else [group for group in _groups(train.schema, within) if (labels[within] == group).any()]
    rows = []
    for level in levels:
        cells = list(product(*there))
        here = [_rows(labels, names, cell, within, level) for cell in cells]
        wanted = _wanted(dict(zip(cells, map(len, here))), target, asked)
        for cell, own in zip(cells, here):
            patients = train.table["patient_id"].iloc[own].nunique()
            row = dict(zip(names, cell)) | ({within: level} if within is not None else {})
            rows.append({**row, "real": len(own), "patients": patients, "wanted": wanted[cell], "synthetic": wanted[cell] - len(own),
                         "asked like": OWN if patients >= FEW else NEAREST})  # fmt: skip
    return pd.DataFrame(rows)


def _rows(labels: pd.DataFrame, names: tuple[str, ...], cell: Cell, within: str | None, level: str | None) -> np.ndarray:
    mask = np.logical_and.reduce([labels[name] == group for name, group in zip(names, cell)])
    return np.flatnonzero(mask if within is None else mask & (labels[within] == level))


def _asked(target: Target, schema: Schema, names: tuple[str, ...]) -> dict[Cell, int | float]:
    """The target as {cell: number}; empty for "balanced"."""
    if isinstance(target, str) or not isinstance(target, Mapping) or not target:
        if target == "balanced":
            return {}
        raise DataError(f'target={target!r} is neither "balanced" nor {{cell: images}} nor {{cell: share}}')
    asked = {(key,) if isinstance(key, str) else tuple(key): value for key, value in target.items()}
    for cell, value in asked.items():
        if len(cell) != len(names) or any(group not in _groups(schema, name) for name, group in zip(names, cell)):
            allowed = "; ".join(f"{name}: {', '.join(_groups(schema, name))}" for name in names)
            raise SchemaError(f"target: {cell} is no cell of {', '.join(names)}; each takes one of {allowed}")
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not value >= 0:
            raise DataError(f"target: {cell} = {value!r}; give a number of images, or a share in 0..1")
    shares = [isinstance(value, (float, np.floating)) for value in asked.values()]
    if any(shares) and (not all(shares) or abs(sum(asked.values()) - 1) > 1e-6):
        raise DataError(f"target: {list(asked.values())} are neither all whole numbers of images nor shares that add up to 1")
    return asked


def _wanted(real: Mapping[Cell, int], target: Target, asked: Mapping[Cell, int | float]) -> dict[Cell, int]:
    """Images per cell; DataError where fewer are asked for than there are."""
    if not asked:
        return dict.fromkeys(real, max(real.values()))
    if any(isinstance(value, (float, np.floating)) for value in asked.values()):
        none = [cell for cell, count in real.items() if count and not asked.get(cell)]
        if none:
            raise DataError(f"target: no share is given to {none[0]}, of which there are {real[none[0]]} images; nothing real is taken away")
        # The smallest total in which no cell has too many.
        total = max((real[cell] / share for cell, share in asked.items() if share), default=0)
        return {cell: max(count, round(total * asked.get(cell, 0))) for cell, count in real.items()}
    for cell, count in asked.items():
        if count < real.get(cell, 0):
            raise DataError(f"target: {cell} = {count}, but there are {real[cell]} real images and none is taken away; ask for as many or more")
    return {cell: int(asked.get(cell, count)) for cell, count in real.items()}


def _requests(row: Mapping[str, object], train: Cohort, labels: pd.DataFrame, names: tuple[str, ...], cells: tuple[str, ...], seed: int) -> pd.DataFrame:
    """The factors of real people for one cell, drawn with replacement, with the cell's own levels set."""
    wanted = {name: row[name] for name in cells}
    rng = generator(seed, "/".join(map(str, wanted.values())), "rebalance")
    # Another level of the finding stands further away than any other group with it.
    weight = {name: 1 if name in names else len(cells) for name in cells}
    apart = sum(weight[name] * (labels[name] != level) for name, level in wanted.items()).where(labels.notna().all(axis=1))
    donors = np.flatnonzero(apart == 0)
    if row["asked like"] == NEAREST:
        others = apart[apart > 0]
        donors = np.concatenate([donors, np.flatnonzero(apart == others.min())]) if len(others) else donors
    drawn = rng.choice(donors, int(row["synthetic"]))  # type: ignore[call-overload]
    table = train.table.iloc[drawn].reset_index(drop=True)
    for name, level in wanted.items():
        foreign = (labels[name].iloc[drawn] != level).to_numpy(bool)
        if foreign.any():
            values = table[name].to_numpy(object, copy=True)
            values[foreign] = _values(train, labels, name, str(level), int(foreign.sum()), rng)
            table = train.schema.do(table, {name: values})
    return table


def _values(train: Cohort, labels: pd.DataFrame, name: str, level: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """The level, or for a quantity values of real people of this group, or where there are none anything in its range."""
    factor = train.schema[name]
    if not isinstance(factor, Quantity):
        return np.full(count, level, object)
    known = train.table[name].to_numpy(float)[(labels[name] == level).to_numpy(bool)]
    if len(known):
        return rng.choice(known, count)
    edges = [factor.low, *(factor.cuts or ((factor.low + factor.high) / 2,)), factor.high]
    place = factor.group_names.index(level)
    # A group holds its lower edge, not its upper one.
    return np.minimum(rng.uniform(edges[place], edges[place + 1], count), np.nextafter(edges[place + 1], -np.inf))


def _notes(plan: pd.DataFrame, cells: tuple[str, ...], labels: pd.DataFrame, blank: tuple[str, ...]) -> list[str]:
    notes = [
        "Synthetic images repeat what the generator learnt of a group: they add numbers, not people. Train with and without them and audit both "
        "on real patients.",
        "The other factors are those of real people of the cell.",
    ]
    for row in plan[(plan["patients"] < FEW) & (plan["synthetic"] > 0)].to_dict("records"):
        cell = ", ".join(str(row[name]) for name in cells)
        notes.append(f"{cell}: {row['patients']} real patient(s), too few to know what such people look like; the factors are borrowed from the nearest cells.")
    unknown = int(labels.isna().any(axis=1).sum())
    if unknown:
        notes.append(f"{unknown} real images belong to no cell, since a value is not known or does not apply; they stay in the training set.")
    if blank:
        notes.append(f"The generator does not know {', '.join(blank)} (or declares it otherwise): blank in the synthetic images.")
    return notes
