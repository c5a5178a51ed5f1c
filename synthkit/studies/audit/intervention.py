"""What does the attribute itself do? The same images with only the attribute changed, before the same classifier."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.core.result import Tabled
from synthkit.studies.audit.contrasts import contrasts
from synthkit.studies.audit.editing import COARSE, Editing
from synthkit.studies.audit.observed import ENDS, Observed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SOURCES = ("edited", "round_trip", "truth", "observed")
COLUMNS = ("attribute", "contrast", "measure", *(s + end for s in SOURCES for end in ENDS), "n", "patients", "n_observed", "verdict")
MARKS = ("attribute edited, all else held", "groups as they are")


@dataclass(frozen=True, eq=False, repr=False)
class Intervention(Tabled):
    """The change of the prediction when an attribute is edited, beside the gap between the groups as they are.

    Args:
        rows: attribute, contrast, measure, then value, low and high of `edited`, of the editor's raw `round_trip` that changes
            nothing, of the exact `truth` where it is known, and as `observed` between the groups; n, patients, verdict.
        notes: what must be said beside them.
    """

    def figure(self) -> "Figure":
        """The edited effect of each contrast, with the difference between the groups as they are in red."""
        from synthkit.core.figures import interval_plot

        names = {"edited": "value", "edited_low": "low", "edited_high": "high", "observed": "floor", "observed_low": "floor_low", "observed_high": "floor_high"}
        drawn = self.rows.rename(columns=names).assign(metric=self.rows["measure"], group=self.rows["attribute"] + ": " + self.rows["contrast"])
        return interval_plot(drawn[drawn["value"].notna()], title=self.title, names=MARKS)


def intervene(editing: Editing, cohort: Cohort, everyone: Observed, flip: Sequence[str], *, images: int) -> Intervention:
    """Edit some images of a cohort to the settings of each factor and read the predictions."""
    order = permutation(len(cohort), seed=editing.seed, identity="audit", stream="edited images")
    chosen = cohort[np.sort(order[:images])]
    found = [row for name in flip for contrast in contrasts(cohort, name) for row in editing.rows(chosen, everyone, contrast)]
    rows = pd.DataFrame(found).reindex(columns=list(COLUMNS))
    title = f"What the attribute itself does to {editing.outcome}, by edits of {editing.editor.card.name}"
    return Intervention(title, rows, tuple(_notes(rows, len(chosen), len(cohort), editing)))


def _notes(rows: pd.DataFrame, chosen: int, all_images: int, editing: Editing) -> list[str]:
    notes = [
        f"{chosen} of {all_images} images were edited, all other factors held: the direct effect of the attribute as the editor draws it, "
        "not what would be in another patient.",
        "A gap between groups that an edit does not bring about has other reasons: other findings, other films, other labels.",
        "The round trip encodes and decodes an image without a change; what it does to the prediction is the editor's own error. Score the editor with "
        "sk.counterfactual(...).against(truth) where truth is known.",
        "The intervals of the edits carry the choice of the patients, not the training of the editor, and hold for one row each.",
    ]
    coarse = rows[rows["verdict"] == COARSE]
    if len(coarse):
        names = ", ".join(dict.fromkeys(coarse["attribute"]))
        notes.append(f"{names}: the round trip alone moves the prediction as far as the edit does; no effect can be told from it.")
    if editing.truth is not None:
        notes.append("The truth is that of the phantom: the same subjects drawn again with the attribute set.")
    return notes
