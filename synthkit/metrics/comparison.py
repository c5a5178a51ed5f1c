"""Which rows of the sets are compared, all at one n, and one metric on them: value, interval and real-against-real floor."""
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.core.intervals import half_samples, wilson
from synthkit.core.randomness import permutation
from synthkit.metrics.metric import Metric

MANY = 1_000  # rows; of more, fewer halves
FEWEST = 6  # patients; halves of fewer say nothing
FEW = 100  # images; a score of fewer is rough

Sets = Mapping[str, torch.Tensor]
Side = tuple[str, np.ndarray]  # which set, and which of its rows


@dataclass(frozen=True)
class Scored:
    """A score with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def error(self) -> float:
        """Standard error: the longer half of the interval, since the other may be cut at a limit."""
        return max(self.high - self.value, self.value - self.low) / 1.96


@dataclass(frozen=True)
class Comparison:
    """The rows of one group that are compared.

    Args:
        real, fake: n rows of each set.
        floor: real rows, and rows of other real patients, of one n.
        units: patients of the rows of every whole set.
        matched: whether the floor has the n of the value, so that they may be held against each other.
    """

    real: Side
    fake: Side
    floor: tuple[Side, Side]
    units: Mapping[str, np.ndarray]
    matched: bool

    @staticmethod
    def of(rows: Mapping[str, np.ndarray], units: Mapping[str, np.ndarray], *, seed: int) -> "Comparison":
        """Cut `real`, `fake` and, where given, `other` real patients to the smallest n.

        The floor is real against other; without others, one half of the real patients against the other half.
        """
        n = min(map(len, rows.values()))
        cut = {name: (name, part[_some(len(part), n, seed, name)]) for name, part in rows.items()}
        if "other" in rows:
            return Comparison(cut["real"], cut["fake"], (cut["real"], cut["other"]), units, matched=True)
        own = rows["real"]
        names = np.unique(units["real"][own])
        half = names[permutation(len(names), seed=seed, identity="half", stream="floor")[: len(names) // 2]]
        first = np.isin(units["real"][own], half)
        return Comparison(cut["real"], cut["fake"], (("real", own[first]), ("real", own[~first])), units, matched=False)

    @property
    def n(self) -> int:
        return len(self.real[1])

    def row(self, metric: Metric, sets: Sets, *, seed: int) -> dict[str, object]:
        """Value, interval, n, floor with its interval, and what the two say together.

        Args:
            sets: per set the features, or for an `ImageMetric` its own descriptions, one row per image.
        """
        value = self._scored(metric, sets, self.real, self.fake, seed)
        # What looks at one set alone is held against the real images themselves.
        floor = self._scored(metric, sets, *((self.real, self.real) if metric.alone else self.floor), seed)
        needed = metric.least(sets["real"].shape[1])
        reading = self._reading(metric, value, floor) if self.n >= needed else f"needs n >= {needed}"
        return {"metric": metric.name, "value": value.value, "low": value.low, "high": value.high, "n_real": self.n, "n_fake": len(self.fake[1]),
                "better": metric.better, "floor": floor.value, "floor_low": floor.low, "floor_high": floor.high, "reading": reading}  # fmt: skip

    def _scored(self, metric: Metric, sets: Sets, a: Side, b: Side, seed: int) -> Scored:
        if min(len(a[1]), len(b[1])) < metric.least(sets[a[0]].shape[1]):
            return Scored(float("nan"), float("nan"), float("nan"))
        value = metric.compare(sets[a[0]][a[1]], sets[b[0]][b[1]])
        spread = self._spread(metric, sets, a, b, seed)
        if not np.isfinite(spread):
            return Scored(value, float("nan"), float("nan"))
        low, high = value - 1.96 * spread, value + 1.96 * spread
        if metric.share:
            # A share of 1 in every half has no spread, and yet is not certain: never narrower than Wilson's interval.
            least, most = wilson(round(value * len(a[1])), len(a[1]))
            low, high = min(low, least), max(high, most)
        return Scored(value, max(metric.limits[0], low), min(metric.limits[1], high))

    def _spread(self, metric: Metric, sets: Sets, a: Side, b: Side, seed: int) -> float:
        """Standard error from random halves of patients and of images.

        A bootstrap would put copies of one image into a set, which kernel and neighbour metrics take for closeness;
        the spread over halves without replacement equals that of the full set (Wu 1986, delete-half jackknife). Where both
        sets are of one law, kernel and Fréchet distances have no linear part and it is up to 1.7 times too wide.
        """
        units = [self.units[name][rows] for name, rows in (a, b)]
        if min(len(np.unique(part)) for part in units) < FEWEST:
            return float("nan")
        times = max(12, min(metric.halves, metric.halves * MANY // len(a[1])))
        halves = zip(*(half_samples(part, times=times, seed=seed, stream=side) for part, side in zip(units, ("real", "fake"))))
        first, second = sets[a[0]][a[1]], sets[b[0]][b[1]]
        values = [metric.compare(first[i], second[j]) for i, j in halves if min(len(i), len(j)) >= metric.least(first.shape[1])]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def _reading(self, metric: Metric, value: Scored, floor: Scored) -> str:
        """What value and floor say together, by the interval of their difference; nothing where they have another n."""
        error = np.hypot(value.error, floor.error)
        said = [f"n < {FEW}: rough"] if self.n < FEW else []
        if not np.isfinite(error):
            said.insert(0, f"no interval: halves of {self.n} rows, or of under {FEWEST} patients, are too few")
        elif self.matched or metric.alone:
            words = ("lower than real", "higher than real") if metric.alone else ("closer than real to real", "further than real from real")
            words = words if metric.better == "lower" or metric.alone else words[::-1]
            difference = value.value - floor.value
            said.insert(0, words[int(difference > 0)] if abs(difference) > 1.96 * error else "not told apart from real")
        return "; ".join(said)


def _some(count: int, wanted: int, seed: int, name: str) -> np.ndarray:
    return np.sort(permutation(count, seed=seed, identity=name, stream="equal n")[:wanted])
