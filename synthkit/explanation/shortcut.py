"""Does a classifier use a shortcut? The effect of setting the suspect on its answer, held against a margin that matters."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.result import Tabled
from synthkit.core.schema import Category
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.attribution import explained
from synthkit.generators.editing import Inverted, inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Show = Callable[[Cohort, Mapping[str, object]], Cohort]
USES, DOES_NOT, UNDECIDED = "uses it", "does not", "undecided"
ENOUGH = 100  # patients, below which the answer is rarely decided
MOST = 256
TIMES = 1000


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

    It *uses it* when the whole interval lies beyond the margin, *does not* when the whole interval lies within, and is *undecided*
    otherwise; a p-value alone would call any effect significant, given enough patients.

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
    target, level, both = _checked(classifier, editor, patients, factor, levels, target, level, margin, truth, control)
    few = patients[:MOST]
    shows = showing(editor and inverted(editor, few), truth)
    rows = effects(classifier, control, shows, few, factor, both, f"p_{target}_{level}", margin=margin, seed=seed)
    title = f"Does {target} = {level} hang on {factor}, {both[0]} or {both[1]}?"
    return Shortcut(title, pd.DataFrame(rows), _said(few, margin, editor, truth, control), margin=margin)


def showing(start: Inverted | None, truth: Phantom | None) -> dict[str, Show]:
    """The ways to see patients with a factor set: by edits of their inverted images, and exactly."""
    shows: dict[str, Show] = {}
    if start is not None:
        shows["edited"] = lambda patients, do: start.edit(do)
    if truth is not None:
        shows["exact"] = truth.counterfactual
    return shows


def effects(
    classifier: Predictor, control: Predictor | None, shows: Mapping[str, Show], patients: Cohort, factor: str, both: Sequence[object], chance: str, *,
    margin: float, seed: int,
) -> list[dict[str, object]]:  # fmt: skip
    """One row per way of showing the patients and classifier: how much its chance moves from the first value to the second."""
    rows: list[dict[str, object]] = []
    for name, show in shows.items():
        twins = [show(patients, {factor: value}) for value in both]
        for who, model in (("control", control), ("in question", classifier)):
            if model is not None:
                rows.append({"classifier": who, "twins": name, **_effect(model, twins, chance, patients, margin, seed)})
    return rows


def decided(low: float, high: float, margin: float) -> str:
    """What an interval of an effect says, given the margin that matters."""
    if low > margin or high < -margin:
        return USES
    return DOES_NOT if -margin <= low and high <= margin else UNDECIDED


def _effect(model: Predictor, twins: Sequence[Cohort], name: str, patients: Cohort, margin: float, seed: int) -> dict[str, object]:
    first, second = (model.predict(twin)[name].to_numpy() for twin in twins)
    change, units = second - first, patients.table["patient_id"].to_numpy()
    low, high = bootstrap(lambda rows: float(change[rows].mean()), units, times=TIMES, seed=seed)
    return {"effect": float(change.mean()), "low": low, "high": high, "n": len(np.unique(units)), "margin": margin, "verdict": decided(low, high, margin)}


def _checked(
    classifier: Predictor, editor: Generator | None, patients: Cohort, factor: str, levels: Sequence[object] | None, target: str | None, level: str | None,
    margin: float, truth: Phantom | None, control: Predictor | None,
) -> tuple[str, str, tuple[object, object]]:  # fmt: skip
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("editor", editor, (Generator, type(None)), "a fitted generator that can edit, or None with truth=")
    require_kind("patients", patients, Cohort, "a cohort, as sk.load(...) answers")
    require_number("margin", margin, "a change of the chance that would matter, between 0 and 1")
    if editor is None and truth is None:
        raise DataError("shortcut needs an editor, or truth=, the phantom that drew the patients")
    if not 0 < margin < 1 or patients.table["patient_id"].nunique() < 10:
        raise DataError(f"margin={margin}, {patients.table['patient_id'].nunique()} patients: a margin between 0 and 1 and 10 patients or more are needed")
    target, level, _ = explained(classifier, target, level)
    if factor == target:
        raise SchemaError(f"factor: {factor} is what the classifier predicts; name the suspect, such as a marker")
    suspect = patients.schema[factor]
    if levels is None and isinstance(suspect, Category) and len(suspect.levels) == 2:
        levels = suspect.levels
    if levels is None or isinstance(levels, str) or len(levels) != 2 or levels[0] == levels[1]:
        raise SchemaError(f"levels={levels!r}: give the two values that {factor} is to be set to")
    suspect.check(pd.Series(list(levels), dtype=object))
    for one in (classifier, control, editor):
        if one is not None:
            one.require_unseen(patients)
    if control is not None:
        explained(control, target, level)
    if editor is not None:
        editor.edit(patients[:1], {factor: levels[0]})
    return target, level, (levels[0], levels[1])


def _said(patients: Cohort, margin: float, editor: Generator | None, truth: Phantom | None, control: Predictor | None) -> tuple[str, ...]:
    count = patients.table["patient_id"].nunique()
    said = [f"An effect matters here beyond {margin:g}; 'uses it' and 'does not' need the whole 95 % interval beyond it, or within."]
    if count < ENOUGH:
        said.append(f"{count} patients, under {ENOUGH}: expect 'undecided'.")
    if editor is not None and truth is None:
        said.append("The twins are edits: an editor that changes more than the suspect makes an innocent classifier look guilty. See sk.soundness.")
    if control is None:
        said.append("No control: give control=, a classifier taught without the shortcut, to see what the method says of an innocent one.")
    return tuple(said)
