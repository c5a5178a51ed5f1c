"""Attacks on images alone: are synthetic images nearer to single training patients than new patients are?"""
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap, wilson
from synthkit.core.randomness import generator
from synthkit.metrics.copying.eye import Eye
from synthkit.metrics.copying.guard import compared
from synthkit.metrics.copying.search import Gallery, Nearest
from synthkit.metrics.copying.tail import LEVEL, Tail, isolation

SHUFFLES, AT_ONCE = 4_999, 100
CLOSE = 0.01  # quantile of the holdout's distances


@dataclass(frozen=True, eq=False)
class Nearness:
    """What one eye sees of the synthetic images beside the training images.

    Args:
        eye: its name.
        found: the nearest training patients of each synthetic image.
        isolated: (N,) how much nearer the first is than the next ones.
        tail: the limit, from the holdout's nearest training patients.
        gallery: the training images, ready to be searched.
        rows: the attacks.
    """

    eye: str
    found: Nearest
    isolated: np.ndarray
    tail: Tail
    gallery: Gallery
    rows: tuple[dict[str, object], ...]


def nearness(eye: Eye, *, train: Cohort, holdout: Cohort, fake: Cohort, seed: int) -> Nearness:
    """Three attacks: near copies, the nearest patient's side, and plain distance, which decides nothing."""
    gallery, count = Gallery.of(eye, train), compared(train)
    found, new = gallery.nearest(fake, count=count), gallery.nearest(holdout, count=count)
    other = Gallery.of(eye, holdout).nearest(fake, count=count)
    isolated = isolation(found)
    tail = Tail.of(isolation(new), holdout.table["patient_id"].to_numpy())
    rows = (_near_copies(isolated, tail), _sides(found, other, train, holdout, seed), _distances(found, new))
    return Nearness(eye.name, found, isolated, tail, gallery, tuple({**row, "eye": eye.name} for row in rows))


def chance(copies: int, images: int) -> float:
    """Chance of so many near copies, or more, among as many images of new patients."""
    return float(binom.sf(copies - 1, images, LEVEL))


def _near_copies(isolated: np.ndarray, tail: Tail) -> dict[str, object]:
    copies, images = int((isolated > tail.limit).sum()), len(isolated)
    low, high = wilson(copies, images)
    return {"attack": "near copies", "value": copies / images, "low": low, "high": high, "expected": LEVEL, "n": images, "p": chance(copies, images)}


def _sides(train_side: Nearest, other_side: Nearest, train: Cohort, holdout: Cohort, seed: int) -> dict[str, object]:
    """Do the nearest patients of all stand on the training side more often than a random split of these patients explains?

    Each synthetic image votes for its nearest patient of both cohorts, with the square of that one's isolation. Which patients were trained on is
    shuffled over all patients: without copying every split was as likely.
    """
    joined = [np.concatenate([getattr(train_side, name), getattr(other_side, name)], axis=1) for name in ("similarity", "row", "view")]
    patients = np.unique(train.table["patient_id"]).size, np.unique(holdout.table["patient_id"]).size
    names = np.concatenate([train_side.patient, np.where(other_side.patient < 0, -1, other_side.patient + patients[0])], axis=1)
    order = np.argsort(-joined[0], axis=1, kind="stable")[:, : train_side.similarity.shape[1]]
    nearest = Nearest(*(np.take_along_axis(table, order, axis=1) for table in (*joined, names)))
    votes, chosen = np.maximum(isolation(nearest), 0) ** 2, nearest.patient[:, 0]
    weight = np.bincount(chosen, weights=votes, minlength=sum(patients)) / max(votes.sum(), 1e-12)
    share = float(weight[: patients[0]].sum())
    rng, beaten = generator(seed, "sides", "privacy"), 0
    for start in range(0, SHUFFLES, AT_ONCE):
        drawn = rng.permuted(np.tile(weight, (min(AT_ONCE, SHUFFLES - start), 1)), axis=1)[:, : patients[0]].sum(1)
        beaten += int((drawn >= share - 1e-12).sum())
    trained = chosen < patients[0]
    # Images that vote for one patient stand or fall together.
    low, high = bootstrap(lambda rows: float((votes[rows] * trained[rows]).sum() / max(votes[rows].sum(), 1e-12)), chosen)
    return {"attack": "nearest patient is a training patient", "value": share, "low": low, "high": high, "expected": patients[0] / sum(patients),
            "n": len(votes), "p": (beaten + 1) / (SHUFFLES + 1)}  # fmt: skip


def _distances(found: Nearest, new: Nearest) -> dict[str, object]:
    """How many lie nearer to a training image than the nearest 1 % of new patients; smooth images lie near to everybody, so that it proves nothing."""
    close = found.distance[:, 0] < np.quantile(new.distance[:, 0], CLOSE)
    low, high = wilson(int(close.sum()), len(close))
    return {"attack": "nearer than 1 % of new patients", "value": float(close.mean()), "low": low, "high": high, "expected": CLOSE, "n": len(close),
            "p": np.nan}  # fmt: skip
