"""One metric on two feature sets, with its interval and its real-against-real floor, all at equal n."""
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.core.intervals import half_samples, wilson
from synthkit.core.randomness import permutation
from synthkit.metrics.metric import Metric

TIMES = 60
FEWEST = 6  # patients; halves of fewer say nothing


@dataclass(frozen=True)
class Comparison:
    """Feature sets of one row of scores.

    Args:
        real, fake: (n, d) each.
        units: (n,) patients of the real rows.
        floor: two (m, d) sets of real images of different patients.
    """

    real: torch.Tensor
    fake: torch.Tensor
    units: np.ndarray
    floor: tuple[torch.Tensor, torch.Tensor]

    @staticmethod
    def of(real: torch.Tensor, fake: torch.Tensor, units: np.ndarray, train: torch.Tensor | None, *, seed: int) -> "Comparison":
        """Cut all sets to the smallest n; the floor is real against train, or half of real against the other half."""
        n = min(len(part) for part in (real, fake, train) if part is not None)
        rows = [_some(len(part), n, seed, name) for part, name in ((real, "real"), (fake, "fake"))]
        real, fake, units = real[rows[0]], fake[rows[1]], units[rows[0]]
        if train is not None:
            return Comparison(real, fake, units, (real, train[_some(len(train), n, seed, "train")]))
        names = np.unique(units)
        first = np.isin(units, names[permutation(len(names), seed=seed, identity="half", stream="floor")[: len(names) // 2]])
        return Comparison(real, fake, units, (real[first], real[~first]))

    def row(self, metric: Metric, *, seed: int) -> dict[str, object]:
        """Value, interval, n and floor of one metric."""
        value = metric.compute(self.real, self.fake)
        spread = self._spread(metric, seed)
        low, high = self._interval(metric, value, spread)
        least = metric.least
        floor = metric.compute(*self.floor) if min(map(len, self.floor)) >= least else float("nan")
        return {"metric": metric.name, "value": value, "low": low, "high": high, "n_real": len(self.real), "n_fake": len(self.fake),
                "better": metric.better, "floor": floor}  # fmt: skip

    def _interval(self, metric: Metric, value: float, spread: float) -> tuple[float, float]:
        if not np.isfinite(spread):
            return float("nan"), float("nan")
        low, high = value - 1.96 * spread, value + 1.96 * spread
        if metric.limits == (0.0, 1.0):
            # A share of 1 in every half has no spread, and yet is not certain: never narrower than Wilson's interval.
            least, most = wilson(round(value * len(self.real)), len(self.real))
            low, high = min(low, least), max(high, most)
        return max(metric.limits[0], low), min(metric.limits[1], high)

    def _spread(self, metric: Metric, seed: int) -> float:
        """Standard error from random halves of patients and of images.

        A bootstrap would put copies of one image into a set, which kernel and neighbour metrics take for closeness;
        the spread over halves without replacement equals that of the full set (Wu 1986, delete-half jackknife).
        """
        if len(np.unique(self.units)) < FEWEST:
            return float("nan")
        halves = (half_samples(rows, times=TIMES, seed=seed, stream=name) for rows, name in ((self.units, "real"), (np.arange(len(self.fake)), "fake")))
        pairs = zip(*halves)
        values = [metric.compute(self.real[a], self.fake[b]) for a, b in pairs if min(len(a), len(b)) >= metric.least]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def _some(count: int, wanted: int, seed: int, name: str) -> np.ndarray:
    return np.sort(permutation(count, seed=seed, identity=name, stream="equal n")[:wanted])
