"""The one threshold of an audit, frozen before the test patients are looked at."""
from dataclasses import dataclass

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.studies.audit.outcome import Outcome
from synthkit.tasks.predictor import Predictor

DEFAULT = 0.5


@dataclass(frozen=True)
class Threshold:
    """Images whose chance reaches `value` are called positive; `how` it was chosen, in words."""

    value: float
    how: str
    notes: tuple[str, ...] = ()


def frozen(outcome: Outcome, predictor: Predictor, *, valid: Cohort | None, threshold: float | None, sensitivity: float | None) -> Threshold:
    """The threshold that is given, or that `valid` chooses, or one half.

    With `valid`, the one with the largest Youden index there (sensitivity + specificity - 1; Youden 1950), or with `sensitivity` the
    highest that reaches it there.
    """
    _require_one_way(valid, threshold, sensitivity)
    if threshold is not None:
        return Threshold(float(threshold), f"given: {threshold:g}")
    if valid is None:
        note = "No validation cohort was given: the threshold is 0.5, which may suit this classifier badly; AUC does not depend on it."
        return Threshold(DEFAULT, "0.5 by default", (note,))
    chance, truth, _ = outcome.read(predictor, valid)
    if truth.all() or not truth.any():
        raise DataError(f"valid: {outcome.target} has only one of its values among {len(truth)} images, so no threshold can be chosen; give threshold=")
    value = youden(chance, truth) if sensitivity is None else reaching(chance, truth, sensitivity)
    rule = "the largest Youden index" if sensitivity is None else f"a sensitivity of {sensitivity:g}"
    seen = predictor.patients & set(valid.table["patient_id"])
    notes = (f"The threshold was chosen on {len(seen)} patient(s) that the classifier was trained or stopped on.",) if seen else ()
    return Threshold(value, f"{value:.3g}, {rule} on {len(truth)} validation images", notes)


def _require_one_way(valid: Cohort | None, threshold: float | None, sensitivity: float | None) -> None:
    if threshold is not None and (valid is not None or sensitivity is not None):
        raise DataError("threshold= is given, so valid= and sensitivity= have nothing to choose; give one or the other")
    if sensitivity is not None and valid is None:
        raise DataError("sensitivity= is reached on validation patients; give valid= as well")
    for name, value in (("threshold", threshold), ("sensitivity", sensitivity)):
        if value is not None and not 0 < value <= 1:
            raise DataError(f"{name}={value}: give a number above 0 and at most 1")


def youden(chance: np.ndarray, truth: np.ndarray) -> float:
    """The chance that as a threshold has the largest sensitivity + specificity, in the middle of its gap to the next lower one."""
    levels = np.unique(chance)
    sensitivity = np.array([(chance[truth] >= level).mean() for level in levels])
    specificity = np.array([(chance[~truth] < level).mean() for level in levels])
    best = int((sensitivity + specificity).argmax())
    return float(levels[best] if best == 0 else (levels[best] + levels[best - 1]) / 2)


def reaching(chance: np.ndarray, truth: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which at least this share of the positives is called."""
    ranked = np.sort(chance[truth])[::-1]
    return float(ranked[int(np.ceil(sensitivity * len(ranked) - 1e-9)) - 1])
