"""What a classifier makes of one sweep: scores per value, their change from the reference, and where it breaks."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.intervals import hidden_share, percentile_interval, resamples, wilson
from synthkit.tasks.scoring import Reading

AUC, SENSITIVITY, SPECIFICITY, CHANCE = "AUC", "sensitivity", "specificity", "mean chance"
TIMES = 300


@dataclass(frozen=True, eq=False)
class Watched:
    """One classifier on the same subjects under every value of one factor.

    Args:
        chances: (values, n) predicted chance of the target.
        truth: (n,) bool.
        units: (n,) patients; all resamples draw these.
        threshold: from which chance on the target is called present.
        seed: of the resamples.
    """

    chances: np.ndarray
    truth: np.ndarray
    units: np.ndarray
    threshold: float
    seed: int

    def rows(self, *, share: float) -> list[dict[str, object]]:
        """Per value and measure: score, 95 % interval, paired change from the first value, limit, and whether it is broken."""
        draws = resamples(self.units, times=TIMES, seed=self.seed, stream="stress")
        found = []
        for measure, statistic, members in self._measures():
            scores = [statistic(row, slice(None)) for row in self.chances]
            spread = np.array([[statistic(row, rows) for rows in draws] for row in self.chances])
            for place, score in enumerate(scores):
                low, high = self._interval(measure, score, spread[place], members, place)
                change = self._change(spread[place] - spread[0], members) if place else (float("nan"), float("nan"))
                limit = share * scores[0] if members is not None else float("nan")
                # The patients are the same: their resamples must lie below the limit's too, whatever single intervals say.
                paired = percentile_interval(spread[place] - share * spread[0])[1]
                found.append({"place": place, "measure": measure, "score": score, "low": low, "high": high, "change": score - scores[0] if place else np.nan,
                              "change_low": change[0], "change_high": change[1], "n": int((slice_of(members, self.truth)).sum()),
                              "patients": len(set(self.units[slice_of(members, self.truth)])), "limit": limit,
                              "broken": bool(place and high < limit and paired < 0)})  # fmt: skip
        return found

    def _measures(self) -> Sequence[tuple[str, Callable[..., float], np.ndarray | None]]:
        """Name, statistic of (chances, rows), and the images that it is of; `mean chance` has no better side, so it cannot break."""
        truth, everyone = self.truth, np.ones(len(self.truth), bool)

        def called(chance: np.ndarray, rows: np.ndarray | slice, of: np.ndarray, positive: bool) -> float:
            inside = chance[rows][of[rows]]
            return float(((inside >= self.threshold) == positive).mean()) if len(inside) else float("nan")

        return (
            (AUC, lambda chance, rows: self._reading(chance).value(rows), everyone),
            (SENSITIVITY, lambda chance, rows: called(chance, rows, truth, True), truth),
            (SPECIFICITY, lambda chance, rows: called(chance, rows, ~truth, False), ~truth),
            (CHANCE, lambda chance, rows: float(chance[rows].mean()), None),
        )

    def _change(self, draws: np.ndarray, members: np.ndarray | None) -> tuple[float, float]:
        """Percentiles of a paired change. Where no resample changes, a share p of the patients may yet: (1 - p)^m at 2.5 %."""
        low, high = percentile_interval(draws)
        if members is None or high - low > 1e-12:
            return low, high
        room = hidden_share(len(set(self.units[members])))
        return low - room, high + room

    def _reading(self, chance: np.ndarray) -> Reading:
        return Reading("AUC", np.stack([1 - chance, chance], 1), np.where(self.truth, "yes", "no"), self.units, ("no", "yes"))

    def _interval(self, measure: str, score: float, draws: np.ndarray, members: np.ndarray | None, place: int) -> tuple[float, float]:
        """Percentiles of the resamples; at a limit, where these show no spread, no narrower than the patients allow."""
        low, high = percentile_interval(draws)
        if measure == AUC:
            room = self._reading(self.chances[place]).allowance(draws)
            return (min(low, 1 - room), high) if room and score > 0.5 else (low, max(high, room))
        if members is None:
            return low, high
        patients = len(set(self.units[members]))
        least, most = wilson(round(score * patients), patients)
        return min(low, least), max(high, most)


def slice_of(members: np.ndarray | None, truth: np.ndarray) -> np.ndarray:
    """The images a measure is of; all, where it names none."""
    return np.ones(len(truth), bool) if members is None else members
