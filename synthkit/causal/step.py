"""What a counterfactual did to one factor, and what must be said about it."""
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from synthkit.causal.noise import Array

FLAGS = {
    "not applicable": "{name}: set, but it does not apply in {some}, which stay blank",
    "unknown": "{name}: blank in {some}, where it or one of its parents is unknown",
    "ceased": "{name}: blank in {some}, where it no longer applies",
    "drawn": "{name}: drawn at random in {some}, where it had not applied and so has no noise of its own",
    "open": "{name}: in {some} the factual value stands at an end of its range (or is shared by many) and leaves its noise open; the mean noise is taken",
    "impossible": "{name}: in {some} the model cannot give the factual value; the nearest noise (a level: the factual one) is taken",
}


@dataclass(frozen=True, eq=False)
class Step:
    """What became of one factor: (N,) codes before and after, blank is NaN.

    Attributes:
        part: "set", "follows" or "held".
        shares: (N, levels) counterfactual probability of each level; None for a quantity and where it is held.
        flags: {what must be said: (N,) bool}.
    """

    part: str
    before: Array
    after: Array
    shares: Array | None = None
    flags: Mapping[str, Array] = field(default_factory=dict)

    @property
    def changed(self) -> Array:
        return (self.before != self.after) & ~(np.isnan(self.before) & np.isnan(self.after))

    @property
    def drawn(self) -> Array:
        """(N,) bool: values without noise of their own."""
        return self.flags.get("drawn", np.zeros(len(self.after), bool))

    @property
    def chosen(self) -> Array:
        """(N,) probability of the level that is shown; NaN where it is blank or not a category's."""
        return self._probability(self.after)

    @property
    def left(self) -> Array:
        """(N,) probability that the factual level is no longer the level; NaN where either is blank or not a category's."""
        return 1 - self._probability(self.before)

    def _probability(self, codes: Array) -> Array:
        if self.shares is None:
            return np.full(len(codes), np.nan)
        level = np.nan_to_num(codes).astype(int)
        return np.where(np.isnan(codes), np.nan, self.shares[np.arange(len(level)), level])

    @property
    def shift(self) -> float:
        """Mean of after minus before, over the rows that have both."""
        both = ~np.isnan(self.before) & ~np.isnan(self.after)
        return float(np.mean((self.after - self.before)[both])) if both.any() else float("nan")
