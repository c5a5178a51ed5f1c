"""Intervals for shares and for anything that can be computed again on a resample."""
from collections.abc import Callable

import numpy as np

from synthkit.core.randomness import generator

Z = 1.959964  # half of a 95 % interval in standard errors


def wilson(successes: int, trials: int, *, z: float = Z) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927); 95 % by default."""
    if trials == 0:
        return (0.0, 1.0)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    scale = 1 + z * z / trials
    # Rounding must not lead out of the shares that are possible.
    return (max(0.0, float((centre - half) / scale)), min(1.0, float((centre + half) / scale)))


def hidden_share(units: int) -> float:
    """The largest share that none of so many units may show, at 2.5 % (Clopper & Pearson 1934); 1 where there are none.

    Were a share p of all patients misjudged, none of m would show it with chance (1 - p)^m; at 2.5 % that is p = 1 - 0.025^(1/m).
    """
    return float(1 - 0.025 ** (1 / units)) if units > 0 else 1.0


def resamples(units: np.ndarray, *, times: int, seed: int, stream: str = "units") -> list[np.ndarray]:
    """Row indices of `times` bootstrap resamples drawn by unit (patient), so that clustered rows stay together."""
    names, codes = np.unique(units, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    rng = generator(seed, "bootstrap", stream)
    draws = rng.integers(0, len(names), size=(times, len(names)))
    return [np.concatenate([members[unit] for unit in draw]) for draw in draws]


def resampled(statistic: Callable[[np.ndarray], float], units: np.ndarray, *, times: int, seed: int, stream: str = "units") -> np.ndarray:
    """(times,) values of `statistic(rows)` on resamples of whole units, the same ones for every statistic of these units and this stream."""
    return np.array([statistic(rows) for rows in resamples(units, times=times, seed=seed, stream=stream)], float)


def bootstrap(statistic: Callable[[np.ndarray], float], units: np.ndarray, *, times: int = 200, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of `statistic(rows)`, resampling whole units; values that are no number are left out.

    Of a single unit nothing can be told: (nan, nan).
    """
    if len(np.unique(units)) < 2:
        return (float("nan"), float("nan"))
    return percentile_interval(resampled(statistic, units, times=times, seed=seed))


def percentile_interval(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of a statistic's values on resamples; not a number where fewer than half of them are known."""
    known = draws[np.isfinite(draws)]
    if len(known) < len(draws) / 2:
        return (float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5])
    return (float(low), float(high))


def half_samples(units: np.ndarray, *, times: int, seed: int, stream: str) -> list[np.ndarray]:
    """Row indices of `times` random halves of the units, drawn without replacement."""
    names, codes = np.unique(units, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    rng = generator(seed, stream, "half samples")
    take = max(1, len(names) // 2)
    return [np.concatenate([members[unit] for unit in rng.permutation(len(names))[:take]]) for _ in range(times)]
