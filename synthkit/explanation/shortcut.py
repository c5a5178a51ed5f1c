"""Does a classifier use a shortcut? The effect of setting the suspect on its answer, held against a margin that matters."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.result import Tabled
from synthkit.core.schema import Category
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.effects import checked_models, effects, showing, what_decides, where_it_applies
from synthkit.generators.editing import after, inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ENOUGH = 100  # patients, below which the answer is rarely decided
MOST = 256


@dataclass(frozen=True, eq=False, repr=False)
class Shortcut(Tabled):
    """One row per classifier and source of the twins: effect on its chance, 95 % interval, n, and the verdict.

    Args:
        margin: change of the chance that would matter.
    """

    margin: float = 0.05

    @property
    def verdict(self) -> str:
        """That of the classifier in question, by the exact twins where there are some."""
        return str(self.rows.loc[self.rows["classifier"] == "in question", "verdict"].iloc[-1])

    def figure(self) -> "Figure":
        """The effects with their intervals (red: no effect)."""
        from synthkit.core.figures import interval_plot

        group = self.rows["classifier"] + ", " + self.rows["twins"]
        shown = self.rows.rename(columns={"effect": "value"}).assign(metric="change of the predicted chance", group=group, floor=0.0)
        return interval_plot(shown, title=self.title, names=("effect", "none"))


def shortcut(
    classifier: Predictor, editor: Generator | None, patients: Cohort, *, factor: str, levels: Sequence[object] | None = None, target: str | None = None,
    level: str | None = None, margin: float = 0.05, truth: Phantom | None = None, control: Predictor | None = None, seed: int = 0,
) -> Shortcut:  # fmt: skip
    """Set a suspect, such as a marker, both ways on the same patients, all else held, and see whether the classifier's chance moves.

    It *uses it* when the whole interval lies beyond the margin, *does not* when the whole interval lies within and patients are enough (72 for a
    margin of .05), and is *undecided* otherwise; a p-value alone would call any effect significant, given enough patients.

    Args:
        editor: shows the patients both ways; None with `truth` alone.
        patients: whom neither classifier nor editor has learnt from; at most 256 are taken, in their order.
        factor, levels: the suspect, and the two values it is set to; of a category with two levels, those.
        target, level: whose predicted chance is followed; the classifier's only category and its last level.
        margin: change of the chance that would matter.
        truth: the phantom that drew the patients: its exact twins give the true effect.
        control: a classifier that was taught without the shortcut.
        seed: of the resampling.
    Raises:
        SchemaError: unknown factor or values; the suspect is the target itself.
        LeakageError: a patient whom a classifier or the editor learnt from.
        DataError: neither editor nor truth, fewer than 10 patients, a margin that is not in 0..1.

    Example:
        sk.shortcut(clf, gen, test, factor="marker", target="effusion", truth=chest)
    """
    target, level, both, models = _checked(classifier, editor, patients, factor, levels, target, level, margin, truth, control)
    few = patients[where_it_applies(factor, patients, most=MOST)]
    shows = showing(few, editor and inverted(editor, few), truth)
    rows = effects(models, shows, factor, both, f"p_{target}_{level}", margin=margin, seed=seed)
    title = f"Does {target} = {level} hang on {factor}, {both[0]} or {both[1]}?"
    return Shortcut(title, pd.DataFrame(rows), _said(few, margin, editor, truth, control), margin=margin)


def _checked(
    classifier: Predictor, editor: Generator | None, patients: Cohort, factor: str, levels: Sequence[object] | None, target: str | None, level: str | None,
    margin: float, truth: Phantom | None, control: Predictor | None,
) -> tuple[str, str, tuple[object, object], dict[str, Predictor]]:  # fmt: skip
    require_kind("patients", patients, Cohort, "a cohort, as sk.load(...) answers")
    suspect = patients.schema[factor]
    target, level, models = checked_models(classifier, control, truth, patients, target, level, margin)
    require_kind("editor", editor, (Generator, type(None)), "a fitted generator that can edit, or None with truth=")
    if editor is None and truth is None:
        raise DataError("shortcut needs an editor, or truth=, the phantom that drew the patients")
    if factor == target:
        raise SchemaError(f"factor: {factor} is what the classifier predicts; name the suspect, such as a marker")
    if levels is None and isinstance(suspect, Category) and len(suspect.levels) == 2:
        levels = suspect.levels
    if levels is None or isinstance(levels, str) or len(levels) != 2 or levels[0] == levels[1]:
        raise SchemaError(f"levels={levels!r}: give the two values that {factor} is to be set to")
    suspect.check(pd.Series(list(levels), dtype=object))
    if editor is not None:
        editor.require_unseen(patients)
        after(editor, patients[:1], {factor: levels[0]})
    return target, level, (levels[0], levels[1]), models


def _said(patients: Cohort, margin: float, editor: Generator | None, truth: Phantom | None, control: Predictor | None) -> tuple[str, ...]:
    count = patients.table["patient_id"].nunique()
    said = [what_decides(margin)]
    if count < ENOUGH:
        said.append(f"{count} patients, under {ENOUGH}: expect 'undecided'.")
    if editor is not None and truth is None:
        said.append("The twins are edits: an editor that changes more than the suspect makes an innocent classifier look guilty. See sk.soundness.")
    if control is None:
        said.append("No control: give control=, a classifier taught without the shortcut, to see what the method says of an innocent one.")
    return (*said, *patients.notes)
