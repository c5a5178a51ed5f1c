"""Limits of a rule: what real images show, widened by a margin."""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.metrics.checks.rule import Rule

QUANTILE = 0.01
MARGIN = 0.5
FEWEST = 12


@dataclass(frozen=True)
class Limits:
    """Where one rule begins to fail.

    Args:
        low, high: values outside fail; infinite where a side never fails.
        origin: "real images", "given" by the caller, "absolute" or, where nothing can be said, "none".
    """

    low: float
    high: float
    origin: str

    def broken(self, values: np.ndarray) -> np.ndarray:
        """(N,) which values fail; NaN never does."""
        return (values < self.low) | (values > self.high)


def limits_of(rule: Rule, real: np.ndarray | None) -> Limits:
    """The limits of a rule, from its values on real images where there are any.

    The 1 % and 99 % quantiles, each moved away from the median by half its distance from it, and by more where there are
    few images: outside that no real image lies by habit, and a few spoilt ones among the real do not move it.
    """
    known = real[~np.isnan(real)] if real is not None else np.empty(0)
    if len(known) >= FEWEST:
        (low, high), origin = _widened(known, rule.logarithmic), "real images"
        if rule.boundary is not None and np.quantile(known, QUANTILE, method="lower") > rule.boundary:
            # Halfway: what lies just across the boundary is rather a real image in doubt than a wrong one.
            low = min(rule.boundary, (rule.boundary + low) / 2)
        low = low if low >= rule.hopeless else -np.inf
        low, high = max(min(low, rule.harmless[0]), rule.always[0]), min(max(high, rule.harmless[1]), rule.always[1])
    else:
        (low, high), origin = rule.absolute, "absolute" if np.isfinite(rule.absolute).any() else "none"
    if rule.low is not None or rule.high is not None:
        low, high, origin = low if rule.low is None else rule.low, high if rule.high is None else rule.high, "given"
    return Limits(float(low) if rule.too_low else -np.inf, float(high) if rule.too_high else np.inf, origin)


def _widened(values: np.ndarray, logarithmic: bool) -> tuple[float, float]:
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.log(np.maximum(values, 0)) if logarithmic else values
    # Whole observations, since between an infinite one and its neighbour nothing can be interpolated.
    low, high = np.quantile(scaled, QUANTILE, method="lower"), np.quantile(scaled, 1 - QUANTILE, method="higher")
    shown = scaled[np.isfinite(scaled)]
    middle, margin = np.median(shown) if len(shown) else 0.0, MARGIN + FEWEST / 2 / len(values)
    ends = [end + margin * (end - middle) if np.isfinite(end) else end for end in (low, high)]
    # A rule whose real values are all equal still forgives rounding.
    ends = [end + sign * 1e-6 * max(1.0, abs(end)) if np.isfinite(end) else end for end, sign in zip(ends, (-1, 1))]
    if not logarithmic:
        return ends[0], ends[1]
    # Of an organ that real images do not all show neither size nor absence says anything below; all zero, nothing above.
    return float(np.exp(ends[0])), float(np.exp(ends[1])) if np.isfinite(ends[1]) else np.inf


def limits_frame(rules: Sequence[Rule], limits: Sequence[Limits]) -> pd.DataFrame:
    """One row per rule: `rule`, `low`, `high`, `origin`."""
    return pd.DataFrame([(r.name, limit.low, limit.high, limit.origin) for r, limit in zip(rules, limits)], columns=["rule", "low", "high", "origin"])
