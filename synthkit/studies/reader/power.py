"""How many readings a study needs, and whether what was read is equivalent to guessing."""
import math

import numpy as np
from scipy.stats import norm

from synthkit.core.kinds import require_number
from synthkit.errors import DataError


def equivalence_power(reads: int, *, margin: float = 0.1, alpha: float = 0.05) -> float:
    """Chance that two one-sided tests show a share of right answers within `margin` of one half, where readers only guess (Schuirmann 1987).

    By the normal approximation, for independent readings; several readings of one image, or by one reader, are worth less.
    """
    require_margin(margin, alpha)
    require_number("reads", reads, "a number of readings, 1 or more", whole=True)
    return max(0.0, float(2 * norm.cdf(margin * math.sqrt(reads) / 0.5 - norm.ppf(1 - alpha)) - 1))


def reads_needed(*, margin: float = 0.1, power: float = 0.8, alpha: float = 0.05) -> int:
    """The fewest independent readings with this power; 215 for a margin of 10 points at 80 %, 1,083 for 5 points at 90 %."""
    require_margin(margin, alpha)
    require_number("power", power, "a chance between 0 and 1, usually 0.8 or 0.9")
    if not 0 < power < 1:
        raise DataError(f"power={power}: give a chance between 0 and 1, usually 0.8 or 0.9")
    return math.ceil(((norm.ppf(1 - alpha) + norm.ppf((1 + power) / 2)) * 0.5 / margin) ** 2)


def equivalent(draws: np.ndarray, *, margin: float, alpha: float = 0.05) -> bool:
    """Whether the middle 1 - 2 alpha of a share's values on resamples lie within `margin` of one half."""
    require_margin(margin, alpha)
    low, high = np.quantile(draws, [alpha, 1 - alpha])
    return bool(low > 0.5 - margin and high < 0.5 + margin)


def require_margin(margin: float, alpha: float = 0.05) -> None:
    """Raise DataError unless both lie between 0 and one half."""
    require_number("margin", margin, "a share between 0 and 0.5, usually 0.1")
    require_number("alpha", alpha, "a chance between 0 and 0.5, usually 0.05")
    if not 0 < margin < 0.5 or not 0 < alpha < 0.5:
        raise DataError(f"margin={margin}, alpha={alpha}: both lie between 0 and 0.5, usually 0.1 and 0.05")
