"""What an audit measures in a group, on the data and on all resamples at once."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthkit.studies.audit.judged import Judged

BINS = 10
CALIBRATED = 100  # draws of labels that agree with their chances


@dataclass(frozen=True)
class Measure:
    """One figure of a group.

    Args:
        name: as the tables call it.
        better: "higher" or "lower".
        of: the images it is computed from: "positives", "negatives", or "both", where both must occur.
        weighted: (images, (times, n) weights) to (times,) values, not a number where it is not defined.
        accuses: whether a gap in it leads to a verdict. It does where the figure is conditional on the truth: those of the
            others differ between groups of unequal prevalence even for a fair classifier.
    """

    name: str
    better: str
    of: str
    weighted: Callable[[Judged, np.ndarray], np.ndarray]
    accuses: bool = False

    def value(self, judged: Judged) -> float:
        """The figure of these images."""
        return float(self.weighted(judged, np.ones((1, len(judged)), np.float32))[0])

    def images(self, judged: Judged) -> np.ndarray:
        """(n,) bool: the images it is computed from."""
        return {"positives": judged.truth, "negatives": ~judged.truth, "both": np.ones(len(judged), bool)}[self.of]

    def patients(self, judged: Judged) -> int:
        """Patients that carry it: those with a positive or negative image, the fewer of the two where both are needed."""
        have = {"positives": judged.patients_with(True), "negatives": judged.patients_with(False)}
        return have[self.of] if self.of in have else min(have.values())


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def share_called(truth: bool) -> Callable[[Judged, np.ndarray], np.ndarray]:
    """The share of images of this truth that are called positive."""

    def weighted(judged: Judged, weights: np.ndarray) -> np.ndarray:
        here = judged.truth == truth
        weights = weights[:, here].astype(float)
        return _ratio(weights @ judged.called[here], weights.sum(1))

    return weighted


def missed(judged: Judged, weights: np.ndarray) -> np.ndarray:
    """Underdiagnosis (Seyyed-Kalantari et al. 2021): among the positives, the share called "no finding"."""
    return 1 - share_called(True)(judged, weights)


def auc(judged: Judged, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the share of pairs in order, ties half (Mann & Whitney 1947)."""
    positive, negative = weights * judged.truth, weights * ~judged.truth
    below, upto = _tied(judged, negative)
    pairs = positive.sum(1, dtype=float) * negative.sum(1, dtype=float)
    return _ratio((positive * (below + upto) / 2).sum(1, dtype=float), pairs)


def _tied(judged: Judged, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(times, n) summed weights of the images with a lower chance, and with at most the same."""
    total = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, 1, dtype=float)], 1)
    first, last = judged.ties()
    return total[:, first], total[:, last]


def brier(judged: Judged, weights: np.ndarray) -> np.ndarray:
    """Mean squared distance of the chance from the truth (Brier 1950)."""
    weights = weights.astype(float)
    return _ratio(weights @ np.square(judged.chance - judged.truth), weights.sum(1))


def ece(judged: Judged, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error over ten bins of equal mass; images of equal chance share a bin."""
    below, upto = _tied(judged, weights)
    whole = weights.sum(1, dtype=float)
    bins = np.minimum((BINS * (below + upto) / 2 / np.maximum(whole, 1e-9)[:, None]).astype(int), BINS - 1)
    excess = weights * (judged.chance - judged.truth)
    sums = [np.abs(np.bincount(where, weights=part, minlength=BINS)).sum() for where, part in zip(bins, excess)]
    return _ratio(np.array(sums, float), whole)


def expected_ece(judged: Judged, rng: np.random.Generator) -> float:
    """The calibration error that chance alone gives to a calibrated classifier with these predicted chances and this many images."""
    bins = np.minimum(BINS * np.add(*judged.ties()) // (2 * max(len(judged), 1)), BINS - 1)
    drawn = judged.chance - (rng.random((CALIBRATED, len(judged))) < judged.chance)
    return float(np.mean([np.abs(np.bincount(bins, weights=one, minlength=BINS)).sum() for one in drawn]) / max(len(judged), 1))


MEASURES = (
    Measure("TPR", "higher", "positives", share_called(True), accuses=True),
    Measure("FPR", "lower", "negatives", share_called(False), accuses=True),
    Measure("AUC", "higher", "both", auc, accuses=True),
    Measure("underdiagnosis", "lower", "positives", missed),
    Measure("Brier", "lower", "both", brier),
    Measure("ECE", "lower", "both", ece),
)
