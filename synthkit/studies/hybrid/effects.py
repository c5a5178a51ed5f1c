"""Values of every candidate on the test patients, and their paired differences, with intervals that carry patients and seeds."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.intervals import Z, hidden_share, resamples
from synthkit.metrics.paired import TIMES, Estimate, Paired, estimate
from synthkit.studies.hybrid.measures import HIGHER, MEASURES, measured


@dataclass(frozen=True, eq=False)
class Readings:
    """Chances of the rare class by candidate and seed, all of the same images.

    Args:
        chances: candidate to (seeds, n).
        cuts: candidate to (seeds,) thresholds frozen on validation.
        truth: (n,) bool.
        units: (n,) patients.
    """

    chances: Mapping[str, np.ndarray]
    cuts: Mapping[str, np.ndarray]
    truth: np.ndarray
    units: np.ndarray

    def counts(self, *, times: int = TIMES, seed: int = 0) -> np.ndarray:
        """(times, n) how often each image counts in each resample of the patients."""
        return np.stack([np.bincount(rows, minlength=len(self.truth)) for rows in resamples(self.units, times=times, seed=seed)]).astype(float)

    def paired(self, *, measures: Sequence[str] = MEASURES, times: int = TIMES, seed: int = 0) -> dict[str, Paired]:
        """One Paired per measure, on the same resamples."""
        weights = np.concatenate([np.ones((1, len(self.truth))), self.counts(times=times, seed=seed)])
        return {measure: self._paired(measure, weights) for measure in measures}

    def _paired(self, measure: str, weights: np.ndarray) -> Paired:
        rows = [
            [measured(measure, chance, self.truth, weights, cut=cut) for chance, cut in zip(self.chances[name], self.cuts[name])] for name in self.chances
        ]
        table = np.array(rows).transpose(2, 0, 1)
        rare = len(set(self.units[self.truth]))
        allowances = np.array([allowance(table[1:, place].ravel(), rare) if measure in HIGHER else 0.0 for place in range(len(rows))])
        return Paired(tuple(self.chances), table[0], table[1:], (0.0, 1.0), allowances)


def allowance(draws: np.ndarray, patients: int) -> float:
    """Standard error that a score at 0 or 1 has although its resamples show none (`hidden_share`); 0 elsewhere."""
    known = draws[np.isfinite(draws)]
    at_limit = max(((np.abs(known - end) < 1e-9).mean() for end in (0.0, 1.0)), default=0.0) if len(known) else 0.0
    return hidden_share(patients) / Z if at_limit > 0.5 else 0.0


def relative(scores: Paired, arm: str, other: str) -> Estimate:
    """The mean over seeds of `arm` over that of `other`, minus 1; intervals on the log scale, the spread of seeds by the delta method."""
    a, b = scores.arms.index(arm), scores.arms.index(other)
    first, second = scores.values[a], scores.values[b]
    if not min(first.mean(), second.mean()) > 0:
        return Estimate(float("nan"), float("nan"), float("nan"))
    by_seed = np.log(first.mean() / second.mean()) + first / first.mean() - second / second.mean()
    with np.errstate(divide="ignore", invalid="ignore"):
        by_draw = np.log(scores.draws[:, a].mean(1) / scores.draws[:, b].mean(1))
    least = 0.0 if arm == other else float(np.hypot(scores.allowances[a] / first.mean(), scores.allowances[b] / second.mean()))
    logs = estimate(by_seed, by_draw[:, None], least=least)
    return Estimate(*(float(np.expm1(end)) for end in (logs.value, logs.low, logs.high)))
