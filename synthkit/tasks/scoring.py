"""How well a predicted factor matches the true one: AUC for categories, R² for quantities."""
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from synthkit.core.intervals import Z, hidden_share, percentile_interval, resampled
from synthkit.core.schema import Category, Factor

CHANCE = {"AUC": 0.5, "R2": 0.0}
LIMITS = {"AUC": (0.0, 1.0), "R2": (float("-inf"), 1.0)}


def auc(chances: np.ndarray, truth: np.ndarray, levels: tuple[str, ...]) -> float:
    """Area under the ROC curve; with more than two levels the mean of each level against the rest."""
    present = [i for i, level in enumerate(levels) if 0 < (truth == level).sum() < len(truth)]
    if not present:
        return float("nan")
    wanted = present[-1:] if len(levels) == 2 else present
    return float(np.mean([_area(chances[:, i], truth == levels[i]) for i in wanted]))


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    """Share of pairs of one positive and one negative row that the scores put in order, ties half (Mann & Whitney 1947)."""
    from scipy.stats import rankdata

    count = positive.sum()
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def r2(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Coefficient of determination: 1 is exact, 0 no better than the mean."""
    spread = np.square(truth - truth.mean()).sum()
    return float(1 - np.square(truth - predicted).sum() / spread) if spread > 0 else float("nan")


@dataclass(frozen=True)
class Reading:
    """One factor as predicted beside its true values: what a score and its resamples are computed from.

    Args:
        measure: "AUC" or "R2".
        guess: (n, levels) chances of a category, or (n,) values of a quantity.
        truth: (n,) true values, all known.
        units: (n,) patients.
        levels: of a category; empty for a quantity.
    """

    measure: str
    guess: np.ndarray
    truth: np.ndarray
    units: np.ndarray
    levels: tuple[str, ...] = ()

    @staticmethod
    def of(factor: Factor, predicted: pd.DataFrame, table: pd.DataFrame) -> "Reading | None":
        """The images whose true value is known, or None where fewer than two values occur."""
        if factor.name not in table:
            return None
        known = table[factor.name].notna().to_numpy()
        truth, units = table[factor.name].to_numpy()[known], table["patient_id"].to_numpy()[known]
        if len(set(truth)) < 2:
            return None
        if isinstance(factor, Category):
            guess = predicted[[f"p_{factor.name}_{level}" for level in factor.levels]].to_numpy()[known]
            return Reading("AUC", guess, truth, units, factor.levels)
        return Reading("R2", predicted[factor.name].to_numpy()[known], truth.astype(float), units)

    def __len__(self) -> int:
        return len(self.truth)

    def __getitem__(self, rows: np.ndarray) -> "Reading":
        return replace(self, guess=self.guess[rows], truth=self.truth[rows], units=self.units[rows])

    def value(self, rows: np.ndarray | slice = slice(None)) -> float:
        """AUC or R² of some rows, or of all."""
        return auc(self.guess[rows], self.truth[rows], self.levels) if self.levels else r2(self.guess[rows], self.truth[rows])

    def draws(self, *, times: int, seed: int = 0, stream: str = "units") -> np.ndarray:
        """(times,) values on resamples of the patients."""
        return resampled(self.value, self.units, times=times, seed=seed, stream=stream)

    def allowance(self, draws: np.ndarray) -> float:
        """How far from a limit the truth may lie where most resamples lie at that limit, and so show no spread; 0 elsewhere.

        Classes kept fully apart have an AUC of 1 on every resample; how much the patients of the smallest class may hide is
        `hidden_share` of them. R² has no lower limit and gets none.
        """
        known = draws[np.isfinite(draws)]
        ends = [end for end in LIMITS[self.measure] if np.isfinite(end)]
        if not self.levels or not any((np.abs(known - end) < 1e-9).sum() > len(known) / 2 for end in ends):
            return 0.0
        smallest = min(len(set(self.units[self.truth == level])) for level in set(self.truth))
        return hidden_share(smallest)

    def uncertainty(self, *, times: int, seed: int = 0, stream: str = "units") -> "Uncertainty":
        """95 % percentile interval and standard error over patients, no narrower at a limit than `allowance`."""
        draws = self.draws(times=times, seed=seed, stream=stream)
        (low, high), room = percentile_interval(draws), self.allowance(draws)
        if not np.isfinite(low):
            return Uncertainty(low, high, float("nan"))
        if room and np.nanmedian(draws) > 0.5:
            low = min(low, 1 - room)
        elif room:
            high = max(high, room)
        return Uncertainty(low, high, max(float(np.nanstd(draws)), room / Z))


@dataclass(frozen=True)
class Uncertainty:
    """95 % interval and standard error of a score, as far as they come from the choice of the patients."""

    low: float
    high: float
    error: float


def score(factor: Factor, predicted: pd.DataFrame, table: pd.DataFrame, *, times: int) -> dict[str, object] | None:
    """One row of scores over the images whose true value is known, or None where fewer than two values occur."""
    found = Reading.of(factor, predicted, table)
    if found is None:
        return None
    sure = found.uncertainty(times=times)
    return {"factor": factor.name, "measure": found.measure, "value": found.value(), "low": sure.low, "high": sure.high, "n": len(found)}
