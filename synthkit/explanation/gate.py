"""What an edit must reach before anything is concluded from it."""
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from synthkit.errors import FitError
from synthkit.explanation.soundness import Soundness


@dataclass(frozen=True)
class Gate:
    """Thresholds of an editor's soundness, per factor.

    Args:
        r2_delta: with the exact truth: least lower end of its interval; above 0 an edit is surely better than doing nothing.
        effectiveness: without it: least lower end of the share that a judge reads as asked.
        composition_raw: largest raw round trip, in grey levels (0..255).
    """

    r2_delta: float = 0.3
    effectiveness: float = 0.5
    composition_raw: float = 3.0

    def __post_init__(self) -> None:
        if not self.r2_delta <= 1 or not 0 <= self.effectiveness <= 1 or not self.composition_raw > 0:
            raise FitError(f"{self}: r2_delta is at most 1, effectiveness between 0 and 1, composition_raw above 0")

    def faults(self, sound: Soundness, factors: Sequence[str]) -> dict[str, str]:
        """Per factor what keeps it out, or an empty text."""
        return {name: self._fault(sound.rows[sound.rows["factor"] == name]) for name in factors}

    def _fault(self, rows: pd.DataFrame) -> str:
        if not len(rows):
            return "too few patients whom the edits change"
        trip = float(rows["composition_raw"].max())
        if not trip <= self.composition_raw:
            return f"raw round trip {trip:.2f} of 255, above {self.composition_raw:g}"
        if rows["r2_delta"].notna().any():
            worst = rows.loc[rows["r2_delta_low"].idxmin()]
            low = float(worst["r2_delta_low"])
            return "" if low >= self.r2_delta else f"R2_delta of {worst['edit']} {worst['r2_delta']:.2f}, lower end {low:.2f}, under {self.r2_delta:g}"
        shares = rows[rows["effectiveness_of"] == "share read as asked"]
        if not len(shares):
            return "no judge reads it as a share"
        low = float(shares["effectiveness_low"].min())
        return "" if low >= self.effectiveness else f"read as asked in a share with lower end {low:.2f}, under {self.effectiveness:g}"
