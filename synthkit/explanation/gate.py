"""What an edit must reach before anything is concluded from it."""
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from synthkit.errors import DataError
from synthkit.explanation.soundness import Soundness

UNREAD = "a quantity, or a factor that the judge does not read: without truth= its edits cannot be gated"


@dataclass(frozen=True)
class Gate:
    """Thresholds of an editor's soundness, per factor.

    Args:
        r2_delta: with the exact truth: least lower end of its interval; above 0 an edit is surely better than doing nothing.
        effectiveness: without it: least lower end of the share that a judge reads as asked.
        composition_raw: largest raw round trip, in grey levels (0..255).
        leakage_sd: largest shift of what a judge reads of another factor, in its standard deviations: an edit that changes the target
            along with the suspect would convict an innocent classifier.
    """

    r2_delta: float = 0.3
    effectiveness: float = 0.5
    composition_raw: float = 3.0
    leakage_sd: float = 0.4

    def __post_init__(self) -> None:
        if not self.r2_delta <= 1 or not 0 <= self.effectiveness <= 1 or not self.composition_raw > 0 or not self.leakage_sd > 0:
            raise DataError(f"{self}: r2_delta is at most 1, effectiveness between 0 and 1, composition_raw and leakage_sd above 0")

    def faults(self, sound: Soundness, values: Mapping[str, tuple[object, object]]) -> dict[str, str]:
        """Per factor what keeps it out, or an empty text; both of its edits must have been examined.

        Args:
            values: the two that each factor is set to.
        """
        return {name: self._fault(sound.rows[sound.rows["factor"] == name], both) for name, both in values.items()}

    def _fault(self, rows: pd.DataFrame, both: tuple[object, object]) -> str:
        if len(rows) < len(both):
            return "too few patients to examine the edits both ways"
        trip, leak = rows["composition_raw"].max(), rows.loc[rows["leakage_sd"].fillna(0).idxmax()]
        if not trip <= self.composition_raw:
            return f"raw round trip {trip:.2f} of 255, above {self.composition_raw:g}"
        if leak["leakage_sd"] > self.leakage_sd:
            return f"{leak['edit']} also moves {leak['leaks_into']} by {leak['leakage_sd']:.2f} SD, above {self.leakage_sd:g}"
        if rows["r2_delta"].notna().any():
            worst = rows.loc[rows["r2_delta_low"].idxmin()]
            low = float(worst["r2_delta_low"])
            return "" if low >= self.r2_delta else f"R2_delta of {worst['edit']} {worst['r2_delta']:.2f}, lower end {low:.2f}, under {self.r2_delta:g}"
        shares = rows[rows["effectiveness_of"] == "share read as asked"]
        if not len(shares):
            return UNREAD
        low = float(shares["effectiveness_low"].min())
        return "" if low >= self.effectiveness else f"read as asked in a share with lower end {low:.2f}, under {self.effectiveness:g}"
