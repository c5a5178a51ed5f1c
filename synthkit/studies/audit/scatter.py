"""Figures by group under any exchange of the groups, with their variance over units and what two groups share through common patients."""
from dataclasses import dataclass

import numpy as np

from synthkit.studies.audit.judged import Judged


@dataclass(frozen=True, eq=False)
class ByGroup:
    """A figure of each group.

    Args:
        values: (groups,) the figure.
        relative: (groups,) its variance over units, in units of `base`.
        base: (groups,) what the variance goes with: one over the number of images.
        counts: (groups,) units.
        shared: (groups, groups) covariance of two groups' figures through patients with images in both; 0 where no patient has.
    """

    values: np.ndarray
    relative: np.ndarray
    base: np.ndarray
    counts: np.ndarray
    shared: np.ndarray


def _shared(pull: np.ndarray, codes: np.ndarray, owners: np.ndarray | None, groups: int) -> np.ndarray:
    """Covariance of the groups' figures, summed over patients.

    Args:
        pull: (units,) how far each unit moves the figure of its group.
        codes: (units,) the group, all known.
        owners: (units,) the patient; None where each patient is one unit.
    """
    if owners is None:
        return np.zeros((groups, groups))
    names, patients = np.unique(owners, return_inverse=True)
    table = np.bincount(patients * groups + codes, pull, len(names) * groups).reshape(-1, groups)
    return table.T @ table


class Shares:
    """Shares of called images of one truth, by group of their unit, with the variance over units."""

    def __init__(self, judged: Judged, units: np.ndarray, owners: np.ndarray | None, truth: bool):
        self.owners = owners
        here, count = judged.truth == truth, int(units.max()) + 1
        self.images = np.bincount(units[here], minlength=count).astype(float)
        self.called = np.bincount(units[here], weights=judged.called[here], minlength=count)

    def by_group(self, codes: np.ndarray, groups: int) -> ByGroup:
        rows = np.flatnonzero((codes >= 0) & (self.images > 0))
        codes, images, called = codes[rows], self.images[rows], self.called[rows]
        totals, counts = np.bincount(codes, images, groups), np.bincount(codes, minlength=groups)
        shares = np.bincount(codes, called, groups) / totals
        excess = called - shares[codes] * images
        relative = np.bincount(codes, np.square(excess), groups) / totals * counts / np.maximum(counts - 1, 1)
        owners = None if self.owners is None else self.owners[rows]
        return ByGroup(shares, relative, 1 / totals, counts, _shared(excess / totals[codes], codes, owners, groups))


class Areas:
    """Areas under the ROC curve by group, with the variance of their placements over units (DeLong 1988; Obuchowski 1997)."""

    def __init__(self, judged: Judged, units: np.ndarray, owners: np.ndarray | None):
        self.owners = owners
        first, last = judged.ties()
        self.truth, self.units, self.count = judged.truth, units, int(units.max()) + 1
        self.ties = first if (last - first > 1).any() else None
        self.has = [np.bincount(units[judged.truth == truth], minlength=self.count) > 0 for truth in (True, False)]

    def by_group(self, codes: np.ndarray, groups: int) -> ByGroup:
        group = codes[self.units]
        # One group after another, each in ascending order of the chance.
        rows = np.argsort(group, kind="stable")[np.count_nonzero(group < 0) :]
        group, truth = group[rows], self.truth[rows]
        start = np.searchsorted(group, np.arange(groups))
        share, positives, negatives = self._placements(rows, group, truth, start)
        areas = np.bincount(group[truth], share[truth], groups) / positives
        pull = (share - areas[group]) / np.where(truth, positives[group], negatives[group])
        inside = codes >= 0
        pulls = np.bincount(self.units[rows], pull, self.count)[inside]
        counts = np.min([np.bincount(codes[inside & has], minlength=groups) for has in self.has], axis=0)
        base = 1 / positives + 1 / negatives
        relative = np.bincount(codes[inside], np.square(pulls), groups) / base * counts / np.maximum(counts - 1, 1)
        owners = None if self.owners is None else self.owners[inside]
        return ByGroup(areas, relative, base, counts, _shared(pulls, codes[inside], owners, groups))

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
