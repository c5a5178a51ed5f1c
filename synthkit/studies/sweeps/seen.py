"""Whether a sweep shows what it says: in the eyes of a judge, and against the exact images."""
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.schema import Category
from synthkit.explanation.exactness import pooled_skill
from synthkit.studies.sweeps.images import Subjects
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

TIMES = 300
MOVED = 1e-6  # squared change of an image; below it is that of rounding
SHOWN, WHOLE, EXACTNESS = "shown, says the judge", "adherence of the sweep", "change against exact truth (R2_delta)"


def judged_rows(
    judge: Predictor, factor: str, values: Sequence[object], cohorts: Sequence[Cohort], subjects: Subjects, *, seed: int
) -> list[dict[str, object]]:  # fmt: skip
    """Per value what the judge reads on average (of a category, the chance of the level asked for), and one AUC or R² of the whole sweep."""
    declared, rows, guesses = judge.schema[factor], [], []
    for place, (value, cohort) in enumerate(zip(values, cohorts, strict=True)):
        seen, applies = judge.predict(cohort), cohort.table[factor].notna().to_numpy()
        guesses.append(seen)
        column = seen[f"p_{factor}_{value}" if isinstance(declared, Category) else factor].to_numpy()[applies]
        rows.append({"place": place, "measure": SHOWN, **_mean(column, subjects.units[applies], seed)})
    table = pd.concat([cohort.table.assign(patient_id=subjects.units) for cohort in cohorts], ignore_index=True)
    reading = Reading.of(declared, pd.concat(guesses, ignore_index=True), table)
    if reading is not None:
        sure = reading.uncertainty(times=TIMES, seed=seed)
        whole = {"measure": f"{WHOLE} ({reading.measure})", "score": reading.value(), "low": sure.low, "high": sure.high}
        rows.append({"place": -1, **whole, "n": len(reading), "patients": len(set(reading.units))})
    return rows


def exact_rows(cohorts: Sequence[Cohort], truths: Sequence[Cohort], subjects: Subjects, *, seed: int) -> list[dict[str, object]]:
    """Per value 1 - |shown - exact|² / |patient - exact|², pooled: 1 is exact, 0 as good as showing no change."""
    rows, start = [], subjects.cohort.images.tensor().double()
    for place, (cohort, truth) in enumerate(zip(cohorts, truths, strict=True)):
        shown, exact = cohort.images.tensor().double(), truth.images.tensor().double()
        moved = np.flatnonzero((start - exact).square().flatten(1).sum(1).numpy() > MOVED)
        if len(moved):
            skill = pooled_skill(shown[moved], start[moved], exact[moved])
            rows.append({"place": place, "measure": EXACTNESS, **_over(skill, subjects.units[moved], seed)})
    return rows


def _mean(values: np.ndarray, units: np.ndarray, seed: int) -> dict[str, object]:
    return _over(lambda rows: float(values[rows].mean()), units, seed)


def _over(statistic: Callable[[np.ndarray], float], units: np.ndarray, seed: int) -> dict[str, object]:
    """Score, interval over patients, n."""
    if not len(units):
        return {"score": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0, "patients": 0}
    low, high = bootstrap(statistic, units, times=TIMES, seed=seed)
    return {"score": statistic(np.arange(len(units))), "low": low, "high": high, "n": len(units), "patients": len(set(units))}
