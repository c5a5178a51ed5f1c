"""The answer of `sk.flip`: which images flipped, how far they had to be changed, and whether a witness follows."""
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane, signed_plane
from synthkit.core.intervals import bootstrap, wilson
from synthkit.core.result import Section
from synthkit.explanation.attribution import mean_with_interval

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FLIPPED, ADVERSARIAL, UNJUDGED, HELD = "flipped", "adversarial", "flipped, witness saw it otherwise from the start", "not flipped"


@dataclass(frozen=True, eq=False, repr=False)
class Flip(Section):
    """Images and the least changed ones that a classifier calls otherwise.

    Args:
        factual, edited: cohorts, row by row; where no strength sufficed, the farthest attempt.
        target, level: whose chance is followed.
        before, after: (N,) that chance on both.
        verdicts: (N,) "flipped"; "adversarial", when the witness does not follow; "not flipped"; or that the witness saw the
            original otherwise, so that it cannot tell.
        strengths: (N,) at which each flipped.
        transition: (N,) COUT of each, -1..1: how few of the changed pixels decide.
    """

    factual: Cohort
    edited: Cohort
    target: str
    level: str
    before: np.ndarray
    after: np.ndarray
    verdicts: np.ndarray
    strengths: np.ndarray
    transition: np.ndarray
    witnessed: bool

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Least change that flips {self.target} = {self.level}"

    def cases(self) -> pd.DataFrame:
        """Per image: the chance before and after, the verdict, the strength, the mean change on 0..255, the share of pixels changed, COUT."""
        delta = (self.edited.images.tensor() - self.factual.images.tensor()).abs()
        return pd.DataFrame({
            "image_id": self.factual.table["image_id"], "before": self.before, "after": self.after, "verdict": self.verdicts, "strength": self.strengths,
            "mean_change": delta.flatten(1).mean(1).numpy() * 127.5, "changed": (delta.amax(1) > 1 / 255).flatten(1).float().mean(1).numpy(),
            "cout": self.transition,
        })  # fmt: skip

    def frame(self) -> pd.DataFrame:
        """Share of images with each verdict (Wilson; by patient where one has several images); where the classifier flipped, how much was changed and
        how efficiently (COUT).
        """
        cases, units = self.cases(), self.factual.table["patient_id"].to_numpy()
        rows = []
        for verdict in (FLIPPED, ADVERSARIAL, UNJUDGED, HELD) if self.witnessed else (FLIPPED, HELD):
            hit = (self.verdicts == verdict).astype(float)
            ends = wilson(int(hit.sum()), len(hit)) if len(set(units)) == len(units) else bootstrap(lambda rows, hit=hit: float(hit[rows].mean()), units)
            rows.append((verdict, hit.mean(), *ends, len(cases)))
        table = pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n"])
        done = cases[cases["verdict"] != HELD]
        if not len(done):
            return table
        sizes = (("mean_change", "mean change (0..255)"), ("changed", "share of pixels changed"), ("cout", "COUT (-1..1)"))
        return pd.concat([table, pd.DataFrame([{"measure": words, **mean_with_interval(done[name].to_numpy(), units[done.index])} for name, words in sizes])])

    def figure(self) -> "Figure":
        """Original, changed image and signed difference of the first images, on one scale."""
        delta, shown = self.edited.images.tensor() - self.factual.images.tensor(), range(min(6, len(self.factual)))
        limit = float(delta.abs().amax()) * 0.6
        rows = [[plane(self.factual.images[i]), plane(self.edited.images[i]), signed_plane(delta[i], limit)] for i in shown]
        names = [f"P {self.before[i]:.2f} → {self.after[i]:.2f}, {self.verdicts[i]}" for i in shown]
        caption = "red brighter, blue darker; changed images are synthetic"
        return picture_figure(rows, title=self.title, row_names=names, column_names=["original", "changed", "difference"], caption=caption)

    def caveats(self) -> list[str]:
        said = ["A flip shows what this classifier answers to, not what the disease looks like."]
        if not self.witnessed:
            said.append("No witness: some of these changes may be adversarial; give witness=, a classifier trained on other patients or from another seed.")
        trip = self.edited.table["round_trip"].mean()
        said.append(f"Back and forth without a pull, the target hidden, misses the originals by {trip:.2f}/255 on average; that is taken off the change.")
        return [*said, "Each change is the least of the strengths that were tried; a smaller one may exist.", *self.factual.notes]
