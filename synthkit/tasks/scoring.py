"""How well a predicted factor matches the true one: AUC for categories, R² for quantities."""
import numpy as np
import pandas as pd

from synthkit.core.intervals import bootstrap
from synthkit.core.schema import Category, Factor


def auc(chances: np.ndarray, truth: np.ndarray, levels: tuple[str, ...]) -> float:
    """Area under the ROC curve; with more than two levels the mean of each level against the rest."""
    from sklearn.metrics import roc_auc_score

    present = [i for i, level in enumerate(levels) if 0 < (truth == level).sum() < len(truth)]
    if not present:
        return float("nan")
    wanted = present[-1:] if len(levels) == 2 else present
    return float(np.mean([roc_auc_score(truth == levels[i], chances[:, i]) for i in wanted]))


def r2(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Coefficient of determination: 1 is exact, 0 no better than the mean."""
    spread = np.square(truth - truth.mean()).sum()
    return float(1 - np.square(truth - predicted).sum() / spread) if spread > 0 else float("nan")


def score(factor: Factor, predicted: pd.DataFrame, table: pd.DataFrame, *, times: int) -> dict[str, object] | None:
    """One row of scores over the images whose true value is known, or None where fewer than two values occur."""
    if factor.name not in table:
        return None
    known = table[factor.name].notna().to_numpy()
    truth = table[factor.name].to_numpy()[known]
    if len(set(truth)) < 2:
        return None
    units = table["patient_id"].to_numpy()[known]
    if isinstance(factor, Category):
        guess = predicted[[f"p_{factor.name}_{level}" for level in factor.levels]].to_numpy()[known]
        measure, compute = "AUC", lambda rows: auc(guess[rows], truth[rows], factor.levels)
    else:
        guess, truth = predicted[factor.name].to_numpy()[known], truth.astype(float)
        measure, compute = "R2", lambda rows: r2(guess[rows], truth[rows])
    low, high = bootstrap(compute, units, times=times)
    value = compute(np.arange(len(truth)))
    return {"factor": factor.name, "measure": measure, "value": value, "low": low, "high": high, "n": len(truth)}
