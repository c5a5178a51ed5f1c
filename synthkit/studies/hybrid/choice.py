"""Which arm and share: decided on the validation patients alone, before any test image is predicted."""
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from synthkit.studies.hybrid.arms import BALANCED, DUPLICATED, REAL_ONLY, Candidate
from synthkit.studies.hybrid.measures import average_precision, threshold


@dataclass(frozen=True)
class Choice:
    """The candidate whose effect is read on the test patients, and what it is read against.

    Args:
        chosen: the candidate with synthetic images that has the highest mean AUPRC on validation.
        against: duplicated real at the same share, class-balanced augmentation, real only, and the baseline that is best on
            validation where it is none of these.
        valid: mean AUPRC over seeds on validation, by candidate.
        cuts: (seeds,) thresholds by candidate, at specificity 0.9 on validation.
    """

    chosen: Candidate
    against: tuple[str, ...]
    valid: Mapping[str, float]
    cuts: Mapping[str, np.ndarray]


def choose(candidates: tuple[Candidate, ...], chances: Mapping[str, np.ndarray], truth: np.ndarray) -> Choice:
    """The choice from chances (seeds, n) of every candidate on validation; of equal ones the first, which has the smallest share."""
    every = np.ones((1, len(truth)))
    valid = {name: float(np.mean([average_precision(run, truth, every)[0] for run in runs])) for name, runs in chances.items()}
    cuts = {name: np.array([threshold(run, truth) for run in runs]) for name, runs in chances.items()}
    chosen = max((one for one in candidates if one.arm.synthetic), key=lambda one: valid[one.name])
    best = max((one for one in candidates if not one.arm.synthetic), key=lambda one: valid[one.name])
    named = (Candidate(DUPLICATED, chosen.share).name, BALANCED.name, REAL_ONLY.name, best.name)
    return Choice(chosen, tuple(dict.fromkeys(named)), valid, cuts)
