"""Results: one shape of answer for every study, so that a report and a notebook cell need know no kinds."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from synthkit.core.cohort import Cohort

SCORE_COLUMNS = (
    "metric", "group", "value", "low", "high", "floor", "floor_low", "floor_high", "reading", "n_real", "n_fake", "better", "extractor",
)  # fmt: skip
MARKS = ("synthetic against real", "real against real")
SHOWN = 40  # rows of one panel; beyond them groups of groups stand in the table alone


def now() -> str:
    """The time as results carry it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Section(ABC):
    """A titled result: numbers as a frame, one figure, and what must be said beside them."""

    title: str

    @abstractmethod
    def frame(self) -> pd.DataFrame:
        """The numbers."""

    @abstractmethod
    def figure(self) -> "Figure":
        """The picture."""

    @abstractmethod
    def caveats(self) -> list[str]:
        """What a reader must know before using the numbers."""

    def __repr__(self) -> str:
        return f"{self.title}\n{self.frame().to_string(max_rows=40, line_width=160, max_colwidth=40, index=False)}"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        notes = "".join(f"<li>{escape(c)}</li>" for c in self.caveats())
        table = self.frame().round(4).to_html(index=False, border=0, max_rows=40)
        html = f"<h3>{escape(self.title)}</h3>{table}" + (f"<ul>{notes}</ul>" if notes else "")
        return {"text/html": html, "text/plain": repr(self)}


@dataclass(frozen=True, eq=False, repr=False)
class Tabled(Section):
    """A section whose numbers are one table; subclasses draw it.

    Args:
        rows: the table.
        notes: the caveats.
        cohorts: what it was measured on, by part: "test" (patients that were judged), "synthetic", "train", "valid", "judge".
        at: when it was measured, so that rules which were fixed later are not taken for earlier ones.
    """

    title: str
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()
    cohorts: Mapping[str, "Cohort"] = field(default_factory=dict, kw_only=True)
    at: str = field(default_factory=now, kw_only=True)

    def frame(self) -> pd.DataFrame:
        return self.rows

    def caveats(self) -> list[str]:
        return list(self.notes)


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Tabled):
    """Scores of a synthetic cohort: value, 95 % interval, n, and the real-against-real floor beside each.

    Args:
        rows: DataFrame with the columns of `SCORE_COLUMNS`; those that are missing stay empty.
    """

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", self.rows.reindex(columns=[*SCORE_COLUMNS]))

    def figure(self) -> "Figure":
        from synthkit.core.figures import interval_plot

        frame = self.frame()
        crowded = frame.groupby("metric")["group"].transform("size") > SHOWN
        frame = frame[~(crowded & frame["group"].astype(str).str.contains(", ", regex=False))]
        several = frame.groupby("metric")["extractor"].transform("nunique") > 1
        eye = frame["extractor"].astype(str).str.split(" (", regex=False).str[0]
        return interval_plot(frame.assign(metric=frame["metric"].where(~several, frame["metric"] + " · " + eye)), title=self.title, names=MARKS)


@dataclass(frozen=True, eq=False, repr=False)
class Measured(Tabled):
    """Plain measured values as a section.

    Args:
        rows: DataFrame with the columns measure, value, low, high, n.
    """

    def figure(self) -> "Figure":
        from synthkit.core.figures import interval_plot

        plain = self.rows.assign(metric="", group=self.rows["measure"], floor=float("nan"))
        return interval_plot(plain, title=self.title)
