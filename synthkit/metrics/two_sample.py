"""Classifier two-sample test: can anything that draws a line tell real features from fake ones?"""
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.errors import DataError
from synthkit.metrics.metric import FeatureMetric, by_content, two_sets

FOLDS = 5


@dataclass(frozen=True)
class C2ST(FeatureMetric):
    """How well unseen images are told apart by a classifier of the features: 0.5 not at all, 1 without error (Lopez-Paz & Oquab 2017).

    A linear discriminant with shrinkage on the features and their squares, so that differences of mean and of spread are
    seen; cross-fitted in five folds. Values a little below 0.5 are chance.

    Args:
        measure: "auc", the area under the ROC curve, or "accuracy", the mean over both sets at the threshold in the middle.
    """

    measure: str = "auc"
    better = "lower"
    limits = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.measure not in ("auc", "accuracy"):
            raise DataError(f"C2ST: measure {self.measure!r} is not one of auc, accuracy")

    def least(self, width: int) -> int:
        return 2 * FOLDS

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The measure on each held-out fold, averaged over the folds; rows are dealt out by content, not by order."""
        sets = [rows.numpy()[by_content(rows)] for rows in two_sets(real, fake, least=self.least(0))]
        sets = _standardised([np.concatenate([rows, squares], 1) for rows, squares in zip(sets, _squares(sets), strict=True)])
        return float(np.mean([self._fold(sets, fold) for fold in range(FOLDS)]))

    def _fold(self, sets: list[np.ndarray], fold: int) -> float:
        learnt = [np.delete(rows, slice(fold, None, FOLDS), 0) for rows in sets]
        means = [rows.mean(0) for rows in learnt]
        within = np.concatenate([rows - mean for rows, mean in zip(learnt, means, strict=True)])
        direction = _shrunk_solve(within, means[1] - means[0])
        real, fake = (rows[fold::FOLDS] @ direction for rows in sets)
        if self.measure == "auc":
            return _auc(real, fake)
        middle = (means[0] + means[1]) @ direction / 2
        return (np.mean(real < middle) + np.mean(real <= middle) + np.mean(fake > middle) + np.mean(fake >= middle)) / 4


def _squares(sets: list[np.ndarray]) -> list[np.ndarray]:
    return [rows**2 for rows in _standardised(sets)]


def _standardised(sets: list[np.ndarray]) -> list[np.ndarray]:
    """Both sets by the mean and the spread that they have together, each counting half."""
    mean = sum(rows.mean(0) for rows in sets) / 2
    spread = (sum(np.square(rows - mean).mean(0) for rows in sets) / 2) ** 0.5
    # What never varies but for rounding would be blown up to noise.
    spread = np.where(spread > 1e-10 * np.abs(mean), spread, np.inf)
    return [(rows - mean) / spread for rows in sets]


def _shrunk_solve(rows: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """S⁻¹ shift for the covariance S of centred rows, shrunk towards a sphere as far as they ask for (Ledoit & Wolf 2004)."""
    count, width = rows.shape
    gram = (rows.T @ rows if width <= count else rows @ rows.T) / count
    size = np.trace(gram) / width
    norm = np.square(gram).sum()
    excess = norm / width - size**2
    noise = (np.square(np.square(rows).sum(1)).mean() - norm) / (count * width)
    share = min(1.0, noise / excess) if excess > 0 else 1.0
    # Features that vary between the sets alone leave S = 0.
    ridge = max(share * size, 1e-6)
    np.fill_diagonal(gram := (1 - share) * gram, gram.diagonal() + ridge)
    if width <= count:
        return np.linalg.solve(gram, shift)
    # Woodbury's identity: few rows, many features.
    return (shift - (1 - share) * rows.T @ np.linalg.solve(gram, rows @ shift) / count) / ridge


def _auc(low: np.ndarray, high: np.ndarray) -> float:
    """Share of pairs in which the second is larger, ties for half (Mann & Whitney 1947)."""
    low = np.sort(low)
    below = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(below.mean() / (2 * len(low)))
