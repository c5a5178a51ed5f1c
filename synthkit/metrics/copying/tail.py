"""How near is too near: what hardly any new patient would show, from those at hand."""
from dataclasses import dataclass

import numpy as np

from synthkit.core.intervals import resamples
from synthkit.errors import DataError
from synthkit.metrics.copying.search import Nearest

LEVEL = 1e-4  # share of new patients beyond the limit
FEWEST = 20  # patients that a limit is taken from
TAIL, TIMES, UPPER = 0.2, 200, 0.975
CLOSEST = 1e-3  # distances below are rounding


@dataclass(frozen=True)
class Tail:
    """The limit of the isolation (see `isolation`) that a given share of new patients passes, one of 10,000 unless told otherwise.

    Where images fill m directions evenly, a new one lies nearer than r to the next one with a chance that grows as r^m: the log of the distance, and so
    the isolation, has an exponential tail of rate m (Levina & Bickel 2004). The tail is fitted above a quantile; the limit is the upper end of a
    95 % bootstrap interval over patients.

    Args:
        limit: of the isolation.
        images, patients: that it is taken from.
    """

    limit: float
    images: int
    patients: int

    @staticmethod
    def of(isolated: np.ndarray, units: np.ndarray, *, level: float = LEVEL) -> "Tail":
        """From the isolation of real images (N,) of the patients `units`.

        Raises:
            DataError: fewer than 20 patients.
        """
        patients = len(np.unique(units))
        if patients < FEWEST:
            raise DataError(f"{patients} patients are too few to know how near two patients come; {FEWEST} or more are needed")
        share = min(0.5, max(TAIL, FEWEST / len(isolated)))
        drawn = [_limit(isolated[rows], share, level) for rows in resamples(units, times=TIMES, seed=0, stream="tail")]
        return Tail(float(np.quantile(drawn, UPPER)), len(isolated), patients)


def _limit(values: np.ndarray, share: float, level: float) -> float:
    start = np.quantile(values, 1 - share)
    beyond = values[values > start] - start
    return float(start + (beyond.mean() * np.log(share / level) if len(beyond) else 0.0))


def isolation(found: Nearest) -> np.ndarray:
    """(N,) log of how many times farther the next patients are, on average, than the nearest one: 0 in a crowd, large for a copy.

    Against the next ones a smooth image, which lies near to everybody, does not stand out (Carlini et al. 2023, section 4.2).
    """
    near = np.maximum(found.distance, CLOSEST)
    others = np.where(np.isfinite(near[:, 1:]), near[:, 1:], np.nan)
    return np.log(np.nanmean(others, axis=1) / near[:, 0])
