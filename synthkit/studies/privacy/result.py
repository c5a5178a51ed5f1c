"""The answer of a privacy study: a verdict of three, the attacks it stands on, and the nearest pairs to look at."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane
from synthkit.core.result import Section, now

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COPYING, NONE_SEEN, NOT_ASSESSED = "EVIDENCE OF COPYING", "NO COPYING DETECTED BY THESE TESTS", "NOT ASSESSED"
COLUMNS = ("attack", "eye", "value", "low", "high", "expected", "n", "p")
PAIRS_A_ROW = 4
ALWAYS = (
    "These attacks were tried and no others: whoever knows more, or tries harder, may find more. Only training with differential privacy bounds that.",
    "That no copying is detected does not make synthetic images anonymous.",
)


@dataclass(frozen=True, eq=False, repr=False)
class Privacy(Section):
    """What the synthetic images, and the generator, give away of the patients it was trained on.

    Args:
        verdict: EVIDENCE OF COPYING, NO COPYING DETECTED BY THESE TESTS, or NOT ASSESSED.
        reason: why, in a sentence.
        attacks: attack, eye, value, low, high (95 %), what is expected without copying, n, and p where the attack takes part in the verdict.
        pairs: the synthetic images that stand nearest to one training patient: image_id, train_image_id, eye, similarity, isolation, limit.
        fake, train: the images of these pairs; `fake` row by row, of `train` each once.
        power: how many of the planted copies would have convicted.
        notes: further caveats.
        cohorts: all that was compared: "synthetic", "train" and "holdout".
        at: when it was measured.
    """

    verdict: str
    reason: str
    attacks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*COLUMNS]))
    pairs: pd.DataFrame = field(default_factory=pd.DataFrame)
    fake: Cohort | None = None
    train: Cohort | None = None
    power: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    at: str = field(default_factory=now)

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Privacy: {self.verdict}"

    def frame(self) -> pd.DataFrame:
        return self.attacks

    def caveats(self) -> list[str]:
        return [self.reason, *self._said(), *self.notes, *ALWAYS]

    def _said(self) -> list[str]:
        if not len(self.power):
            return []
        found = ", ".join(f"{row.share:.0%} ({row.copies} of {row.of}) in {row.found:.0%} of trials" for row in self.power.itertuples())
        return [f"Detection power, measured by planting slightly changed training images: {found}; {self.power['caught'].iloc[0]:.0%} of the single copies "
                "lie beyond a limit."]  # fmt: skip

    def figure(self) -> "Figure":
        if self.fake is None or self.train is None or not len(self.fake):
            import plotly.graph_objects as go

            figure = go.Figure(layout={"title": self.title, "template": "plotly_white", "height": 160})
            return figure.add_annotation(text=self.reason, showarrow=False).update_xaxes(visible=False).update_yaxes(visible=False)
        place = {name: row for row, name in enumerate(self.train.table["image_id"])}
        partners = [place[name] for name in self.pairs["train_image_id"]]
        pictures = [[plane(self.fake.images[row]), plane(self.train.images[partner])] for row, partner in enumerate(partners)]
        rows = [[picture for pair in pictures[i : i + PAIRS_A_ROW] for picture in pair] for i in range(0, len(pictures), PAIRS_A_ROW)]
        heads = ["synthetic", "nearest patient"] * min(PAIRS_A_ROW, len(pictures))
        said = "Pairs from the most isolated on, left to right; the nearest patient may be mirrored or moved."
        return picture_figure(rows, title=f"{self.title}: the {len(pictures)} pairs that stand out most", column_names=heads, caption=said)
