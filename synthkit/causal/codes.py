"""Factor columns as the numbers that mechanisms work on, and back."""
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from synthkit.causal.noise import Array
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Factor, Quantity, Schema
from synthkit.errors import DataError, SchemaError


def table_of(source: Any) -> pd.DataFrame:
    """The table itself, or that of a cohort; DataError for anything else."""
    # A cohort answers `name in cohort` by reading its images one by one.
    table = source.table if isinstance(source, Cohort) else source
    if not isinstance(table, pd.DataFrame):
        raise DataError(f"the table is a {type(table).__name__}; give a DataFrame or a Cohort")
    return table


def checked_do(do: Any) -> Mapping[str, Any]:
    """A mapping; SchemaError for anything else."""
    if not isinstance(do, Mapping):
        raise SchemaError(f"do is a {type(do).__name__}; give a mapping {{factor: value}}, such as {{'age': 80}}")
    return do


def complete(schema: Schema, table: pd.DataFrame) -> pd.DataFrame:
    """The factor columns, checked; SchemaError names those that are lacking."""
    lacking = [name for name in schema.names if name not in table]
    if lacking:
        raise SchemaError(f"the table lacks {', '.join(lacking)}; a causal model needs a column for every factor, blank where unknown")
    if not len(table):
        raise DataError("the table is empty: a causal model needs rows")
    return schema.check(table[[*schema.names]])


def set_column(factor: Factor, value: Any, index: Iterable[Any]) -> pd.Series:
    """The checked column of a factor that is set to one value, or to one per row."""
    if pd.api.types.is_scalar(value):
        values = [value] * len(index)
    elif pd.api.types.is_list_like(value, allow_sets=False) and not isinstance(value, Mapping):
        values = list(value)
    else:
        raise SchemaError(f"do: {factor.name} is set to a {type(value).__name__}; give one value, or a list with one per row")
    if len(values) != len(index):
        raise SchemaError(f"do: {factor.name} has {len(values)} values for {len(index)} rows; give one for all or one per row")
    for one in values:
        _refuse_odd(factor, one)
    column = factor.check(pd.Series(values, index=index, dtype=object))
    if column.isna().any():
        raise SchemaError(f"do: {factor.name} is set to nothing; give a value")
    return column


def _refuse_odd(factor: Factor, value: Any) -> None:
    """SchemaError for what is no text, number or blank, and for a truth value where a number belongs."""
    if isinstance(factor, Quantity) and isinstance(value, (bool, np.bool_)):
        raise SchemaError(f"do: {factor.name} is set to {value}, which is no number; give {factor.low:g}..{factor.high:g} {factor.unit}".rstrip())
    if not isinstance(value, (str, Real, np.bool_)) and not (pd.api.types.is_scalar(value) and pd.isna(value)):
        raise SchemaError(f"do: {factor.name} is set to a {type(value).__name__}; give a number or the name of a level")


def coded(factor: Factor, column: pd.Series) -> Array:
    """(N,) float: a quantity's value, the index of a category's level; NaN where blank."""
    if isinstance(factor, Category):
        return column.map({level: float(number) for number, level in enumerate(factor.levels)}).to_numpy(float)
    return column.to_numpy(float)


def named(factor: Factor, values: Array, index: pd.Index) -> pd.Series:
    """The column that (N,) codes stand for."""
    if isinstance(factor, Category):
        names = np.array([*factor.levels, None], object)
        return pd.Series(names[np.nan_to_num(values, nan=len(factor.levels)).astype(int)], index=index, dtype=object)
    return pd.Series(values, index=index)


def within(factor: Factor, values: Array) -> Array:
    """A mechanism's values cut to what the factor can be."""
    if isinstance(factor, Category):
        return np.clip(np.round(values), 0, len(factor.levels) - 1)
    return np.clip(values, factor.low, factor.high)


def reach(factor: Factor, values: Array) -> tuple[Array, Array]:
    """The lowest and the highest uncut value that `within` turns into the given ones."""
    lowest, highest = (0, len(factor.levels) - 1) if isinstance(factor, Category) else (factor.low, factor.high)
    half = 0.5 if isinstance(factor, Category) else 0.0
    return np.where(values <= lowest, -np.inf, values - half), np.where(values >= highest, np.inf, values + half)


def known(schema: Schema, table: pd.DataFrame, names: Iterable[str]) -> Array:
    """(N,) bool: none of the named factors is missing (one that does not apply is not missing)."""
    answer = np.ones(len(table), bool)
    for name in names:
        answer &= table[name].notna().to_numpy() | ~schema.applies(schema[name], table)
    return answer
