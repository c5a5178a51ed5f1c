"""Images of one factor's values with all else equal: sampled from the same noise, edited from the same patients, or exact."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Schema
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom

SEED = 1_729_000_000  # of phantom subjects drawn for a sweep: not those that a training set with a small seed holds
SAMPLED, EDITED, EXACT = "sampled", "edited", "exact"
OPEN = "No patients and no requests were given: half of the images are asked for with the target, half without, and all other factors are left open."


@dataclass(frozen=True, eq=False)
class Subjects:
    """Who is shown: the patients of a cohort, or requests of a table; the rows of all cohorts of a sweep.

    Args:
        table: with `image_id` and `patient_id`; the factors as they are before any is changed.
        cohort: their images, where there are any.
        notes: what must be said of them.
    """

    table: pd.DataFrame
    cohort: Cohort | None
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(source: Generator | Phantom, base: Cohort | pd.DataFrame | None, *, truth: Phantom | None, target: str, count: int, seed: int) -> "Subjects":
        """The base as it is given, or made: subjects of the phantom where there is one, else requests that name the target alone."""
        phantom = source if isinstance(source, Phantom) else truth
        if base is None and phantom is not None:
            base = phantom.cohort(count, seed=SEED + seed)
        if base is None:
            levels = np.array(source.schema[target].levels, object)
            table = pd.DataFrame({"image_id": [f"subject-{i}" for i in range(count)], target: levels[np.arange(count) % len(levels)]})
            return Subjects(table.assign(patient_id=table["image_id"]), None, (OPEN,))
        if isinstance(base, Cohort):
            return Subjects(base.table, base, base.notes)
        if not isinstance(base, pd.DataFrame):
            raise DataError(f"base: a cohort of patients to edit or a table of requests is needed, got {type(base).__name__}")
        table = base.reset_index(drop=True)
        table = table if "image_id" in table else table.assign(image_id=[f"subject-{i}" for i in range(len(table))])
        return Subjects(table if "patient_id" in table else table.assign(patient_id=table["image_id"]), None)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def units(self) -> np.ndarray:
        """The patient of each row."""
        return self.table["patient_id"].astype(str).to_numpy()

    def way(self, source: Generator | Phantom) -> str:
        """How the source shows a change of these subjects."""
        if isinstance(source, Phantom):
            return EXACT
        return EDITED if self.cohort is not None and source.can_edit else SAMPLED

    def shown(self, source: Generator | Phantom, factor: str, value: object, *, seed: int) -> Cohort:
        """All subjects with one factor set and all else as it was."""
        if isinstance(source, Phantom):
            return source.counterfactual(self.cohort, {factor: value})
        if self.way(source) == EDITED:
            return source.edit(self.cohort, {factor: value})
        names = ["image_id", *(name for name in source.schema.names if name in self.table)]
        return source.sample(source.schema.do(self.table[names], {factor: value}), seed=seed)


def require_sweeps(sweeps: Mapping[str, Sequence[object]], schema: Schema, target: str) -> dict[str, tuple[object, ...]]:
    """The sweeps with their values as tuples.

    Raises:
        SchemaError: none, a factor that the generator does not know, the target itself, under two values, or one that it cannot take.
    """
    if not isinstance(sweeps, Mapping) or not sweeps:
        raise SchemaError(f"sweeps={sweeps!r}: give factors with the values to go through, for instance {{'opacity': (0, 0.2, 0.4)}}")
    found = {}
    for name, values in sweeps.items():
        if name == target:
            raise SchemaError(f"sweeps: {name} is what the classifier predicts; sweep how it looks instead, such as its size or its side")
        schema[name]
        given = [] if isinstance(values, str) or not isinstance(values, Iterable) else list(values)
        if len(given) < 2 or len(set(map(str, given))) < len(given):
            raise SchemaError(f"sweeps: {name} needs two or more distinct values, the reference first; got {values!r}")
        schema[name].check(pd.Series(given, dtype=object))
        found[name] = tuple(given)
    return found


def require_source(source: Generator | Phantom, subjects: Subjects, truth: Phantom | None, sweeps: Mapping[str, Sequence[object]]) -> None:
    """Raise where the source cannot show these subjects."""
    if isinstance(source, Phantom) and subjects.cohort is None:
        raise DataError("base: a phantom changes its own subjects; give a cohort that it drew, or leave base out")
    if truth is not None and subjects.cohort is None:
        raise DataError("truth: exact images exist for a phantom's own subjects; give a cohort that it drew as base, or leave base out")
    for phantom in (one for one in (source, truth) if isinstance(one, Phantom)):
        phantom.counterfactual(subjects.cohort[:1], {name: values[0] for name, values in sweeps.items()})
    if isinstance(source, Generator) and subjects.way(source) == EDITED:
        missing = [name for name in sweeps if name not in subjects.cohort.schema]
        if missing:
            raise SchemaError(f"base has no factor {missing[0]!r}, so what an edit changes is not known; load it with that factor")


def require_editable(source: Generator | Phantom, base: object) -> None:
    """Raise AbilityError where patients are to be edited by a family without an encoder."""
    if isinstance(base, Cohort) and isinstance(source, Generator) and not source.can_edit:
        family = type(source.recipe).__name__
        raise AbilityError(f"{family} cannot edit the patients of base: its network has no encoder. Give base.table to sample the same requests instead.")
