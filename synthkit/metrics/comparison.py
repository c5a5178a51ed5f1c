"""Which rows of the sets are compared, all at one n, and one metric on them: value, interval and real-against-real floor."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.core.intervals import half_samples, wilson
from synthkit.core.randomness import permutation
from synthkit.metrics.metric import ImageMetric, Metric

MANY = 1_000  # rows; of more, fewer halves
FEWEST = 6  # patients; halves of fewer say nothing
FEW = 100  # images; a score of fewer is rough

Sets = Mapping[str, torch.Tensor]
Side = tuple[str, np.ndarray]  # which set, and which of its rows


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
        """Cut `real`, `fake` and, where given, `train` to the smallest n.

        The floor is real against train; without train, one half of the real patients against the other.
        """
        n = min(map(len, rows.values()))
        cut = {name: (name, part[_some(len(part), n, seed, name)]) for name, part in rows.items()}
        if "train" in rows:
            return Comparison(cut["real"], cut["fake"], (cut["real"], cut["train"]), units, matched=True)
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
        score = metric.compare if isinstance(metric, ImageMetric) else metric.compute
        value, low, high = self._scored(metric, score, sets, self.real, self.fake, seed)
        floor, least, most = self._scored(metric, score, sets, *self.floor, seed)
        needed = metric.least(sets["real"].shape[1])
        reading = self._reading(metric, (low, high), (least, most)) if self.n >= needed else f"needs n >= {needed}"
        return {"metric": metric.name, "value": value, "low": low, "high": high, "n_real": self.n, "n_fake": len(self.fake[1]), "better": metric.better,
                "floor": floor, "floor_low": least, "floor_high": most, "reading": reading}  # fmt: skip

    def _scored(self, metric: Metric, score: Callable[..., float], sets: Sets, a: Side, b: Side, seed: int) -> tuple[float, float, float]:
        if min(len(a[1]), len(b[1])) < metric.least(sets[a[0]].shape[1]):
            return (float("nan"),) * 3
        value = score(sets[a[0]][a[1]], sets[b[0]][b[1]])
        spread = self._spread(metric, score, sets, a, b, seed)
        if not np.isfinite(spread):
            return value, float("nan"), float("nan")
        low, high = value - 1.96 * spread, value + 1.96 * spread
        if metric.share:
            # A share of 1 in every half has no spread, and yet is not certain: never narrower than Wilson's interval.
            least, most = wilson(round(value * len(a[1])), len(a[1]))
            low, high = min(low, least), max(high, most)
        return value, max(metric.limits[0], low), min(metric.limits[1], high)

    def _spread(self, metric: Metric, score: Callable[..., float], sets: Sets, a: Side, b: Side, seed: int) -> float:
        """Standard error from random halves of patients and of images.

        A bootstrap would put copies of one image into a set, which kernel and neighbour metrics take for closeness;
        the spread over halves without replacement equals that of the full set (Wu 1986, delete-half jackknife).
        """
        units = [self.units[name][rows] for name, rows in (a, b)]
        if min(len(np.unique(part)) for part in units) < FEWEST:
            return float("nan")
        times = max(12, min(metric.halves, metric.halves * MANY // len(a[1])))
        halves = zip(*(half_samples(part, times=times, seed=seed, stream=side) for part, side in zip(units, ("real", "fake"))))
        first, second = sets[a[0]][a[1]], sets[b[0]][b[1]]
        values = [score(first[i], second[j]) for i, j in halves if min(len(i), len(j)) >= metric.least(first.shape[1])]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")

    def _reading(self, metric: Metric, value: tuple[float, float], floor: tuple[float, float]) -> str:
        """What value and floor say together; nothing where they have another n or no interval."""
        said = [f"n < {FEW}: rough"] if self.n < FEW else []
        if self.matched and np.isfinite([*value, *floor]).all():
            words = ("lower than real", "higher than real") if metric.alone else ("closer than real to real", "further than real from real")
            words = words if metric.better == "lower" or metric.alone else words[::-1]
            said.insert(0, words[0] if value[1] < floor[0] else words[1] if value[0] > floor[1] else "as real against real")
        return "; ".join(said)


def _some(count: int, wanted: int, seed: int, name: str) -> np.ndarray:
    return np.sort(permutation(count, seed=seed, identity=name, stream="equal n")[:wanted])
