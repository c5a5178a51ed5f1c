"""One experiment, laid out before anything is trained: who teaches, what is compared, how often."""
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthkit.core.budget import Budget, Steps, resolve
from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.schema import Schema
from synthkit.errors import DataError, SchemaError
from synthkit.studies.hybrid.arms import Arm, Candidate, candidates
from synthkit.studies.hybrid.rare import Rare
from synthkit.tasks.classifier import Classifier

FRESH = 1_000_000  # what the seeds of the headline are above those of the choice
BUDGETS = {"smoke": 20, "lesson": 300, "full": 5_000}


@dataclass(frozen=True, eq=False)
class Design:
    """What is fixed before the first training step.

    Args:
        task: the classifier recipe of every arm.
        rare: the rare class and its k.
        real: the k-shot training set with all its factors.
        left_out: training patients that nobody may learn from.
        valid: real patients on whom the arm is chosen and thresholds are set.
        test: real patients for the final reading.
        candidates: arms at their shares.
        seeds: of the training runs that are chosen among.
        steps: optimiser steps of each run, pretraining included.
    """

    task: Classifier
    rare: Rare
    real: Cohort
    left_out: Cohort
    valid: Cohort
    test: Cohort
    candidates: tuple[Candidate, ...]
    seeds: tuple[int, ...]
    steps: int

    @staticmethod
    def of(
        task: Classifier | str, *, real: Cohort, valid: Cohort, test: Cohort, rare: Rare, arms: Sequence[Arm], shares: Iterable[float],
        seeds: Iterable[int], budget: Budget, most: int,
    ) -> "Design":  # fmt: skip
        """The layout of an experiment; see `hybrid` for what is refused."""
        task = Classifier(task) if isinstance(task, str) else task
        require_kind("task", task, Classifier, 'a recipe such as sk.Classifier("effusion"), or the name of a factor')
        require_number("most", most, "a number of synthetic images")
        if task.targets != (rare.factor,):
            raise SchemaError(f"task predicts {', '.join(task.targets)} and rare names {rare.factor}; they must be one and the same factor")
        cohorts = {"real": real, "valid": valid, "test": test}
        _require_alike(cohorts, rare)
        shots = rare.shots(real)
        kept = set(shots.table["patient_id"])
        chosen, steps = candidates(arms, shares), resolve(budget, BUDGETS)
        if not isinstance(steps, Steps) or steps.count < 2:
            raise DataError(f"budget={budget!r}: arms are compared at equal steps, two or more; give Steps({BUDGETS['lesson']}), say")
        largest = max(candidate.share for candidate in chosen)
        if round(largest * len(shots)) > most:
            raise DataError(f"share {largest:g} of {len(shots)} training images needs {round(largest * len(shots))} synthetic images, over most={most}; "
                            "give smaller shares or a larger most=")  # fmt: skip
        left_out = real[np.flatnonzero(~real.table["patient_id"].isin(kept))]
        return Design(task, rare, shots, left_out, _known(valid, rare), _known(test, rare), chosen, _seeds(seeds), steps.count)

    @property
    def fresh(self) -> tuple[int, ...]:
        """The seeds of the headline. Read on the runs that chose it, an arm with lucky seeds would keep their luck."""
        return tuple(seed + FRESH for seed in self.seeds)

    @property
    def schema(self) -> Schema:
        """The target alone, which is all that classifiers read of a table."""
        return self.real.schema.only((self.rare.factor,))

    def images(self, cohort: Cohort) -> Cohort:
        """A cohort with the target as its only factor, so that real and synthetic images can be joined."""
        return replace(cohort, schema=self.schema)

    def added(self, share: float) -> int:
        """How many images an arm adds at a share."""
        return round(share * len(self.real))

    @property
    def most_added(self) -> int:
        """The images that the largest share adds."""
        return max(self.added(candidate.share) for candidate in self.candidates)


def _require_alike(cohorts: dict[str, Cohort], rare: Rare) -> None:
    real = cohorts["real"]
    for name, cohort in cohorts.items():
        require_kind(name, cohort, Cohort, "a cohort, as sk.load(...) answers")
        rare.require_in(cohort, name)
        if name != "real":
            rare.require_told(cohort, name)
        if not cohort.space.matches(real.space):
            raise DataError(f"{name} and real images do not fit together: {cohort.space.difference(real.space)}; load both with the same size=, "
                            "window= and channels")  # fmt: skip
        if cohort.schema[rare.factor] != real.schema[rare.factor]:
            ours, theirs = real.schema[rare.factor], cohort.schema[rare.factor]
            raise SchemaError(f"{rare.factor} is declared as {ours} in real and as {theirs} in {name}; load both with one schema=")
    for first, second in (("real", "valid"), ("real", "test"), ("valid", "test")):
        require_disjoint(cohorts[first], cohorts[second], names=(first, second))


def _known(cohort: Cohort, rare: Rare) -> Cohort:
    return cohort[cohort.table[rare.factor].notna().to_numpy()]


def _seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    if isinstance(seeds, (int, np.integer)):
        raise DataError(f"seeds={seeds}: one number could be a seed or how many; give range({seeds}), or [{seeds}] for the one seed")
    require_kind("seeds", seeds, Iterable, "whole numbers, such as range(5)")
    for seed in (seeds := tuple(seeds)):
        require_number("seeds", seed, "whole numbers, such as range(5)", whole=True)
    given = tuple(int(seed) for seed in seeds)
    if not given or len(set(given)) < len(given) or not all(0 <= seed < FRESH for seed in given):
        raise DataError(f"seeds={given}: give distinct whole numbers from 0 to under {FRESH}, three or more for a verdict")
    return given
