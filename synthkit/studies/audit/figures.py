"""Figures per group with intervals over patients, and the gaps between groups."""
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from synthkit.core.intervals import Z, hidden_share, percentile_interval, wilson
from synthkit.core.randomness import generator
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.disaggregated import by_group
from synthkit.studies.audit.judged import Judged, patient_weights
from synthkit.studies.audit.measures import Measure, expected_ece

CHUNK = 2**22  # weights held at once
SHARES = ("TPR", "FPR", "underdiagnosis")
ALL = "all"
COLUMNS = ("attribute", "group", "metric", "value", "low", "high", "expected", "n", "images", "patients", "positives", "reading")


@dataclass(frozen=True, eq=False)
class Figure:
    """One measure in one group: its value, its values on resamples, its interval and its standard error over patients."""

    value: float
    draws: np.ndarray
    low: float
    high: float
    error: float


def figure_of(measure: Measure, judged: Judged, weights: np.ndarray, value: float) -> Figure:
    """A measure whose value on some images is known, on the resamples of their patients."""
    step = max(1, CHUNK // max(len(judged), 1))
    draws = np.concatenate([measure.weighted(judged, weights[at : at + step]) for at in range(0, len(weights), step)])
    spread = float(np.nanstd(draws)) if np.isfinite(draws).any() else float("nan")
    room = _room(measure, judged, value)
    if measure.name in SHARES:
        low, high = _share_interval(value, judged.units[measure.images(judged)], spread)
    elif measure.name == "ECE":
        # On a resample the error tends to grow, so that the percentiles would stand above the value.
        low, high = max(0.0, value - Z * spread), value + Z * spread
    else:
        low, high = percentile_interval(draws)
        low, high = (min(low, 1 - room), high) if room and value > 0.5 else (low, max(high, room))
    return Figure(value, draws, low, high, max(spread, room / Z))


def _room(measure: Measure, judged: Judged, value: float) -> float:
    """How far from 0 or 1 a figure at this limit may truly lie (Clopper & Pearson 1934), with as many patients as carry it."""
    if measure.name in (*SHARES, "AUC") and value in (0.0, 1.0):
        return hidden_share(max(measure.patients(judged), 1))
    return 0.0


def _share_interval(value: float, units: np.ndarray, spread: float) -> tuple[float, float]:
    """Wilson's interval on as many independent images as have the scatter that the bootstrap over patients shows."""
    count, each = len(units), np.unique(units, return_counts=True)[1]
    most = float(np.square(each).sum() / count)  # all images of a patient alike
    plain = value * (1 - value) / count
    effect = min(max(spread**2 / plain, 1.0), most) if plain > 0 else most
    low, high = wilson(value * count / effect, count / effect)
    return (low if value > 0 else 0.0, high if value < 1 else 1.0)


@dataclass(frozen=True, eq=False)
class Figures:
    """All figures of an audit.

    Args:
        judged: all images.
        attributes: the groupings.
        measures: what is computed.
        found: (attribute, group number, measure) to its figure; groups that are too small are left out.
        whole: measure to its figure over all images.
        fewest: patients that a figure needs.
        seed: of the resamples.
    """

    judged: Judged
    attributes: tuple[Attribute, ...]
    measures: tuple[Measure, ...]
    found: dict[tuple[str, int, str], Figure]
    whole: dict[str, Figure]
    fewest: int
    seed: int

    @staticmethod
    def of(judged: Judged, attributes: Sequence[Attribute], measures: Sequence[Measure], *, times: int, fewest: int, seed: int) -> "Figures":
        """Every measure in every group that is large enough, all on the same resamples of the patients."""
        weights = patient_weights(judged.units, times=times, rng=generator(seed, "audit", "bootstrap"))[1:]
        found = {}
        for one in attributes:
            values = by_group(judged, one, measures)
            for code in range(len(one.groups)):
                here = one.codes == code
                part, share = judged[here], weights[:, here]
                found |= {(one.name, code, m.name): figure_of(m, part, share, values.loc[code, m.name]) for m in measures if one.large[m.name][code]}
        whole = {measure.name: figure_of(measure, judged, weights, measure.value(judged)) for measure in measures if measure.patients(judged)}
        return Figures(judged, tuple(attributes), tuple(measures), found, whole, fewest, seed)

    def frame(self) -> pd.DataFrame:
        """One row per group and measure, all images first."""
        rows = [self._row(ALL, ALL, self.judged, m, self.whole[m.name]) for m in self.measures if m.name in self.whole]
        for one in self.attributes:
            for code, group in enumerate(one.groups):
                part = self.judged[one.codes == code]
                rows += [self._row(one.name, group, part, m, self.found.get((one.name, code, m.name))) for m in self.measures]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _row(self, attribute: str, group: str, part: Judged, measure: Measure, found: Figure | None) -> dict[str, object]:
        counts = {"n": int(measure.images(part).sum()), "images": len(part), "patients": part.patients, "positives": int(part.truth.sum())}
        row = {"attribute": attribute, "group": group, "metric": measure.name, **counts, "reading": ""}
        if found is None:
            kinds = measure.of if measure.of != "both" else "positives or negatives"
            return {**row, "reading": f"too few: under {max(self.fewest, 1)} patients with {kinds}"}
        expected = expected_ece(part, generator(self.seed, f"{attribute}/{group}", "calibrated")) if measure.name == "ECE" else float("nan")
        return {**row, "value": found.value, "low": found.low, "high": found.high, "expected": expected}


def largest_gap(parts: Sequence[Sequence[Figure]]) -> tuple[float, float, float]:
    """The largest difference between two groups, over one measure or several, with a 95 % interval that holds for all pairs at once.

    The half widths are one multiple of each pair's standard error, the multiple that covers all pairs on 95 % of the resamples
    (Efron & Tibshirani 1993; studentised maximum). So the interval of the largest difference needs no allowance for having been picked.

    Args:
        parts: per measure the figures of its groups.
    """
    pairs = [pair for figures in parts for pair in combinations(figures, 2)]
    seen = np.array([abs(a.value - b.value) for a, b in pairs])
    error = np.array([np.hypot(a.error, b.error) for a, b in pairs])
    away = np.stack([np.abs((a.draws - b.draws) - (a.value - b.value)) for a, b in pairs], 1) / np.where(error > 0, error, np.inf)
    known = away[np.isfinite(away).all(1)]
    if len(known) < len(away) / 2:
        return float(seen.max()), float("nan"), float("nan")
    # Where a group's resamples show no scatter, its allowance at the limit still counts as so many standard errors.
    reach = max(float(np.percentile(known.max(1), 95)), Z) * error
    return float(seen.max()), float(max(0.0, (seen - reach).max())), float(min(1.0, (seen + reach).max()))
