"""The training sets of a utility study, made equal, and checked against the test patients."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.provenance import Provenance, canonical
from synthkit.core.randomness import permutation
from synthkit.core.schema import Category, Schema
from synthkit.errors import DataError, SchemaError
from synthkit.tasks.classifier import Classifier

BASELINE, SYNTHETIC, MIXED = "train real, test real", "train synthetic, test real", "train both, test real"


@dataclass(frozen=True)
class Arms:
    """What is trained on and tested on.

    Args:
        train: training images by arm, the real-only arm first.
        test: real images.
        fake: all labelled synthetic images.
        reversible: whether classifiers trained on the real arm may be tested on `fake`: no patient stands in both.
        cut: in words, how many images the arms have.
        notes: caveats of the cohorts.
    """

    train: Mapping[str, Cohort]
    test: Cohort
    fake: Cohort
    reversible: bool
    cut: str
    notes: tuple[str, ...]


def prepared(task: Classifier, *, real: Cohort, fake: Cohort, test: Cohort, mixed: bool) -> Arms:
    """Both training sets, labelled and cut to one size; see `utility` for what is refused."""
    for name, cohort in (("real", real), ("fake", fake)):
        if not cohort.space.matches(test.space):
            apart = cohort.space.difference(test.space)
            raise DataError(f"{name} and test images do not fit together: {apart}; load both with the same size=, window= and channels")
        require_disjoint(cohort, test, names=(name, "test"))
    schema = _shared(task, {"real": real, "fake": fake, "test": test})
    sets = {name: _labelled(cohort, schema) for name, cohort in (("real", real), ("fake", fake), ("test", test))}
    n = min(len(sets["real"]), len(sets["fake"]))
    for name, more in (("real", "give more real patients"), ("fake", "ask the generator for every level, for instance with the real table")):
        _require_levels(name, sets[name], sets["test"], schema, advice=more)
    equal = {name: sets[name][_some(sets[name], n, name)] for name in ("real", "fake")}
    for name, other in (("real", "synthetic"), ("fake", "real")):
        _require_levels(name, equal[name], sets["test"], schema, advice=f"it was cut to as many as there are {other} images: give more {other} ones")
    train = {BASELINE: equal["real"], SYNTHETIC: equal["fake"], **({MIXED: equal["real"] + equal["fake"]} if mixed else {})}
    cut = f"{n} images (of {len(sets['real'])} real and {len(sets['fake'])} synthetic ones with a known value){f', the mixed arm on {2 * n}' if mixed else ''}."
    reversible = not set(fake.table["patient_id"]) & set(real.table["patient_id"])
    notes = (*_same_record(fake, test), *real.notes, *fake.notes, *test.notes)
    return Arms(train, sets["test"], sets["fake"], reversible, cut, tuple(dict.fromkeys(notes)))


def _same_record(fake: Cohort, test: Cohort) -> list[str]:
    """A caveat where the synthetic images descend from images whose record is that of `test`; rows picked by hand leave no mark in it."""

    def mark(record: Provenance) -> bytes:
        return canonical([record.kind, record.source, record.recipe, record.seed])

    if mark(test.provenance) not in {mark(record) for record in _ancestors(fake.provenance)}:
        return []
    return [f"The synthetic images descend from images of the same record as `test` ({test.provenance.source}): unless patients were kept "
            "apart by hand, they may show test patients; split the cohort before the generator learns."]  # fmt: skip


def _ancestors(record: Provenance) -> Iterator[Provenance]:
    for parent in record.parents:
        yield parent
        yield from _ancestors(parent)


def _shared(task: Classifier, cohorts: Mapping[str, Cohort]) -> Schema:
    """The schema of the task, the same in all cohorts."""
    schema = cohorts["test"].schema.only(task.targets)
    for name, cohort in cohorts.items():
        missing = [target for target in task.targets if target not in cohort.schema]
        if missing:
            raise SchemaError(f"{name} has no factor {missing[0]!r}; it has {', '.join(cohort.schema.names)}")
        own = cohort.schema.only(task.targets)
        apart = [target for target in task.targets if own[target] != schema[target]]
        if apart:
            raise SchemaError(f"{apart[0]} is declared as {own[apart[0]]} in {name} and as {schema[apart[0]]} in test; load both with one schema=")
    return schema


def _labelled(cohort: Cohort, schema: Schema) -> Cohort:
    """The images of which at least one asked factor is known, with these factors alone."""
    known = cohort.table[list(schema.names)].notna().any(axis=1).to_numpy()
    return replace(cohort, schema=schema)[known]


def _some(cohort: Cohort, wanted: int, name: str) -> np.ndarray:
    """Rows drawn at random, the first of each level among them, so that the cut loses no level."""
    order = permutation(len(cohort), seed=0, identity=name, stream="utility, equal n")
    drawn = cohort.table.iloc[order]
    levels = [drawn[factor.name].dropna() for factor in cohort.schema.factors if isinstance(factor, Category)]
    first = {row for values in levels for row in values.drop_duplicates().index}
    kept = sorted(order, key=lambda row: row not in first)[:wanted]
    return np.sort(kept)


def _require_levels(name: str, cohort: Cohort, test: Cohort, schema: Schema, *, advice: str) -> None:
    """Raise DataError unless `cohort` can teach every value that is tested."""
    for factor in schema.factors:
        there, wanted = (set(c.table[factor.name].dropna()) for c in (cohort, test))
        if len(wanted) < 2:
            raise DataError(f"test: {factor.name} has fewer than two values in {len(test)} images, so nothing can be scored; give a wider test cohort")
        missing = sorted(wanted - there) if isinstance(factor, Category) else []
        if missing or len(there) < 2:
            what = f"no image with {factor.name} = {missing[0]}" if missing else f"fewer than two values of {factor.name}"
            raise DataError(f"{name}: {what} among {len(cohort)} training images, which `test` asks for; {advice}")
