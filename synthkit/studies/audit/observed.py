"""Differences between the groups as they are, in the same measures as an edit's."""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.intervals import percentile_interval
from synthkit.studies.audit.contrasts import Contrast

FLIPPED, CHANCE = "decisions that flip", "mean chance"
ENDS = ("", "_low", "_high")


def named(source: str, numbers: tuple[float, float, float]) -> dict[str, float]:
    """Columns of a value and its interval."""
    return {source + end: number for end, number in zip(ENDS, numbers)}


def weighted_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(times,) mean of the values under each row of weights, not a number where there is no weight."""
    whole = weights.sum(1, dtype=float)
    return np.divide(weights.astype(float) @ values, whole, out=np.full(len(whole), np.nan), where=whole > 0)


@dataclass(frozen=True, eq=False)
class Observed:
    """The groups as they are: differences between them in the whole test cohort, at equal truth.

    Args:
        chance, truth: (n,) of the images.
        units: (n,) patients as numbers.
        groups: (n,) per factor.
        threshold: of the decision.
        weights: (times + 1, n) of the resamples.
    """

    chance: np.ndarray
    truth: np.ndarray
    groups: pd.DataFrame
    threshold: float
    weights: np.ndarray

    def row(self, measure: str, contrast: Contrast) -> dict[str, object]:
        """Value, low, high and n of high group minus low group. The mean chance is compared at each truth and weighted by how often it occurs."""
        if measure == FLIPPED:
            return named("observed", (float("nan"),) * 3) | {"n_observed": 0}
        values = self.chance if measure == CHANCE else (self.chance >= self.threshold).astype(float)
        parts = {"TPR": [self.truth], "FPR": [~self.truth]}.get(measure, [self.truth, ~self.truth])
        label = self.groups[contrast.factor].to_numpy()
        sides = [(label == contrast.low_group), (label == contrast.high_group)]
        draws, total = np.zeros(len(self.weights)), sum(part.sum() for part in parts)
        for part in parts:
            means = [weighted_means(values[part & side], self.weights[:, part & side]) for side in sides]
            draws = draws + (means[1] - means[0]) * part.sum() / total
        n = int(sum((part & side).sum() for part in parts for side in sides))
        return named("observed", (float(draws[0]), *percentile_interval(draws[1:]))) | {"n_observed": n}
