"""A challenger held against the champion: the same requests, seeds and real patients, so that the difference is paired."""
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import half_samples
from synthkit.metrics.comparison import FEWEST, MANY
from synthkit.metrics.features import Features, described
from synthkit.metrics.metric import ImageMetric, Metric

BETTER, WORSE, NEITHER, UNKNOWN = "better", "worse", "no difference shown", "not assessed"


def against(
    metrics: Sequence[Metric], eye: Features | None, *, real: Cohort, challenger: Cohort, champion: Cohort, asked: int, seed: int
) -> list[dict[str, object]]:
    """One row per metric: challenger − champion with a simultaneous 95 % interval, paired by request and by real patient.

    Args:
        challenger, champion: what both drew for the rows of `real`, in its order.
        asked: how many differences share the error, those of other rows included.
    """
    rows = []
    for metric in metrics:
        sets = [_seen(metric, eye, cohort) for cohort in (real, challenger, champion)]
        value, error = _difference(metric, sets, real.table["patient_id"].to_numpy(), seed)
        rows.append(compared(metric.name, "all", value, error, better=metric.better, n=len(real), asked=asked))
    return rows


def _seen(metric: Metric, eye: Features | None, cohort: Cohort) -> torch.Tensor:
    return described(cohort, metric.describe, name=metric.origin) if isinstance(metric, ImageMetric) else eye.of(cohort)


def _difference(metric: Metric, sets: list[torch.Tensor], patients: np.ndarray, seed: int) -> tuple[float, float]:
    """Difference of the scores and its standard error, from halves of the real patients and halves of the requests, the same ones for both generators."""
    real, ours, theirs = sets
    if len(real) < metric.least(real.shape[1]):
        return float("nan"), float("nan")
    value = metric.compare(real, ours) - metric.compare(real, theirs)
    if len(np.unique(patients)) < FEWEST:
        return value, float("nan")
    times = max(12, min(metric.halves, metric.halves * MANY // len(real)))
    halves = zip(*(half_samples(patients, times=times, seed=seed, stream=side) for side in ("real", "fake")))
    halves = [(i, j) for i, j in halves if min(len(i), len(j)) >= metric.least(real.shape[1])]
    draws = [metric.compare(real[i], ours[j]) - metric.compare(real[i], theirs[j]) for i, j in halves]
    return value, float(np.std(draws, ddof=1)) if len(draws) > 1 else float("nan")


def unpaired(ours: pd.DataFrame, theirs: pd.DataFrame, rows: Sequence[tuple[str, str]], *, asked: int) -> list[dict[str, object]]:
    """Differences of scores that a judge gave, as if they were of other patients: the intervals are too wide rather than too narrow.

    Args:
        ours, theirs: scores of challenger and champion.
        rows: metric and group, which `ours` has.
    """
    found = []
    for metric, group in rows:
        a, b = (frame[(frame["metric"] == metric) & (frame["group"] == group)] for frame in (ours, theirs))
        value, error, n = float("nan"), float("nan"), 0  # where the champion has no such score
        if len(b):
            value, error = float(a["value"].iloc[0] - b["value"].iloc[0]), float(np.hypot(_error(a.iloc[0]), _error(b.iloc[0])))
            n = min(a["n_fake"].iloc[0], b["n_fake"].iloc[0])
        found.append(compared(metric, group, value, error, better=a["better"].iloc[0], n=n, asked=asked))
    return found


def _error(row: Mapping[str, float]) -> float:
    return max(row["high"] - row["value"], row["value"] - row["low"]) / 1.96


def compared(metric: str, group: str, value: float, error: float, *, better: str, n: int, asked: int) -> dict[str, object]:
    """The row of one difference; the intervals of all that are `asked` hold together (Bonferroni)."""
    from scipy.stats import norm

    half = float(norm.ppf(1 - 0.025 / max(1, asked))) * error
    good, bad = (value + half < 0, value - half > 0) if better == "lower" else (value - half > 0, value + half < 0)
    result = UNKNOWN if not np.isfinite(half) else BETTER if good else WORSE if bad else NEITHER
    return {"check": "against the champion", "metric": metric, "group": group, "rule": "challenger - champion", "value": value, "low": value - half,
            "high": value + half, "n": n, "result": result, "reason": f"{better} is better"}  # fmt: skip
