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
        valid: mean AUPRC over the seeds of the choice on validation, by candidate.
    """

    chosen: Candidate
    against: tuple[str, ...]
    valid: Mapping[str, float]

    @property
    def read(self) -> tuple[str, ...]:
        """The candidates of the headline, which are trained again with seeds of their own before they are read."""
        return (self.chosen.name, *self.against)


def choose(candidates: tuple[Candidate, ...], chances: Mapping[str, np.ndarray], truth: np.ndarray) -> Choice:
    """The choice from chances (seeds, n) of every candidate on validation; of equal ones that with the smallest share, then the first."""
    every = np.ones((1, len(truth)))
    valid = {name: float(np.mean([average_precision(run, truth, every)[0] for run in runs])) for name, runs in chances.items()}
    chosen = max((one for one in candidates if one.arm.synthetic), key=lambda one: (valid[one.name], -one.share))
    best = max((one for one in candidates if not one.arm.synthetic), key=lambda one: (valid[one.name], -one.share))
    named = (Candidate(DUPLICATED, chosen.share).name, BALANCED.name, REAL_ONLY.name, best.name)
    return Choice(chosen, tuple(dict.fromkeys(named)), valid)


def most_read(candidates: tuple[Candidate, ...]) -> int:
    """How many candidates a headline can have: the chosen one, three baselines, and the best of the others where there are others."""
    return 4 + (sum(not one.arm.synthetic for one in candidates) > 3)


def cuts(chances: Mapping[str, np.ndarray], truth: np.ndarray) -> dict[str, np.ndarray]:
    """(seeds,) thresholds by candidate, from its own chances on validation."""
    return {name: np.array([threshold(run, truth) for run in runs]) for name, runs in chances.items()}
