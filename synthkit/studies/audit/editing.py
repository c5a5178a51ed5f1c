"""Chances before and after an edit, and the change that it makes in each measure."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import hidden_share, percentile_interval
from synthkit.core.randomness import generator
from synthkit.explanation.counterfactual import counterfactual
from synthkit.generators.generator import Generator
from synthkit.studies.audit.contrasts import Contrast
from synthkit.studies.audit.judged import patient_weights
from synthkit.studies.audit.observed import CHANCE, FLIPPED, Observed, named, weighted_means
from synthkit.studies.audit.outcome import Outcome
from synthkit.tasks.predictor import Predictor

Truth = Callable[[Cohort, Mapping[str, Any]], Cohort]
DIRECT, NONE, COARSE, FEW = "direct effect shown", "no direct effect shown", "editor too coarse", "not assessed (too few)"
FEWEST = 10


@dataclass(frozen=True, eq=False)
class Editing:
    """Who edits, who judges, and at which threshold.

    Args:
        editor: the generator that edits.
        predictor, outcome, threshold: the audited classifier.
        truth: exact counterfactuals (cohort, do) -> cohort, where they are known.
        times: resamples of the patients.
        seed: of these and of the images chosen.
    """

    editor: Generator
    predictor: Predictor
    outcome: Outcome
    threshold: float
    truth: Truth | None
    times: int
    seed: int

    def chances(self, cohort: Cohort) -> np.ndarray:
        return self.outcome.chances(self.predictor, cohort)

    def set_to(self, cohort: Cohort, factor: str, value: Any, own: np.ndarray) -> dict[str, np.ndarray]:
        """Chances with a factor set, by the editor, by its raw round trip of the edited rows, and exactly; rows that hold the value stay."""
        do, moved = {factor: value}, (cohort.table[factor] != value).to_numpy(bool)
        made = {"edited": own.copy(), "round_trip": np.full(len(own), np.nan), "truth": own.copy()}
        if moved.any():
            twin = counterfactual(self.editor, cohort[moved], do)
            made["edited"][moved], made["round_trip"][moved] = self.chances(twin.edited), self.chances(twin.reconstruction)
            if self.truth is not None:
                made["truth"][moved] = self.chances(self.truth(cohort[moved], do))
        return made

    def rows(self, cohort: Cohort, everyone: Observed, contrast: Contrast) -> list[dict[str, object]]:
        """One row per measure of one contrast."""
        cohort = cohort[cohort.table[contrast.factor].notna().to_numpy(bool)]
        own = self.chances(cohort)
        low, high = (self.set_to(cohort, contrast.factor, value, own) for value in (contrast.low, contrast.high))
        trip = np.where(np.isfinite(low["round_trip"]), low["round_trip"], high["round_trip"])
        pairs = {"edited": (low["edited"], high["edited"]), "round_trip": (own, trip)}
        pairs |= {"truth": (low["truth"], high["truth"])} if self.truth is not None else {}
        truth = (cohort.table[self.outcome.target] == self.outcome.level).to_numpy(bool)
        units = cohort.table["patient_id"].to_numpy()
        weights = patient_weights(units, times=self.times, rng=generator(self.seed, "audit", "intervention"))
        found = []
        for measure, rows, change in self._measures(truth):
            row = {"attribute": contrast.factor, "contrast": str(contrast), "measure": measure, "n": int(rows.sum()), "patients": len(np.unique(units[rows]))}
            for source, (before, after) in pairs.items():
                row |= named(source, _mean(change(before, after)[rows], weights[:, rows], units[rows], measure))
            found.append(row | everyone.row(measure, contrast) | {"verdict": ""})
            found[-1]["verdict"] = _verdict(found[-1])
        return found

    def _measures(self, truth: np.ndarray) -> list[tuple[str, np.ndarray, Callable[[np.ndarray, np.ndarray], np.ndarray]]]:
        def called(before: np.ndarray, after: np.ndarray) -> np.ndarray:
            return (after >= self.threshold).astype(float) - (before >= self.threshold)

        every = np.ones(len(truth), bool)
        return [(CHANCE, every, lambda before, after: after - before), ("TPR", truth, called), ("FPR", ~truth, called),
                (FLIPPED, every, lambda before, after: np.abs(called(before, after)))]  # fmt: skip


def _mean(values: np.ndarray, weights: np.ndarray, units: np.ndarray, measure: str) -> tuple[float, float, float]:
    """The mean with its 95 % interval over patients; where no decision changes, as many may as so few patients could hide (Clopper & Pearson 1934)."""
    means = weighted_means(values, weights)
    low, high = percentile_interval(means[1:])
    if measure != CHANCE and len(values) and not values.any():
        room = hidden_share(len(np.unique(units)))
        low, high = 0.0 if measure == FLIPPED else -room, room
    return float(means[0]), low, high


def _verdict(row: Mapping[str, Any]) -> str:
    if row["measure"] == FLIPPED:
        return ""
    if row["patients"] < FEWEST or not np.isfinite(row["edited_low"]):
        return FEW
    if row["edited_low"] <= 0 <= row["edited_high"]:
        return NONE
    # An effect no larger than what inversion alone does to the prediction may be the editor's.
    return DIRECT if abs(row["edited"]) > max(abs(row["round_trip_low"]), abs(row["round_trip_high"])) else COARSE
