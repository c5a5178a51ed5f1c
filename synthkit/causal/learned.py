"""Mechanisms learnt from a table: conditional location and scale for quantities, ordered thresholds for categories."""
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthkit.causal.features import Predictor
from synthkit.causal.mechanisms import Mechanism
from synthkit.causal.noise import Array, Law, law, noises_between

NORMAL = law("normal")
KNOTS = 400


@dataclass(frozen=True)
class Shape:
    """The law of a residual as a monotone function of normal noise: a spline through its quantiles, straight in the tails."""

    spline: Any
    slopes: tuple[float, float]

    @staticmethod
    def of(residuals: Array) -> "Shape":
        from scipy.interpolate import PchipInterpolator
        from scipy.special import ndtri

        count = min(KNOTS, len(residuals))
        at = (np.arange(count) + 0.5) / count
        noise, values = ndtri(at), np.quantile(residuals, at, method="hazen")
        inner = max(1, count // 40)
        slopes = [(values[b] - values[a]) / (noise[b] - noise[a]) for a, b in ((0, inner), (-1 - inner, -1))]
        return Shape(PchipInterpolator(noise, values), (float(slopes[0]), float(slopes[1])))

    def __call__(self, noise: Array) -> Array:
        first, last = self.spline.x[[0, -1]]
        return self.spline(np.clip(noise, first, last)) + self.slopes[0] * np.minimum(noise - first, 0) + self.slopes[1] * np.maximum(noise - last, 0)


@dataclass(frozen=True)
class LocationScale(Mechanism):
    """A quantity, or its logarithm, as location(parents) + scale(parents) * shape(noise): invertible in the noise."""

    location: Predictor
    variance: Predictor
    shape: Shape
    logs: bool = False

    @property
    def law(self) -> Law:
        return NORMAL

    def value(self, noise: Array, *parents: Array) -> Array:
        centre, scale = self._at(len(noise), parents)
        scaled = centre + scale * self.shape(noise)
        return np.exp(scaled) if self.logs else scaled

    def noises(self, low: Array, high: Array, *parents: Array) -> tuple[Array, Array]:
        centre, scale = self._at(len(low), parents)
        if self.logs:
            low, high = (np.log(np.maximum(end, 1e-300)) for end in (low, high))
        return noises_between(lambda noise: centre + scale * self.shape(noise), low, high, NORMAL.ends)

    def _at(self, count: int, parents: tuple[Array, ...]) -> tuple[Array, Array]:
        codes = np.stack(parents, 1) if parents else np.zeros((count, 0))
        return self.location(codes), np.sqrt(self.variance(codes))


@dataclass(frozen=True)
class OrderedLevels(Mechanism):
    """A category as the interval of cumulative level probabilities, in the order of the levels, that its uniform noise falls in."""

    probabilities: Predictor
    seen: tuple[int, ...]
    count: int

    @property
    def law(self) -> Law:
        return law("uniform")

    def value(self, noise: Array, *parents: Array) -> Array:
        ends = self._ends(len(noise), parents)
        return (noise[:, None] >= ends[:, 1:-1]).sum(1).astype(float)

    def noises(self, low: Array, high: Array, *parents: Array) -> tuple[Array, Array]:
        ends = self._ends(len(low), parents)
        first = np.clip(np.ceil(low), 0, self.count - 1).astype(int)
        last = np.clip(np.floor(high), 0, self.count - 1).astype(int)
        rows = np.arange(len(low))
        return ends[rows, first], ends[rows, last + 1]

    def _ends(self, count: int, parents: tuple[Array, ...]) -> Array:
        """(N, levels + 1) cumulative probabilities, from 0 to 1."""
        shares = np.zeros((count, self.count))
        shares[:, self.seen] = self.probabilities.shares(np.stack(parents, 1) if parents else np.zeros((count, 0)))
        ends = np.concatenate([np.zeros((count, 1)), shares.cumsum(1)], 1)
        return ends / ends[:, -1:]
