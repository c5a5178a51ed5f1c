"""Whether a size, a table or a cohort is one that a phantom can work with."""
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.errors import DataError, SchemaError

if TYPE_CHECKING:
    from synthkit.phantoms.phantom import Phantom

MOST = 10_000_000


def whole_number(name: str, value: object, low: int, high: int, unit: str = "") -> int:
    """The value as an int; SchemaError unless it is a whole number from `low` to `high`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise SchemaError(f"{name}: {value!r} is not a whole number{f' of {unit}' if unit else ''} in {low}..{high}")
    return int(value)


def factor_table(phantom: "Phantom", source: Cohort | pd.DataFrame) -> pd.DataFrame:
    """The factor table of a cohort or the table itself.

    Raises:
        DataError: of other subjects than this phantom's, or neither a cohort nor a table.
        SchemaError: columns are missing.
    """
    if not isinstance(source, (Cohort, pd.DataFrame)):
        raise DataError(f"{type(source).__name__} is neither a Cohort nor a table; give what {type(phantom).__name__}.cohort(...) made, or its .table")
    table = source if isinstance(source, pd.DataFrame) else source.table
    missing = [name for name in ("image_id", "phantom_seed", "subject", *(node.name for node in phantom.factors)) if name not in table]
    if isinstance(source, Cohort) and (missing or not source.space.matches(phantom.space)):
        raise DataError(f"the cohort ({source.provenance.source}, {source.space.shape}) was not drawn by {phantom}; make one with its .cohort(...)")
    if missing:
        raise SchemaError(f"table lacks {', '.join(missing)}; start from {type(phantom).__name__}.factors_table")
    foreign = table["subject"][~table["subject"].astype(str).str.startswith(f"{phantom.name}-")]
    if len(foreign):
        raise DataError(f"subject {foreign.iloc[0]!r} is none of the {phantom.name} phantom's; make a cohort with its .cohort(...)")
    if not pd.api.types.is_integer_dtype(table["phantom_seed"]):
        raise SchemaError("phantom_seed: it holds other values than whole numbers; start from factors_table")
    return table


def require_own(phantom: "Phantom", cohort: Cohort) -> None:
    """Raise DataError unless this phantom, with the same settings, drew the pixels of the cohort."""
    if not isinstance(cohort, Cohort):
        raise DataError(f"{type(cohort).__name__} is no Cohort; give what {type(phantom).__name__}.cohort(...) made, or use counterfactual_table for tables")
    for record in _makers(cohort.provenance):
        if record.recipe.get("phantom") != type(phantom).__name__:
            raise DataError(f"these pixels come from {record.source!r}, not from the {phantom.name} phantom: only its own images have exact counterfactuals")
        other = {name: record.recipe.get(name) for name, value in vars(phantom).items() if record.recipe.get(name) != value}
        if other:
            said = ", ".join(f"{name}={value}" for name, value in other.items())
            raise DataError(f"the cohort was drawn by a phantom with {said}; this one is {phantom}")


def _makers(record: Provenance) -> Iterator[Provenance]:
    """The records of those that made the pixels: of cohorts put together, those of the parts."""
    if record.recipe or not record.parents:
        yield record
    else:
        for part in record.parents:
            yield from _makers(part)
