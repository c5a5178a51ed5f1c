"""A judge's score on synthetic images held against its own score on real ones."""
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from synthkit.tasks.scoring import CHANCE, Reading, Uncertainty

ABOVE, BELOW, UNEQUAL = "above the ceiling", "below the ceiling", "spread otherwise"
EVEN = (0.8, 1.25)  # ratio of the spreads within which two R² may be compared
TIMES = 300
SYNTHETIC, REAL = "synthetic", "real"
RARE = 5  # images of a level


def against(fake: Reading, real: Reading | None, label: str, *, count: int, seed: int) -> dict[str, object]:
    """A row of scores: the judge on synthetic images, its ceiling, and whether the two surely differ.

    Args:
        label: goes into `group`.
        count: rows with a ceiling in the whole report, levels and groups among them; they share the 5 % of error (Bonferroni).
        seed: of the resampling; both sides have streams of their own.
    """
    sure, value = _sure(fake, SYNTHETIC, seed), fake.value()
    row = {"metric": f"Adherence {fake.measure}", "value": value, "low": sure.low, "high": sure.high, "n_real": 0 if real is None else len(real),
           "n_fake": len(fake), "group": label, "better": "higher", "floor": float("nan"), "floor_low": float("nan"), "floor_high": float("nan"),
           "reading": ""}  # fmt: skip
    if real is None:
        return row
    most, ceiling = _sure(real, REAL, seed), real.value()
    reading = _reading(fake, real, value - ceiling, float(np.hypot(sure.error, most.error)), count)
    return {**row, "floor": ceiling, "floor_low": most.low, "floor_high": most.high, "reading": reading}


def sees(real: Reading, *, seed: int) -> bool:
    """Whether the judge is surely better than chance on real images; the interval is the one that `against` shows."""
    return _sure(real, REAL, seed).low > CHANCE[real.measure]


def _sure(reading: Reading, side: str, seed: int) -> Uncertainty:
    return reading.uncertainty(times=TIMES, seed=seed, stream=f"adherence, {side}")


def _reading(fake: Reading, real: Reading, difference: float, error: float, count: int) -> str:
    from scipy.stats import norm

    if fake.measure == "R2" and not EVEN[0] <= fake.truth.std() / real.truth.std() <= EVEN[1]:
        return UNEQUAL
    reach = norm.ppf(1 - 0.025 / count) * error
    if not np.isfinite(reach) or abs(difference) <= max(reach, 1e-9):
        return ""
    return ABOVE if difference > 0 else BELOW


def common_levels(fake: Reading, real: Reading) -> tuple[Reading, Reading] | None:
    """Both on the levels that occur in both: an AUC over other levels is another question.

    A level of fewer than 5 images on a side does not count, since an AUC over one or two has no honest interval; None where
    fewer than two levels are left.
    """
    if not fake.levels:
        return fake, real
    shared = {level for level in fake.levels if min((side.truth == level).sum() for side in (fake, real)) >= RARE}
    if len(shared) < 2:
        return None
    return tuple(side[np.array([value in shared for value in side.truth])] for side in (fake, real))


def one_against_rest(fake: Reading, real: Reading, label: str) -> Iterator[tuple[Reading, Reading, str]]:
    """Each level against all others, on both sides."""
    for place, level in enumerate(fake.levels):
        if level in set(fake.truth):
            yield *(_binary(side, place, level) for side in (fake, real)), f"{label}={level}"


def _binary(reading: Reading, place: int, level: str) -> Reading:
    chance = reading.guess[:, place]
    truth = np.where(reading.truth == level, level, "rest")
    return replace(reading, guess=np.stack([1 - chance, chance], 1), truth=truth, levels=("rest", level))
