"""Are two sets of patients exchangeable? Many measures, one permutation of whole patients for all of them, and one error for the whole table.

Were old and new patients of one law, any of them could stand on either side. So the sides are dealt out anew many times, all images of a patient together,
and each measure is held against what it shows then. The largest standardised measure of every deal gives the p-values that hold for all rows at once
(Westfall & Young 1993, max-T).
"""
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from synthkit.core.intervals import Z, half_samples
from synthkit.core.randomness import generator

HALVES = 60
CHUNK = 250  # deals at a time, so that memory stays small


@dataclass(frozen=True, eq=False)
class Measure(ABC):
    """Something that may differ between two sets of images.

    Args:
        part: "images" or "table".
        name: for a reader.
    """

    part: str
    name: str

    @property
    @abstractmethod
    def scale(self) -> str:
        """What the effect is counted in."""

    @abstractmethod
    def statistic(self, first: np.ndarray) -> np.ndarray:
        """(B,) how far the sides lie apart, for (B, N) masks of the rows on the first side; larger is further."""

    @abstractmethod
    def effect(self, old: np.ndarray, new: np.ndarray) -> float:
        """The difference new against old in units of `scale`, for two arrays of row numbers."""


@dataclass(frozen=True, eq=False)
class Quantities(Measure):
    """Numbers, NaN where unknown: the Kolmogorov-Smirnov distance tests, the standardised difference of means says how much."""

    values: np.ndarray

    scale = "standard deviations"

    def statistic(self, first: np.ndarray) -> np.ndarray:
        known = np.flatnonzero(np.isfinite(self.values))
        if not len(known):
            return np.zeros(len(first))
        order = known[np.argsort(self.values[known], kind="stable")]
        sorted_values, side = self.values[order], first[:, order]
        ours = side.cumsum(1, dtype=np.float32)
        here, there = ours[:, -1:], len(order) - ours[:, -1:]
        gap = ours / np.maximum(here, 1) - (np.arange(1, len(order) + 1, dtype=np.float32) - ours) / np.maximum(there, 1)
        last = np.append(sorted_values[1:] != sorted_values[:-1], True)  # ties count together
        return np.abs(gap[:, last]).max(1)

    def effect(self, old: np.ndarray, new: np.ndarray) -> float:
        a, b = (self.values[rows][np.isfinite(self.values[rows])] for rows in (old, new))
        if min(len(a), len(b)) < 2:
            return float("nan")
        spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        return float((b.mean() - a.mean()) / spread) if spread > 0 else 0.0 if a.mean() == b.mean() else float("nan")


@dataclass(frozen=True, eq=False)
class Levels(Measure):
    """Levels of a category, blanks a level of their own: the total variation distance, the share of images that would have to change level."""

    codes: np.ndarray

    scale = "share of images"

    def statistic(self, first: np.ndarray) -> np.ndarray:
        hot = np.eye(self.codes.max() + 1, dtype=np.float32)[self.codes]
        ours = first.astype(np.float32) @ hot
        theirs = hot.sum(0) - ours
        return np.abs(ours / ours.sum(1, keepdims=True) - theirs / theirs.sum(1, keepdims=True)).sum(1) / 2

    def effect(self, old: np.ndarray, new: np.ndarray) -> float:
        shares = [np.bincount(self.codes[rows], minlength=self.codes.max() + 1) / len(rows) for rows in (old, new)]
        return float(np.abs(shares[0] - shares[1]).sum() / 2)


@dataclass(frozen=True, eq=False)
class Distances(Measure):
    """All features at once: the energy distance (Székely & Rizzo 2013), and its share of the mean distance across, 0 for one law and at most 1.

    Args:
        between: (N, N) distances of all rows.
    """

    between: np.ndarray

    scale = "energy coefficient"

    def statistic(self, first: np.ndarray) -> np.ndarray:
        ours = first.astype(np.float32)
        weights = ours / ours.sum(1, keepdims=True) - (1 - ours) / (1 - ours).sum(1, keepdims=True)
        return -((weights @ self.between) * weights).sum(1)

    def effect(self, old: np.ndarray, new: np.ndarray) -> float:
        across = self.between[np.ix_(old, new)].mean()
        within = [self.between[np.ix_(rows, rows)].sum() / (len(rows) * (len(rows) - 1)) for rows in (old, new)]
        return float((2 * across - sum(within)) / (2 * across)) if across > 0 else 0.0


def euclidean(features: np.ndarray) -> np.ndarray:
    """(N, N) float32 distances of the rows of (N, d) features."""
    squares = np.square(features).sum(1)
    return np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * features @ features.T, 0)).astype(np.float32)


def dealt(patients: np.ndarray, old: np.ndarray, *, times: int, seed: int) -> np.ndarray:
    """(times + 1, N) masks of the rows on the old side: as they are, and then with whole patients dealt out by chance."""
    names, codes = np.unique(patients, return_inverse=True)
    ours = np.zeros(len(names), bool)
    ours[codes[old]] = True
    rng = generator(seed, "patients", "deal")
    deals = np.stack([ours, *(rng.permutation(ours) for _ in range(times))])
    return deals[:, codes]


def p_values(measures: list[Measure], masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """p-values of every measure alone, and adjusted for all of them together; the first row of the masks is what was seen."""
    scores = np.stack([_standardised(measure, masks) for measure in measures], 1)
    alone = (scores >= scores[:1] - 1e-9).mean(0)
    together = (scores.max(1)[:, None] >= scores[:1] - 1e-9).mean(0)
    return alone, together


def _standardised(measure: Measure, masks: np.ndarray) -> np.ndarray:
    values = np.concatenate([measure.statistic(masks[start : start + CHUNK]) for start in range(0, len(masks), CHUNK)]).astype(float)
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-12 else np.zeros_like(values)


def effects(measures: list[Measure], old: np.ndarray, new: np.ndarray, patients: np.ndarray, *, seed: int) -> list[tuple[float, float, float]]:
    """Effect and 95 % interval of every measure, from halves of the patients of both sides."""
    halves = list(zip(*(half_samples(patients[rows], times=HALVES, seed=seed, stream=name) for rows, name in ((old, "old"), (new, "new")))))
    found = []
    for measure in measures:
        value = measure.effect(old, new)
        error = float(np.std([measure.effect(old[i], new[j]) for i, j in halves], ddof=1))
        found.append((value, value - Z * error, value + Z * error))
    return found
