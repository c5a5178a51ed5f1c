"""What a classifier answers when one factor after another is set both ways, all else held."""
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Quantity, Schema

LOW, HIGH = 0.1, 0.9  # quantiles of the patients that a quantity is set to


def both_ways(schema: Schema, patients: Cohort, factors: Sequence[str] | None, *, but: str) -> dict[str, tuple[object, object]]:
    """The two values that each factor is set to: the levels of a category of two, the patients' 10 % and 90 % quantiles of a quantity.

    Args:
        schema: of the editor.
        factors: which; left out, all that always apply, that patients and editor know, and that vary.
        but: what the classifier predicts.
    """
    known = [factor for factor in schema.factors if factor.name in patients.schema and factor.name != but]
    chosen = [factor for factor in known if not factor.when and _varies(factor, patients)] if factors is None else [schema[name] for name in factors]
    found: dict[str, tuple[object, object]] = {}
    for factor in chosen:
        if isinstance(factor, Quantity):
            low, high = np.nanquantile(pd.to_numeric(patients.table[factor.name]).to_numpy(float), [LOW, HIGH])
            found[factor.name] = (float(low), float(high))
        elif len(factor.levels) == 2:
            found[factor.name] = (factor.levels[0], factor.levels[1])
    return found


def _varies(factor: Category | Quantity, patients: Cohort) -> bool:
    return patients.table[factor.name].nunique() > 1


def edits_of(values: Mapping[str, tuple[object, object]]) -> list[dict[str, object]]:
    """One edit per factor and value."""
    return [{name: value} for name, both in values.items() for value in both]
