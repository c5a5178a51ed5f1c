"""Real and synthetic images of the same factors, one above the other."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane
from synthkit.core.result import Section

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = 12


@dataclass(frozen=True, eq=False, repr=False)
class Gallery(Section):
    """Contact sheets side by side.

    Args:
        real: images of real patients.
        fake: synthetic images; row i was asked for with the factors of real row i.
        count: images of each to show.
    """

    real: Cohort
    fake: Cohort
    count: int = 36

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"{self._source.capitalize()} above, synthetic below, with the same factors"

    @property
    def _source(self) -> str:
        return "real" if self.real.provenance.kind == "real" else "source"

    def frame(self) -> pd.DataFrame:
        """The factors of the images shown."""
        return self.fake.table[["image_id", *self.fake.schema.names]].head(min(self.count, 12))

    def figure(self) -> "Figure":
        count = min(self.count, len(self.real), len(self.fake))
        rows, names = [], []
        for start in range(0, count, COLUMNS):
            stop = min(start + COLUMNS, count)
            rows += [[plane(cohort.images[i]) for i in range(start, stop)] for cohort in (self.real, self.fake)]
            names += [self._source, "synthetic"]
        return picture_figure(rows, title=self.title, row_names=names)

    def caveats(self) -> list[str]:
        return [f"Images of {self.real.provenance.source}: {self.real.provenance.licence}.", *self.fake.caveats()]
