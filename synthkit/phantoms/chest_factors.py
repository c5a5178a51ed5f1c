"""The chest phantom's structural causal model: each factor as a function of its parents and its own noise.

`spread` is (age - 58) / 16. Categories are coded 0 and 1 inside the equations and named in the table.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core import randomness
from synthkit.errors import SchemaError

Array = np.ndarray
PRESENCE = ("absent", "present")


@dataclass(frozen=True)
class Factor:
    """One node: its equation of (noise, *parents) and the values it may take.

    Attributes:
        noise: "normal" or "uniform", the law of the exogenous term.
        levels: names of the two levels of a category; empty for a quantity.
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
    when: str = ""


def _sigmoid(logit: Array) -> Array:
    return 1 / (1 + np.exp(-logit))


def _spread(age: Array) -> Array:
    return (age - 58) / 16


def _coin(noise: Array) -> Array:
    return noise < 0.5


def age(noise: Array) -> Array:
    return 58 + 16 * noise


def bmi(noise: Array, age: Array, male: Array) -> Array:
    return 26 + 0.7 * _spread(age) + male + 3.5 * noise


def heart_ratio(noise: Array, age: Array, bmi: Array) -> Array:
    return 0.46 + 0.02 * _spread(age) + 0.004 * (bmi - 26) + 0.035 * noise


def effusion(noise: Array, age: Array, heart_ratio: Array) -> Array:
    return noise < _sigmoid(-0.9 + 0.5 * _spread(age) + 9 * (heart_ratio - 0.46))


def effusion_fill(noise: Array) -> Array:
    return 0.55 + 0.18 * noise


def opacity(noise: Array, age: Array, effusion: Array) -> Array:
    return 0.06 + 0.02 * _spread(age) + 0.12 * effusion + 0.05 * noise


def lesion(noise: Array, age: Array) -> Array:
    return noise < _sigmoid(-0.7 + 0.5 * _spread(age))


def lesion_radius(noise: Array) -> Array:
    return 15 * np.exp(0.25 * noise)


def lesion_x(noise: Array) -> Array:
    across = 2 * noise - 1
    return np.where(across < 0, -1, 1) * (48 + 48 * np.abs(across))


def lesion_y(noise: Array) -> Array:
    return -85 + 110 * noise


def pacemaker(noise: Array, age: Array) -> Array:
    return noise < _sigmoid(-3.6 + 0.8 * _spread(age))


def clips(noise: Array, age: Array) -> Array:
    return noise < _sigmoid(-3.4 + 0.5 * _spread(age))


def pneumothorax(noise: Array) -> Array:
    return noise < 0.03


def consolidation(noise: Array, age: Array) -> Array:
    return noise < _sigmoid(-2.4 + 0.3 * _spread(age))


def emerging(noise: Array) -> Array:
    return noise < 0


def marker(confounding: float) -> Callable[..., Array]:
    """The planted shortcut's equation: P(marker | effusion) - P(marker | none) = confounding."""

    def equation(noise: Array, effusion: Array) -> Array:
        return noise < 0.5 + confounding * (effusion - 0.5)

    return equation


def factors(confounding: float) -> tuple[Factor, ...]:
    """All factors, parents before children."""

    def finding(name: str, equation: Callable[..., Array], *parents: str) -> Factor:
        return Factor(name, equation, parents, "uniform", PRESENCE)

    return (
        Factor("age", age, low=20, high=90, unit="years"),
        Factor("sex", _coin, noise="uniform", levels=("F", "M")),
        Factor("group", _coin, noise="uniform", levels=("1", "2")),
        Factor("view", _coin, noise="uniform", levels=("PA", "AP")),
        Factor("site", _coin, noise="uniform", levels=("A", "B")),
        Factor("bmi", bmi, ("age", "sex"), low=15, high=45, unit="kg/m2"),
        Factor("heart_ratio", heart_ratio, ("age", "bmi"), low=0.38, high=0.70),
        finding("effusion", effusion, "age", "heart_ratio"),
        Factor("effusion_fill", effusion_fill, low=0, high=1, when="effusion"),
        Factor("effusion_side", _coin, noise="uniform", levels=("left", "right"), when="effusion"),
        Factor("opacity", opacity, ("age", "effusion"), low=0, high=0.5),
        finding("lesion", lesion, "age"),
        Factor("lesion_radius", lesion_radius, low=6, high=35, unit="mm", when="lesion"),
        Factor("lesion_x", lesion_x, noise="uniform", low=-130, high=130, unit="mm", when="lesion"),
        Factor("lesion_y", lesion_y, noise="uniform", low=-130, high=130, unit="mm", when="lesion"),
        finding("marker", marker(confounding), "effusion"),
        finding("pacemaker", pacemaker, "age"),
        finding("clips", clips, "age"),
        finding("pneumothorax", pneumothorax),
        finding("consolidation", consolidation, "age"),
        finding("emerging", emerging),
    )


def draw(nodes: tuple[Factor, ...], subjects: list[str], seed: int) -> pd.DataFrame:
    """One row per subject, every factor from its own stream."""
    identity = {"image_id": subjects, "patient_id": subjects, "subject": subjects, "phantom_seed": seed}
    return solve(nodes, pd.DataFrame(identity, index=range(len(subjects))), {node.name for node in nodes})


def solve(nodes: tuple[Factor, ...], table: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Recompute the named factors from their parents in `table` and their own streams."""
    table = table.copy()
    for node in nodes:
        if node.name in names:
            parents = [_code(table[parent], nodes) for parent in node.parents]
            values = node.equation(_noise(node, table), *parents)
            table[node.name] = _named(node, values, table.index)
    return apply_when(nodes, table)


def apply_when(nodes: tuple[Factor, ...], table: pd.DataFrame) -> pd.DataFrame:
    """Blank what does not apply; fill, from its stream, what has come to apply."""
    table = table.copy()
    for node in nodes:
        if node.when:
            applies = table[node.when] == "present"
            missing = applies & table[node.name].isna()
            drawn = _named(node, node.equation(_noise(node, table)), table.index) if missing.any() else table[node.name]
            table[node.name] = table[node.name].where(~missing, drawn).where(applies)
    return table


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
        if value not in node.levels:
            raise SchemaError(f"{node.name}: {value!r} is not one of {', '.join(node.levels)}")
        return
    unit = f" {node.unit}" if node.unit else ""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise SchemaError(f"{node.name}: {value!r} is not a number; give {node.low:g}..{node.high:g}{unit}")
    if not node.low <= value <= node.high:
        raise SchemaError(f"{node.name}: {value:g}{unit} is outside {node.low:g}..{node.high:g}{unit}")


def _code(column: pd.Series, nodes: tuple[Factor, ...]) -> Array:
    levels = next(node.levels for node in nodes if node.name == column.name)
    return (column == levels[1]).to_numpy(float) if levels else column.to_numpy(float)


def _named(node: Factor, values: Array, index: pd.Index) -> pd.Series:
    if node.levels:
        values = np.where(values, node.levels[1], node.levels[0]).astype(object)
        return pd.Series(values, index=index, dtype="str")
    return pd.Series(np.clip(values, node.low, node.high).astype(float), index=index)


def _noise(node: Factor, table: pd.DataFrame) -> Array:
    draws = [
        randomness.generator(seed, subject, f"factor.{node.name}")
        for seed, subject in zip(table["phantom_seed"], table["subject"], strict=True)
    ]
    return np.array([source.standard_normal() if node.noise == "normal" else source.random() for source in draws])
