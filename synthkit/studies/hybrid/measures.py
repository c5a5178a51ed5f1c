"""How well chances of the rare class are ranked and calibrated, on all images and on many resamples of the patients at once.

Every function takes `chance` (n,), `truth` (n,) bool and `weights` (times, n), how often each image counts in each resample,
and answers (times,) values; those of a resample without both classes are no number.
"""
from collections.abc import Callable, Mapping

import numpy as np

BINS = 10
SPECIFICITY = 0.9


def _cut(chance: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(times, cuts) positives and images at or above each distinct chance, falling."""
    order = np.argsort(-chance, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(chance[order]) != 0, True))
    sorted_weights = weights[:, order]
    return (sorted_weights * truth[order]).cumsum(1)[:, ends], sorted_weights.cumsum(1)[:, ends]


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def average_precision(chance: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the precision-recall curve as the sum of steps (AUPRC): mean precision over the positives; ties count as one cut."""
    found, drawn = _cut(chance, truth, weights)
    precision = np.nan_to_num(_divide(found, drawn))
    steps = np.diff(found, axis=1, prepend=0)
    return np.where(found[:, -1] < drawn[:, -1], _divide((steps * precision).sum(1), found[:, -1]), np.nan)


def roc_area(chance: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, ties half (Mann & Whitney 1947)."""
    found, drawn = _cut(chance, truth, weights)
    wrong = drawn - found
    steps, before = np.diff(wrong, axis=1, prepend=0), np.concatenate([np.zeros_like(found[:, :1]), found[:, :-1]], 1)
    return _divide((steps * (found + before) / 2).sum(1), found[:, -1] * wrong[:, -1])


def threshold(chance: np.ndarray, truth: np.ndarray, *, specificity: float = SPECIFICITY) -> float:
    """The lowest chance that at least this share of the negatives does not exceed; images above it are called positive."""
    return float(np.quantile(chance[~truth], specificity, method="higher"))


def sensitivity(called: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of the positives that are called so; `called` is (n,) bool."""
    return _divide(weights @ (called & truth).astype(float), weights @ truth.astype(float))


def brier(chance: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean squared error of the chances (Brier 1950)."""
    return _divide(weights @ np.square(chance - truth), weights.sum(1))


def calibration_error(chance: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error in ten bins of equal mass (Naeini et al. 2015): mean distance of chance and frequency.

    Bins are made anew in every resample; images of equal chance share a bin.
    """
    order = np.argsort(chance, kind="stable")
    values = chance[order]
    first, last = np.searchsorted(values, values, "left"), np.searchsorted(values, values, "right")
    below = np.concatenate([np.zeros((len(weights), 1)), weights[:, order].cumsum(1)], 1)
    whole = below[:, -1]
    place = np.minimum((BINS * (below[:, first] + below[:, last]) / 2 / np.maximum(whole, 1e-9)[:, None]).astype(int), BINS - 1)
    excess = weights[:, order] * (values - truth[order])
    sums = np.bincount((place + BINS * np.arange(len(weights))[:, None]).ravel(), weights=excess.ravel(), minlength=BINS * len(weights))
    return _divide(np.abs(sums.reshape(-1, BINS)).sum(1), whole)


SENSITIVITY, SPECIFICITY_REACHED = "sensitivity", "specificity"
HIGHER = ("AUPRC", "AUC", SENSITIVITY, SPECIFICITY_REACHED)
MEASURES = ("AUPRC", "AUC", SENSITIVITY, SPECIFICITY_REACHED, "Brier", "ECE")
PLAIN: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "AUPRC": average_precision, "AUC": roc_area, "Brier": brier, "ECE": calibration_error,
}  # fmt: skip


def measured(measure: str, chance: np.ndarray, truth: np.ndarray, weights: np.ndarray, *, cut: float) -> np.ndarray:
    """(times,) values of one measure; `cut` is the threshold frozen on validation."""
    if measure == SENSITIVITY:
        return sensitivity(chance > cut, truth, weights)
    if measure == SPECIFICITY_REACHED:
        return sensitivity(chance <= cut, ~truth, weights)
    return PLAIN[measure](chance, truth, weights)
