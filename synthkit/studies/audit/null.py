"""Could the gap be chance? Groups exchanged among patients with the same kind of truth, studentised, the largest gap over all that is tested.

The null hypothesis is that given the truth the predicted chance does not depend on the group. Each attribute, or pair of
attributes, is exchanged by itself: a unit is a patient within one of its groups, so a whole patient wherever the attribute does
not vary within patients. Units exchange groups only with units that have positives (negatives) where they have; so the numbers
of units per group and kind stay, and unequal prevalence accuses nobody. The numbers of images per group stay only where every
unit has as many: with unequal ones, and where images of one patient lie in several groups, the level holds asymptotically. It
does because each gap is divided by its standard error over units, and over the patients whom two groups share (Janssen 1997;
Chung & Romano 2013), which also keeps a small group's wide scatter from counting as a gap. The largest statistic over all that
is tested (Westfall & Young 1993) keeps the chance of any false accusation at alpha. TPR, FPR and AUC of one attribute share
their exchanges; those of different attributes are drawn apart, as if what they show were independent, which errs on the safe
side (Sidak 1967).
"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.randomness import generator
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.judged import Judged
from synthkit.studies.audit.measures import Measure
from synthkit.studies.audit.scatter import Areas, ByGroup, Shares

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
    tested = {one: [measure for measure in measures if len(one.judged_groups(measure)) > 1] for one in attributes}
    names = [(one.name, measure.name) for one, asked in tested.items() for measure in asked]
    if not names:
        return Null({}, {})
    strengths = np.concatenate([_of_attribute(judged, one, asked, permutations, seed) for one, asked in tested.items() if asked], 1)
    # The first order is the data itself.
    seen, drawn = strengths[0], strengths[1:]
    alone = (1 + (drawn >= seen - SLACK).sum(0)) / (permutations + 1)
    adjusted = (1 + (drawn.max(1)[:, None] >= seen - SLACK).sum(0)) / (permutations + 1)
    return Null(dict(zip(names, alone.tolist())), dict(zip(names, adjusted.tolist())))


def _of_attribute(judged: Judged, one: Attribute, measures: Sequence[Measure], permutations: int, seed: int) -> np.ndarray:
    """(1 + permutations, measures) strength of the largest gap, of the data first."""
    units, owners, codes, kinds = _units(judged, one.codes)
    split = owners if len(np.unique(owners)) < len(owners) else None
    scatter = {"TPR": Shares(judged, units, split, True), "FPR": Shares(judged, units, split, False), "AUC": Areas(judged, units, split)}
    kept = [one.judged_groups(measure) for measure in measures]
    renamed = [_renamed(codes, groups, len(one.groups)) for groups in kept]
    found: list[list[ByGroup]] = [[] for _ in measures]
    for order in _orders(kinds, permutations, seed, one.name):
        for place, measure in enumerate(measures):
            found[place].append(scatter[measure.name].by_group(renamed[place][order], len(kept[place])))
    return np.stack([_strengths(rows) for rows in found], 1)


def _units(judged: Judged, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(n,) the unit of each image; (units,) their patients, their groups, and which truths they have, 0 where the group is not known."""
    rows, units = np.unique(np.stack([judged.units, codes], 1), axis=0, return_inverse=True)
    units = units.ravel()
    has = [np.bincount(units[judged.truth == truth], minlength=len(rows)) > 0 for truth in (True, False)]
    return units, rows[:, 0], rows[:, 1], np.where(rows[:, 1] < 0, 0, has[0] * 2 + has[1])


def _renamed(codes: np.ndarray, kept: np.ndarray, groups: int) -> np.ndarray:
    """The groups numbered as they are kept, -1 for all others."""
    names = np.full(groups + 1, -1)
    names[kept] = np.arange(len(kept))
    return names[codes]


def _orders(kinds: np.ndarray, permutations: int, seed: int, name: str) -> Iterator[np.ndarray]:
    """The order of the data, then random ones within each kind; each is drawn when it is needed, from a stream of its own."""
    places = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]
    yield np.arange(len(kinds))
    for number in range(permutations):
        rng, order = generator(seed, f"audit/{name}/{number}", "permutation null"), np.arange(len(kinds))
        for here in places:
            order[here] = rng.permutation(here)
        yield order


def _strengths(found: Sequence[ByGroup]) -> np.ndarray:
    """The largest studentised difference of two groups per order, as minus the log of its Bonferroni p value, so that many groups do not outweigh few.

    The variance of each group is drawn towards the mean of all groups. Where patients have images in two groups, what pulls the
    one up and the other down is added; what pulls both alike is not taken off, which leaves the test on the safe side.
    """
    from scipy.special import log_ndtr

    values, relative, base, counts, shared = (np.stack(part) for part in zip(*((o.values, o.relative, o.base, o.counts, o.shared) for o in found)))
    pooled = (counts * relative).sum(1, keepdims=True) / counts.sum(1, keepdims=True)
    error = base * (counts * relative + PRIOR * pooled) / (counts + PRIOR)
    first, second = np.triu_indices(values.shape[1], 1)
    difference = np.abs(values[:, first] - values[:, second])
    spread = np.sqrt(error[:, first] + error[:, second] + 2 * np.maximum(0, -shared[:, first, second]))
    ratio = np.divide(difference, spread, out=np.where(difference > SLACK, np.inf, 0.0), where=spread > SLACK)
    return -np.log(2 * len(first)) - log_ndtr(-ratio.max(1))
