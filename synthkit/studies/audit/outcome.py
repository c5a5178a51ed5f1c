"""The level of a category that an audit counts as positive, and its predicted chance beside the truth."""
from dataclasses import dataclass

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category
from synthkit.errors import DataError, SchemaError
from synthkit.tasks.predictor import Predictor


@dataclass(frozen=True)
class Outcome:
    """`level` of the category `target` is positive, its other levels are negative."""

    target: str
    level: str

    @staticmethod
    def of(predictor: Predictor, target: str | None, level: str | None) -> "Outcome":
        """What is audited; SchemaError where it must be said and is not."""
        categories = [factor for factor in predictor.schema.factors if isinstance(factor, Category)]
        names = [factor.name for factor in categories]
        if not names:
            raise SchemaError(f"this predictor gives {', '.join(predictor.schema.names)}, none of them a category; an audit needs one")
        if target is None and len(names) > 1:
            raise SchemaError(f"this predictor gives {', '.join(names)}; say which with target=")
        if target is not None and target not in names:
            raise SchemaError(f"target={target!r} is no category that this predictor gives; it gives {', '.join(names)}")
        factor = categories[0 if target is None else names.index(target)]
        if level is None and len(factor.levels) != 2:
            raise SchemaError(f"{factor.name} has the levels {', '.join(factor.levels)}; say which counts as positive with target_level=")
        if level is not None and level not in factor.levels:
            raise SchemaError(f"target_level={level!r} is no level of {factor.name}; it has {', '.join(factor.levels)}")
        return Outcome(factor.name, factor.levels[-1] if level is None else level)

    def __str__(self) -> str:
        return f"{self.target} = {self.level}"

    def known(self, predictor: Predictor, cohort: Cohort) -> np.ndarray:
        """(N,) bool: images whose true value is known; SchemaError where the cohort does not hold the target as it was learnt."""
        if self.target not in cohort.schema:
            raise SchemaError(f"the cohort has no factor {self.target!r} to compare with; it has {', '.join(cohort.schema.names)}")
        own, learnt = cohort.schema[self.target], predictor.schema[self.target]
        if not isinstance(own, Category) or own.levels != learnt.levels:
            raise SchemaError(f"{self.target} is declared as {own} in the cohort and as {learnt} in the predictor; load both with one schema=")
        known = cohort.table[self.target].notna().to_numpy()
        if not known.any():
            raise DataError(f"{self.target} is blank in all {len(cohort)} images; there is nothing to audit")
        return known

    def chances(self, predictor: Predictor, cohort: Cohort) -> np.ndarray:
        """(N,) predicted chance of the positive level."""
        return predictor.predict(cohort)[f"p_{self.target}_{self.level}"].to_numpy(float)

    def read(self, predictor: Predictor, cohort: Cohort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Chance and truth of the images whose true value is known, and which those are."""
        known = self.known(predictor, cohort)
        chosen = cohort[known]
        return self.chances(predictor, chosen), (chosen.table[self.target] == self.level).to_numpy(bool), known
