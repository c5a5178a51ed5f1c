"""The rare class of an experiment, and the training set that keeps only k of its patients."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.core.schema import Category
from synthkit.errors import DataError, SchemaError

RESERVED = ("k", "seed")
FEWEST_TOLD, FEWEST_RARE = 2, 8  # patients of the rare class to choose or read on at all, and for a verdict


@dataclass(frozen=True)
class Rare:
    """The level of a factor of which only k patients may teach.

    Args:
        factor, level: the rare class.
        k: patients who have it that the training set keeps, with all their images.
        seed: of the choice of these patients; a smaller k keeps some of those that a larger one keeps.
    """

    factor: str
    level: str
    k: int
    seed: int = 0

    @staticmethod
    def of(given: Mapping[str, Any]) -> "Rare":
        """From {"dx": "df", "k": 10} or {"dx": "df", "k": 10, "seed": 1}."""
        example = 'give one factor with its rare level and the number of patients, such as {"dx": "df", "k": 10}'
        if not isinstance(given, Mapping) or "k" not in given:
            raise SchemaError(f"rare={given!r}: {example}")
        named = {name: level for name, level in given.items() if name not in RESERVED}
        whole = [isinstance(given.get(name, 0), (int, np.integer)) and not isinstance(given.get(name), bool) for name in RESERVED]
        if len(named) != 1 or not all(whole) or given["k"] < 1:
            raise SchemaError(f"rare={dict(given)}: {example}; k is 1 or more, and seed a whole number")
        ((factor, level),) = named.items()
        return Rare(str(factor), str(level), int(given["k"]), int(given.get("seed", 0)))

    def require_in(self, cohort: Cohort, name: str) -> None:
        """Raise SchemaError or DataError unless the cohort has images with the rare level and images with another one."""
        factor = cohort.schema[self.factor]
        if not isinstance(factor, Category) or self.level not in factor.levels:
            allowed = f"one of {', '.join(factor.levels)}" if isinstance(factor, Category) else "of a category, and this is a quantity"
            raise SchemaError(f"rare: {self.factor} = {self.level!r} must be {allowed}")
        ill, known = self.positive(cohort), cohort.table[self.factor].notna().to_numpy()
        if not ill.any() or not (known & ~ill).any():
            there = f"no image with {self.factor} = {self.level}" if not ill.any() else f"no known image without {self.factor} = {self.level}"
            raise DataError(f"{name}: {there} among {len(cohort)} images, and both are needed; give more patients")

    def require_told(self, cohort: Cohort, name: str) -> None:
        """Raise DataError where too few patients have the rare level for anything to be read on the cohort."""
        found = len(self.patients(cohort))
        if found < FEWEST_TOLD:
            raise DataError(f"{name}: {found} patient(s) with {self.factor} = {self.level}, and {FEWEST_TOLD} or more are needed ({FEWEST_RARE} for a "
                            "verdict); give more patients of the rare class")  # fmt: skip

    def positive(self, cohort: Cohort) -> np.ndarray:
        """(N,) bool: the images of the rare class."""
        return (cohort.table[self.factor] == self.level).to_numpy()

    def patients(self, cohort: Cohort) -> np.ndarray:
        """The patients with an image of the rare class, sorted."""
        return np.unique(cohort.table["patient_id"][self.positive(cohort)].to_numpy(str))

    def shots(self, train: Cohort) -> Cohort:
        """All images of k patients of the rare class, and of all patients without it; images of unknown class are left out.

        Raises:
            DataError: k larger than the number of such patients.
        """
        names = self.patients(train)
        if self.k > len(names):
            raise DataError(f"rare: k={self.k}, but only {len(names)} patients of real= have {self.factor} = {self.level}; give a k up to {len(names)}")
        order = permutation(len(names), seed=self.seed, identity=f"{self.factor}={self.level}", stream="k-shot patients")
        left_out = set(names[order[self.k :]])
        kept = ~train.table["patient_id"].isin(left_out) & train.table[self.factor].notna()
        return train[np.flatnonzero(kept)]
