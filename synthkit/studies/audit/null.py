"""Could the gap be chance? Groups exchanged among patients with the same kind of truth, studentised, the largest gap over all that is tested.

The null hypothesis is that given the truth the predicted chance does not depend on the group. A unit is a patient within one
group; units exchange all their groups at once, and only with units that have positives (negatives) where they have. So the
numbers of positives and negatives per group stay, and unequal prevalence accuses nobody. Each gap is divided by its standard
error (Janssen 1997; Chung & Romano 2013), so that a small group's wide scatter does not count as a gap, and the largest
statistic over everything that is tested (Westfall & Young 1993) keeps the chance of any false accusation at alpha.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.randomness import generator
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.judged import Judged
from synthkit.studies.audit.measures import Measure

PRIOR = 5.0  # patients' worth of the pooled variance in each group: a group without any error still has a scatter
SLACK = 1e-9  # sums in another order round otherwise


@dataclass(frozen=True)
class Null:
    """Chances of a gap as large as that seen, if the group did not matter.

    Args:
        alone: (attribute, measure) to the p value of that gap by itself.
        adjusted: the same, against the largest gap of all that is tested.
    """

    alone: dict[tuple[str, str], float]
    adjusted: dict[tuple[str, str], float]


def permutation_null(
    judged: Judged, attributes: Sequence[Attribute], measures: Sequence[Measure], *, permutations: int, seed: int
) -> Null:  # fmt: skip
    """P values of the largest gap of each attribute in each measure with at least two groups to compare."""
    tested = [(one, measure) for one in attributes for measure in measures if len(one.judged_groups(measure)) > 1]
    if not tested:
        return Null({}, {})
    units, joint, kinds = _units(judged, attributes)
    scatter = {"TPR": _Shares(judged, units, True), "FPR": _Shares(judged, units, False), "AUC": _Areas(judged, units)}
    rng = generator(seed, "audit", "permutation null")
    orders = [np.arange(len(joint)), *(_exchange(kinds, rng) for _ in range(permutations))]
    strengths = []
    for one, measure in tested:
        kept = one.judged_groups(measure)
        renamed = np.full(len(one.groups) + 1, -1)
        renamed[kept] = np.arange(len(kept))
        codes = renamed[joint[:, attributes.index(one)]]
        found = [scatter[measure.name].by_group(codes[order], len(kept)) for order in orders]
        strengths.append(_strengths(*(np.stack(part) for part in zip(*found))))
    # The first order is the data itself.
    seen, drawn = np.stack(strengths, 1)[0], np.stack(strengths, 1)[1:]
    alone = (1 + (drawn >= seen - SLACK).sum(0)) / (permutations + 1)
    adjusted = (1 + (drawn.max(1)[:, None] >= seen - SLACK).sum(0)) / (permutations + 1)
    names = [(one.name, measure.name) for one, measure in tested]
    return Null(dict(zip(names, alone.tolist())), dict(zip(names, adjusted.tolist())))


def _units(judged: Judged, attributes: Sequence[Attribute]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) the unit of each image, (units, attributes) their groups, and (units,) which truths they have."""
    table = np.stack([judged.units, *(one.codes for one in attributes)], 1)
    rows, units = np.unique(table, axis=0, return_inverse=True)
    units = units.ravel()
    has = [np.bincount(units[judged.truth == truth], minlength=len(rows)) > 0 for truth in (True, False)]
    return units, rows[:, 1:], has[0] * 2 + has[1]


def _exchange(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = np.arange(len(kinds))
    for kind in np.unique(kinds):
        here = np.flatnonzero(kinds == kind)
        order[here] = rng.permutation(here)
    return order


def _strengths(values: np.ndarray, relative: np.ndarray, base: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The largest studentised difference of two groups as minus the log of its Bonferroni p value, so that many groups do not outweigh few.

    Args:
        values: (orders, groups) the figure.
        relative: (orders, groups) its variance in units of `base`, here drawn towards the mean of all groups.
        counts: (orders, groups) patients.
    """
    from scipy.special import log_ndtr

    pooled = (counts * relative).sum(1, keepdims=True) / counts.sum(1, keepdims=True)
    error = base * (counts * relative + PRIOR * pooled) / (counts + PRIOR)
    first, second = np.triu_indices(values.shape[1], 1)
    difference, spread = np.abs(values[:, first] - values[:, second]), np.sqrt(error[:, first] + error[:, second])
    ratio = np.divide(difference, spread, out=np.where(difference > SLACK, np.inf, 0.0), where=spread > SLACK)
    return -np.log(2 * len(first)) - log_ndtr(-ratio.max(1))


class _Shares:
    """Shares of called images of one truth, by group of their unit, with the variance over units."""

    def __init__(self, judged: Judged, units: np.ndarray, truth: bool):
        here, count = judged.truth == truth, int(units.max()) + 1
        self.images = np.bincount(units[here], minlength=count).astype(float)
        self.called = np.bincount(units[here], weights=judged.called[here], minlength=count)

    def by_group(self, codes: np.ndarray, groups: int) -> tuple[np.ndarray, ...]:
        rows = np.flatnonzero((codes >= 0) & (self.images > 0))
        codes, images, called = codes[rows], self.images[rows], self.called[rows]
        totals, counts = np.bincount(codes, images, groups), np.bincount(codes, minlength=groups)
        shares = np.bincount(codes, called, groups) / totals
        squares = np.bincount(codes, np.square(called - shares[codes] * images), groups)
        return shares, squares / totals * counts / np.maximum(counts - 1, 1), 1 / totals, counts


class _Areas:
    """Areas under the ROC curve by group, with the variance of their placements over units (DeLong 1988; Obuchowski 1997)."""

    def __init__(self, judged: Judged, units: np.ndarray):
        first, last = judged.ties()
        self.truth, self.units, self.count = judged.truth, units, int(units.max()) + 1
        self.ties = first if (last - first > 1).any() else None
        self.has = [np.bincount(units[judged.truth == truth], minlength=self.count) > 0 for truth in (True, False)]

    def by_group(self, codes: np.ndarray, groups: int) -> tuple[np.ndarray, ...]:
        group = codes[self.units]
        # One group after another, each in ascending order of the chance.
        rows = np.argsort(group, kind="stable")[np.count_nonzero(group < 0) :]
        group, truth = group[rows], self.truth[rows]
        start = np.searchsorted(group, np.arange(groups))
        share, positives, negatives = self._placements(rows, group, truth, start)
        areas = np.bincount(group[truth], share[truth], groups) / positives
        pull = (share - areas[group]) / np.where(truth, positives[group], negatives[group])
        inside = codes >= 0
        squares = np.bincount(codes[inside], np.square(np.bincount(self.units[rows], pull, self.count))[inside], groups)
        counts = np.min([np.bincount(codes[inside & has], minlength=groups) for has in self.has], axis=0)
        base = 1 / positives + 1 / negatives
        return areas, squares / base * counts / np.maximum(counts - 1, 1), base, counts

    def _placements(self, rows: np.ndarray, group: np.ndarray, truth: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, ...]:
        """Per row the share of the other truth in its group that is in order with it, ties half; and how many of either truth a group has."""
        negative, positive = (np.concatenate([[0], np.cumsum(part)]) for part in (~truth, truth))
        ends = np.append(start[1:], len(rows))
        positives, negatives = positive[ends] - positive[start], negative[ends] - negative[start]
        first, last = np.arange(len(rows)), np.arange(1, len(rows) + 1)
        if self.ties is not None:
            key = group * (len(self.ties) + 1) + self.ties[rows]
            first, last = np.searchsorted(key, key, "left"), np.searchsorted(key, key, "right")
        below = (negative[first] + negative[last]) / 2 - negative[start][group]
        above = positives[group] - (positive[first] + positive[last]) / 2 + positive[start][group]
        return np.where(truth, below / negatives[group], above / positives[group]), positives, negatives
