"""Interventions of one factor each, and the images that they change."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Schema
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.exactness import skill_is_defined
from synthkit.phantoms.phantom import Phantom

EDITED = 64  # images per edit, at most
FEWEST = 8  # images that an edit must change
USUAL = 3  # edits where none are named


@dataclass(frozen=True, eq=False)
class Edit:
    """One intervention and the images that it changes, with the exact truth where it is known."""

    factor: str
    value: object
    cohort: Cohort
    truth: Cohort | None

    @property
    def name(self) -> str:
        return f"{self.factor} → {self.value}"


def usual_edits(schema: Schema, cohort: Cohort) -> list[dict[str, object]]:
    """Edits where none are named: findings taken away first, then other categories set to their last level."""
    categories = [factor for factor in schema.factors if isinstance(factor, Category) and not factor.when and len(factor.levels) > 1]
    findings = [factor for factor in categories if factor.levels == ("absent", "present")]
    aims = [(factor.name, "absent") for factor in findings] + [(factor.name, factor.levels[-1]) for factor in categories if factor not in findings]
    enough = [(name, level) for name, level in aims if _changed(cohort, name, level).sum() >= FEWEST]
    return [{name: level} for name, level in enough[:USUAL]]


def _changed(cohort: Cohort, name: str, value: object) -> np.ndarray:
    values = cohort.table[name]
    return (values.notna() & (values != value)).to_numpy()


def prepared_edits(
    edits: Sequence[Mapping[str, object]] | None, cohort: Cohort, truth: Phantom | None, *, most: int = EDITED
) -> tuple[list[Edit], list[str]]:  # fmt: skip
    """The edits with their images (at most `most` each), and what must be said of those left out.

    Raises:
        SchemaError: an edit of more or less than one factor, of an unknown one, or to a value that it cannot take.
    """
    if most < FEWEST:
        raise DataError(f"count={most}: an edit is scored on {FEWEST} images or more")
    ready, notes = [], []
    for do in usual_edits(cohort.schema, cohort) if edits is None else edits:
        if not isinstance(do, Mapping) or len(do) != 1:
            raise SchemaError(f"edits: {do!r} must set one factor, for instance {{'effusion': 'absent'}}")
        ((name, value),) = do.items()
        value = cohort.schema[name].check(pd.Series([value], dtype=object)).iloc[0]
        do = {name: value}
        cohort.schema.do(cohort.table, do)
        images = cohort[np.flatnonzero(_changed(cohort, name, value))[:most]]
        exact = truth.counterfactual(images, do) if truth is not None and len(images) else None
        if len(images) < FEWEST or (exact is not None and not skill_is_defined(images, exact)):
            why = f"only {len(images)} test images have another value" if len(images) < FEWEST else "the truth changes no image"
            notes.append(f"The edit {name} → {value} is left out: {why}.")
            continue
        ready.append(Edit(name, value, images, exact))
    return ready, notes
