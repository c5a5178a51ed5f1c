"""The result of a reader study as a section, and as a file for iMRMC."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.files import write_atomically
from synthkit.core.result import Tabled
from synthkit.errors import AbilityError
from synthkit.studies.reader.tasks import Task

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SAID = ("Intervals are of 95 %: Wilson's for single readers, otherwise from resampling readers and patients together.",)


@dataclass(frozen=True, eq=False, repr=False)
class Readings(Tabled):
    """What readers answered.

    Args:
        rows: measure, reader, value, low, high, n.
        answers: one row per answer: reader, trial, answer, seconds, at, kind, truth, repeat_of, case, unit (the patient).
        task: what was asked.
    """

    answers: pd.DataFrame = field(default_factory=pd.DataFrame)
    task: Task | None = None

    def caveats(self) -> list[str]:
        return [*self.notes, *SAID]

    def figure(self) -> "Figure":
        from synthkit.core.figures import interval_plot

        shown = self.rows[self.rows["low"].notna()]
        return interval_plot(shown.assign(metric=shown["measure"], group=shown["reader"], floor=float("nan")), title=self.title)

    def to_imrmc(self, path: str | Path) -> Path:
        """Write the readings as iMRMC takes them (readerID, caseID, modalityID, score; the truth as reader -1).

        Raises:
            AbilityError: a task without a confidence.
        """
        if self.task is None or self.task.name != "real-or-synthetic":
            raise AbilityError("iMRMC analyses confidences; only the task real-or-synthetic has them")
        first = self.answers[self.answers["repeat_of"] < 0]
        truth = first.drop_duplicates("case").assign(readerID=-1, modalityID="truth", score=lambda rows: rows["truth"])
        read = first.assign(readerID=first["reader"], modalityID="images", score=first["answer"] + 1)
        table = pd.concat([truth, read]).rename(columns={"case": "caseID"})[["readerID", "caseID", "modalityID", "score"]]
        write_atomically(Path(path), table.to_csv(index=False).encode())
        return Path(path)
