"""Predicted chances beside the truth, sorted: all that the figures of an audit are computed from."""
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Judged:
    """Images in ascending order of their predicted chance; build it with `Judged.of`.

    Args:
        chance: (n,) predicted chance of the audited level.
        truth: (n,) bool.
        called: (n,) bool, whether the chance reaches the threshold.
        units: (n,) whole numbers, one per patient.
        order: (n,) where each image stood before sorting.
    """

    chance: np.ndarray
    truth: np.ndarray
    called: np.ndarray
    units: np.ndarray
    order: np.ndarray

    @staticmethod
    def of(chance: np.ndarray, truth: np.ndarray, patients: np.ndarray, *, threshold: float) -> "Judged":
        """Chances, truths and patients, one per image and in any order."""
        order = np.argsort(chance, kind="stable")
        units = np.unique(np.asarray(patients), return_inverse=True)[1]
        chance = np.asarray(chance, float)[order]
        return Judged(chance, np.asarray(truth, bool)[order], chance >= threshold, units[order], order)

    def __len__(self) -> int:
        return len(self.chance)

    def __getitem__(self, rows: np.ndarray) -> "Judged":
        """Some rows by a boolean mask, so that the order stays."""
        return replace(self, **{name: values[rows] for name, values in vars(self).items()})

    @property
    def patients(self) -> int:
        return len(np.unique(self.units))

    def patients_with(self, truth: bool) -> int:
        """Patients with at least one image of this truth."""
        return len(np.unique(self.units[self.truth == truth]))

    def ties(self) -> tuple[np.ndarray, np.ndarray]:
        """For each image, how many have a lower chance and how many at most the same."""
        return np.searchsorted(self.chance, self.chance, "left"), np.searchsorted(self.chance, self.chance, "right")


def patient_weights(patients: np.ndarray, *, times: int, rng: np.random.Generator) -> np.ndarray:
    """(1 + times, n) how often each image stands in a bootstrap resample of the patients; the first row is the data itself."""
    names, units = np.unique(np.asarray(patients), return_inverse=True)
    count = len(names)
    draws = rng.integers(0, max(count, 1), size=(times, count))
    tally = np.stack([np.ones(count), *(np.bincount(draw, minlength=count) for draw in draws)])
    return tally[:, units].astype(np.float32)
