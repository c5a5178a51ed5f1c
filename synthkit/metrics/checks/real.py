"""What real images show: the values that limits are made from, and how often real images fail limits that others set."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.errors import DataError
from synthkit.metrics.checks.duplicates import Duplicates, Neighbours, Whitening, copies, neighbours, same_integers, shrunk
from synthkit.metrics.checks.limits import FEWEST, Limits, limits_of
from synthkit.metrics.checks.measuring import descriptions, measured
from synthkit.metrics.checks.rule import LearntRule, Rule
from synthkit.tasks.organs import OrganFinder


@dataclass(frozen=True, eq=False)
class RealImages:
    """A cohort of real images, measured in two halves of its patients, each by what was learnt from the other.

    Args:
        cohort: the images.
        rules: what they were measured by.
        values: one row per image, one column per rule.
        half: (N,) 0 or 1; all images of one patient stand in one half.
        learnt: by name of a `LearntRule`, (1, d) what it learnt from all images.
        small: (N, d) shrunk images, for copies.
    """

    cohort: Cohort
    rules: tuple[Rule, ...]
    values: pd.DataFrame
    half: np.ndarray
    learnt: Mapping[str, torch.Tensor]
    small: torch.Tensor

    @staticmethod
    def of(cohort: Cohort, rules: Sequence[Rule], *, organs: OrganFinder | None, seed: int) -> "RealImages":
        """Measure a cohort; DataError for fewer than 12 images, or those of one patient alone."""
        units = cohort.table["patient_id"].to_numpy()
        names = np.unique(units)
        if len(cohort) < FEWEST or len(names) < 2:
            raise DataError(f"like: {len(cohort)} images of {len(names)} patient(s) set no limits; give at least {FEWEST} of 2 or more, or leave like= out")
        first = names[permutation(len(names), seed=seed, identity="half", stream="checks")[: len(names) // 2]]
        half = (~np.isin(units, first)).astype(int)
        rows = {rule: descriptions(cohort, rule) for rule in rules if isinstance(rule, LearntRule)}
        parts = {rule.name: torch.stack([rule.learn(found[torch.from_numpy(half == part)]) for part in (0, 1)]) for rule, found in rows.items()}
        values = measured(cohort, rules, learnt=parts, which=1 - half, organs=organs)
        learnt = {rule.name: rule.learn(found)[None] for rule, found in rows.items()}
        return RealImages(cohort, tuple(rules), values, half, learnt, shrunk(cohort))

    @property
    def units(self) -> np.ndarray:
        """(N,) patients."""
        return self.cohort.table["patient_id"].to_numpy()

    def limits(self, rows: np.ndarray | None = None) -> list[Limits]:
        """The limits that all of these images set, or some rows."""
        values = self.values if rows is None else self.values[rows]
        return [limits_of(rule, values[rule.name].to_numpy()) for rule in self.rules]

    def _features(self, part: int) -> torch.Tensor:
        """The images of one half, whitened by the other."""
        other = Whitening.of(self.small[torch.from_numpy(self.half != part)])
        return other(self.small[torch.from_numpy(self.half == part)])

    def neighbours(self, parts: Sequence[int] = (0, 1)) -> Neighbours:
        """How near each image is to the nearest one of another patient in its half."""
        found = [neighbours(self._features(part), self.units[self.half == part]) for part in parts]
        return Neighbours(np.concatenate([part.correlation for part in found]), np.concatenate([part.distance for part in found]))

    def held_out(self, duplicates: Duplicates) -> pd.DataFrame:
        """(N, rules + duplicate) booleans: which image fails the limits that the other half of the patients sets."""
        fails = pd.DataFrame(False, index=self.values.index, columns=[*self.values.columns, "duplicate"])
        for part in (0, 1):
            here = self.half == part
            for rule, limit in zip(self.rules, self.limits(~here)):
                fails.loc[here, rule.name] = limit.broken(self.values.loc[here, rule.name].to_numpy())
            exact = same_integers(self.cohort[np.flatnonzero(here)])
            fails.loc[here, "duplicate"] = copies(self._features(part), self.units[here], exact, duplicates.limits(self.neighbours([1 - part])))[1] >= 0
        return fails
