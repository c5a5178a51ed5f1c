"""A phantom's structural causal model: each factor as a function of its parents and its own stream of noise."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core import randomness
from synthkit.errors import SchemaError

Array = np.ndarray
PRESENCE = ("absent", "present")
SET = "set_by_do"  # column: the factors that interventions have set, with blanks between


@dataclass(frozen=True)
class Factor:
    """One node: its equation of (noise, *parents) and the values it may take.

    Categories are coded by the number of their level inside the equations and named in the table.

    Attributes:
        equation: monotone in the noise; a category's gives the number of the level (True and False are 1 and 0).
        noise: "normal" or "uniform", the law of the exogenous term.
        levels: names of a category's levels; empty for a quantity.
        low, high: where a quantity is clipped.
        cuts: where reports cut a quantity into groups.
        when: the category that must be present for the value to apply.
    """

    name: str
    equation: Callable[..., Array]
    parents: tuple[str, ...] = ()
    noise: str = "normal"
    levels: tuple[str, ...] = ()
    low: float = -np.inf
    high: float = np.inf
    unit: str = ""
    cuts: tuple[float, ...] = ()
    when: str = ""


def coin(noise: Array) -> Array:
    """Either level with probability one half."""
    return noise < 0.5


def sigmoid(logit: Array) -> Array:
    """Probability of log-odds."""
    return 1 / (1 + np.exp(-logit))


def draw(nodes: tuple[Factor, ...], subjects: list[str], seed: int) -> pd.DataFrame:
    """One row per subject, every factor from its own stream."""
    identity = {"image_id": subjects, "patient_id": subjects, "subject": subjects, "phantom_seed": seed}
    return solve(nodes, pd.DataFrame(identity, index=range(len(subjects))), {node.name for node in nodes})


def solve(nodes: tuple[Factor, ...], table: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Recompute the named factors from their parents in `table` and their own streams, but not where they were set."""
    table = table.copy()
    for node in nodes:
        if node.name in names:
            value = _value(node, nodes, table)
            held = _was_set(table, node.name)
            table[node.name] = value.where(~held, table[node.name]) if held.any() else value
    return apply_when(nodes, table)


def _was_set(table: pd.DataFrame, name: str) -> pd.Series:
    """(N,) bool: the rows in which an earlier intervention set this factor."""
    if SET not in table:
        return pd.Series(False, index=table.index)
    return table[SET].fillna("").str.split().map(lambda names: name in names).astype(bool)


def apply_when(nodes: tuple[Factor, ...], table: pd.DataFrame) -> pd.DataFrame:
    """Blank what does not apply; fill, from its stream, what has come to apply."""
    table = table.copy()
    for node in nodes:
        if node.when:
            applies = table[node.when] == "present"
            missing = applies & table[node.name].isna()
            drawn = _value(node, nodes, table) if missing.any() else table[node.name]
            table[node.name] = table[node.name].where(~missing, drawn).where(applies)
    return table


def intervene(nodes: tuple[Factor, ...], table: pd.DataFrame, do: Mapping[str, object], effect: str) -> pd.DataFrame:
    """The rows under an intervention; every stream of noise stays what it was.

    Args:
        do: factor to the value it is set to.
        effect: "direct" holds all other factors; "total" lets the descendants follow.
    Raises:
        SchemaError: an unknown factor, value or effect.
    """
    if effect not in ("direct", "total"):
        raise SchemaError(f"effect: {effect!r} is not one of direct, total")
    if not isinstance(do, Mapping):
        raise SchemaError(f"do: {do!r} is no mapping of factors to values; give for instance {{'{nodes[0].name}': ...}}")
    by_name = {node.name: node for node in nodes}
    changed = table.copy()
    for name, value in do.items():
        if name not in by_name:
            raise SchemaError(f"do: {name!r} is not a factor; the factors are {', '.join(by_name)}")
        check(by_name[name], value)
        changed[name] = value
    followed = solve(nodes, changed, descendants(nodes, set(do))) if effect == "total" else apply_when(nodes, changed)
    if do:
        before = table[SET].fillna("") if SET in table else pd.Series("", index=table.index)
        followed[SET] = before.map(lambda names: " ".join(sorted({*names.split(), *do}))).astype("str")
    return followed


def unapplied(nodes: tuple[Factor, ...], table: pd.DataFrame, do: Mapping[str, object]) -> tuple[str, ...]:
    """What must be said of factors that were set but do not apply in some rows."""
    notes = []
    for node in nodes:
        count = int((table[node.when] != "present").sum()) if node.when and node.name in do else 0
        if count:
            notes.append(f"{node.name} was set but does not apply in {count} of {len(table)} images (it needs {node.when} = present).")
    return tuple(notes)


def descendants(nodes: tuple[Factor, ...], names: set[str]) -> set[str]:
    """Every factor that the named ones cause, themselves left out."""
    reached = set(names)
    for node in nodes:
        if reached & set(node.parents):
            reached.add(node.name)
    return reached - set(names)


def check(node: Factor, value: object) -> None:
    """Raise SchemaError unless `value` is one that the factor can take."""
    if node.levels:
        if not isinstance(value, str) or value not in node.levels:
            raise SchemaError(f"{node.name}: {value!r} is not one of {', '.join(node.levels)}")
        return
    unit = f" {node.unit}" if node.unit else ""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise SchemaError(f"{node.name}: {value!r} is not a number; give {node.low:g}..{node.high:g}{unit}")
    if not node.low <= value <= node.high:
        raise SchemaError(f"{node.name}: {value:g}{unit} is outside {node.low:g}..{node.high:g}{unit}")


def codes(node: Factor, column: pd.Series) -> Array:
    """(N,) float64: the level's number or the quantity itself; 0 where the value does not apply."""
    if not node.levels:
        return column.to_numpy(float, na_value=np.nan)
    return sum(number * (column == level).to_numpy(float) for number, level in enumerate(node.levels))


def _value(node: Factor, nodes: tuple[Factor, ...], table: pd.DataFrame) -> pd.Series:
    by_name = {other.name: other for other in nodes}
    parents = [codes(by_name[parent], table[parent]) for parent in node.parents]
    values = node.equation(_noise(node, table), *parents)
    if node.levels:
        return pd.Series(np.array(node.levels, object)[np.asarray(values).astype(int)], index=table.index, dtype="str")
    return pd.Series(np.clip(values, node.low, node.high).astype(float), index=table.index)


def _noise(node: Factor, table: pd.DataFrame) -> Array:
    draws = [
        randomness.generator(seed, subject, f"factor.{node.name}")
        for seed, subject in zip(table["phantom_seed"], table["subject"], strict=True)
    ]
    return np.array([source.standard_normal() if node.noise == "normal" else source.random() for source in draws])
