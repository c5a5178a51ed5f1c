"""Scores of several arms on the same patients: means over training seeds and paired differences, with their intervals."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.intervals import Z, resamples
from synthkit.tasks.scoring import LIMITS, Reading

TIMES = 400


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """Scores of every arm and seed on all test images, and on resamples of the patients that are the same for all of them.

    Args:
        arms: in the order of the first axis.
        values: (arms, seeds).
        draws: (times, arms, seeds).
        limits: where a score can lie.
        allowances: (arms,) standard error that an arm has at a limit, where its draws show none; see `Reading.allowance`.
    """

    arms: tuple[str, ...]
    values: np.ndarray
    draws: np.ndarray
    limits: tuple[float, float]
    allowances: np.ndarray

    @staticmethod
    def of(readings: Mapping[str, Sequence[Reading]], *, times: int = TIMES, seed: int = 0) -> "Paired":
        """One reading per arm and seed, all of the same test images."""
        table = [list(runs) for runs in readings.values()]
        first = table[0][0]
        values = np.array([[run.value() for run in runs] for runs in table])
        draws = np.array([[[run.value(rows) for run in runs] for runs in table] for rows in resamples(first.units, times=times, seed=seed)])
        allowances = np.array([runs[0].allowance(draws[:, place].ravel()) / Z for place, runs in enumerate(table)])
        return Paired(tuple(readings), values, draws, LIMITS[first.measure], allowances)

    def mean(self, arm: str) -> Estimate:
        """The mean over seeds of one arm."""
        place = self.arms.index(arm)
        mean = estimate(self.values[place], self.draws[:, place], least=self.allowances[place])
        return Estimate(mean.value, max(mean.low, self.limits[0]), min(mean.high, self.limits[1]))

    def difference(self, arm: str, other: str) -> Estimate:
        """The mean over seeds of `arm` minus `other`, paired by patient and by seed."""
        a, b = self.arms.index(arm), self.arms.index(other)
        least = 0.0 if arm == other else float(np.hypot(self.allowances[a], self.allowances[b]))
        return estimate(self.values[a] - self.values[b], self.draws[:, a] - self.draws[:, b], least=least)


def estimate(values: np.ndarray, draws: np.ndarray, *, least: float = 0.0) -> Estimate:
    """Mean over seeds with an interval that carries patients and seeds.

    The variance of the patients comes from their bootstrap, that of the mean over seeds from the seeds themselves. Three
    seeds tell little of their own spread: the t quantile has the degrees of freedom of Welch and Satterthwaite (1947).

    Args:
        values: (seeds,) on all patients.
        draws: (times, seeds) on resampled patients.
        least: standard error over patients that the draws do not show, added to theirs.
    """
    from scipy.stats import t

    means, count = draws.mean(1), len(values)
    means = means[np.isfinite(means)]
    if len(means) < len(draws) / 2:
        return Estimate(float(values.mean()), float("nan"), float("nan"))
    patients, seeds = means.var(ddof=1) + least**2, values.var(ddof=1) / count if count > 1 else 0.0
    freedom = (patients + seeds) ** 2 * (count - 1) / seeds**2 if seeds > 0 else np.inf
    half = t.ppf(0.975, freedom) * np.sqrt(patients + seeds)
    return Estimate(float(values.mean()), float(values.mean() - half), float(values.mean() + half))


def verdict(difference: Estimate, *, able: bool = True) -> str:
    """Better, worse or no difference shown; where the baseline itself learnt nothing (`able` is False), only "better" can be said."""
    if difference.low > 0:
        return "better"
    if not able or not np.isfinite(difference.low):
        return "not assessed"
    return "worse" if difference.high < 0 else "no difference shown"
