"""How far readers agree beyond chance."""
from collections.abc import Callable

import numpy as np

from synthkit.errors import DataError

DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "nominal": lambda a, b: (a != b).astype(float),
    "interval": lambda a, b: (a - b).astype(float) ** 2,
}


def krippendorff_alpha(ratings: np.ndarray, *, level: str = "nominal") -> float:
    """Krippendorff's alpha (Krippendorff 2011): 1 is full agreement, 0 what chance gives.

    Args:
        ratings: (readers, cases), NaN where a reader did not answer.
        level: "nominal" or "interval".
    Returns:
        Not a number where no case has two answers or all answers are the same.
    Raises:
        DataError: an unknown level, or ratings of another shape.
    """
    if level not in DISTANCES:
        raise DataError(f"level={level!r} is not one of {', '.join(DISTANCES)}")
    ratings = np.asarray(ratings, float)
    if ratings.ndim != 2:
        raise DataError(f"ratings must be (readers, cases), got shape {ratings.shape}")
    values = np.unique(ratings[np.isfinite(ratings)])
    counts = np.stack([(ratings == value).sum(0) for value in values], 1) if len(values) else np.zeros((ratings.shape[1], 0))
    counts = counts[counts.sum(1) > 1]
    total = counts.sum()
    if not total:
        return float("nan")
    pairs = counts.sum(1, keepdims=True) - 1
    seen = np.einsum("ui,uj->ij", counts / pairs, counts) - np.diag((counts / pairs).sum(0))
    margin = counts.sum(0)
    by_chance = (np.outer(margin, margin) - np.diag(margin)) / (total - 1)
    far = DISTANCES[level](values[:, None], values[None])
    expected = (by_chance * far).sum()
    return float(1 - (seen * far).sum() / expected) if expected else float("nan")
