"""A measured value as a dossier holds it against a rule, whatever result it comes from."""
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite

import pandas as pd

from synthkit.report.dossier.rule import ALL

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One measured value of one section.

    Args:
        section: key of the section that it belongs to.
        measure, group: as rules name them.
        low, high: ends of the 95 % interval; NaN where there is none.
        floor_low, floor_high: those of the same measure between real images.
    """

    section: str
    measure: str
    value: float
    n: float
    group: str = ALL
    low: float = NAN
    high: float = NAN
    floor_low: float = NAN
    floor_high: float = NAN

    @property
    def words(self) -> str:
        """The value with its interval, as people write it; empty where the result holds none."""
        if not isfinite(self.value):
            return ""
        ends = "" if self.low != self.low else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.4g}{ends}"

    def row(self) -> dict[str, object]:
        return asdict(self)


def facts_in(frame: pd.DataFrame, *, section: str, **columns: str) -> Iterator[Fact]:
    """One fact per row of a result's table; `columns` says which of its columns hold measure, group, value, low, high, n and the floors."""
    for row in frame.to_dict("records"):
        told = {name: row[column] for name, column in columns.items()}
        numbers = {name: NAN if value is None else float(value) for name, value in told.items() if name not in ("measure", "group")}
        yield Fact(section=section, measure=str(told["measure"]), group=str(told.get("group", ALL)), **numbers)
