"""Which group each image belongs to, by each attribute and by each pair of attributes."""
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Quantity, Schema
from synthkit.errors import SchemaError

MOST_LEVELS = 12  # of a column that no schema declares
CROSS = " × "


def attributes(by: Sequence[str] | str | None, cohort: Cohort, target: str) -> tuple[str, ...]:
    """The asked attributes, or the sensitive ones of the schema; SchemaError where they cannot be audited."""
    names = cohort.schema.sensitive if by is None else (by,) if isinstance(by, str) else tuple(by)
    columns = ", ".join(map(str, cohort.table.columns))
    if not names:
        raise SchemaError(f"by: no attribute is given and the schema names no sensitive column; give by=(...) out of {columns}")
    if len(set(names)) < len(names):
        raise SchemaError(f"by={names}: an attribute is named twice")
    for name in names:
        if name not in cohort.table:
            raise SchemaError(f"by: the cohort has no column {name!r}; it has {columns}")
        if name == target:
            raise SchemaError(f"by: {name!r} is what is predicted, so it cannot be a group; give other columns")
    return names


def group_labels(cohort: Cohort, by: Sequence[str]) -> pd.DataFrame:
    """One column per attribute: the level, the group between the schema's cuts, or None where it is not known."""
    return pd.DataFrame({name: _labels(cohort, name) for name in by}, dtype=object)


def _labels(cohort: Cohort, name: str) -> np.ndarray:
    if name in cohort.schema:
        values = cohort.schema.groups(cohort.table, name)
    else:
        values = cohort.table[name]
        if values.nunique() > MOST_LEVELS or pd.api.types.is_float_dtype(values) and (values.dropna() % 1 != 0).any():
            advice = "declare it in the schema as a Quantity with cuts, or cut it into a column of groups"
            raise SchemaError(f"by: {name!r} has {values.nunique()} different values and is no factor of the schema; {advice}")
    # A whole number in a column with blanks arrives as 1.0.
    return np.array([None if pd.isna(v) else str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values], object)


def crossed(labels: pd.DataFrame) -> pd.DataFrame:
    """The labels with one more column for each pair of attributes, "F × <40"; unknown where either is.

    Raises:
        SchemaError: the sign of a pair stands in the name of an attribute or of a group, so that two pairs might read alike.
    """
    pairs = {}
    for first, second in combinations(labels.columns, 2):
        for name in (first, second):
            _require_plain(name, labels[name])
        known = labels[first].notna() & labels[second].notna()
        pairs[first + CROSS + second] = np.where(known, labels[first].astype(str) + CROSS + labels[second].astype(str), None)
    return pd.DataFrame({**labels, **pairs}, dtype=object)


def _require_plain(name: str, labels: pd.Series) -> None:
    marked = [text for text in (name, *labels.dropna().unique()) if CROSS in text]
    if marked:
        raise SchemaError(f"by: {marked[0]!r} holds {CROSS!r}, which is how pairs are written; rename it, or set intersections=False")


def order_of(attribute: str, labels: pd.Series, schema: Schema) -> list[str]:
    """The groups that occur, in the order of the schema."""
    known = sorted(set(labels.dropna()))
    if attribute in schema or CROSS not in attribute:
        parts, names = [_ranks(attribute, schema)], {group: (group,) for group in known}
    else:
        parts, names = [_ranks(name, schema) for name in attribute.split(CROSS)], {group: tuple(group.split(CROSS)) for group in known}

    def rank(group: str) -> tuple[tuple[int, str], ...]:
        return tuple((order.get(name, len(order)), name) for order, name in zip(parts, names[group]))

    return sorted(known, key=rank)


def _ranks(name: str, schema: Schema) -> dict[str, int]:
    if name not in schema:
        return {}
    factor = schema[name]
    return {level: place for place, level in enumerate(factor.group_names if isinstance(factor, Quantity) else factor.levels)}
