"""Every measure in every group, by fairlearn's MetricFrame (Bird et al. 2020)."""
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.judged import Judged
from synthkit.studies.audit.measures import Measure


def by_group(judged: Judged, one: Attribute, measures: Sequence[Measure]) -> pd.DataFrame:
    """One row per group number, one column per measure; not a number where a measure is not defined in a group."""
    from fairlearn.metrics import MetricFrame

    rows = np.flatnonzero(one.codes >= 0)
    if not len(rows):
        return pd.DataFrame(columns=[measure.name for measure in measures])
    frame = MetricFrame(
        metrics={measure.name: _metric(measure, judged) for measure in measures}, y_true=judged.truth[rows], y_pred=judged.chance[rows],
        sensitive_features=one.codes[rows], sample_params={measure.name: {"rows": rows} for measure in measures},
    )  # fmt: skip
    return frame.by_group.astype(float)


def _metric(measure: Measure, judged: Judged) -> Callable[..., float]:
    def metric(y_true: np.ndarray, y_pred: np.ndarray, *, rows: np.ndarray) -> float:
        return measure.value(judged[np.asarray(rows)])

    return metric
