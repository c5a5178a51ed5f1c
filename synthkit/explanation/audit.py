"""The whole audit of a classifier's reasons: is the editor sound, what does each factor do, and do attribution maps say so?"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.result import Section, Tabled
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.explanation.attribution import explain, explained
from synthkit.explanation.counterfactual import counterfactual
from synthkit.explanation.edits import FEWEST
from synthkit.explanation.effects import both_ways, edits_of
from synthkit.explanation.gate import Gate
from synthkit.explanation.shapley import agreement
from synthkit.explanation.shortcut import MOST, USES, effects, showing
from synthkit.explanation.soundness import Soundness, soundness
from synthkit.generators.editing import inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NOT_ASSESSED = "not assessed"
CASES, TOGETHER = 5, 64  # images of the cases, and of the comparison with exact contributions, at most
JOINED = 4  # factors of the comparison with attribution maps, the strongest first


@dataclass(frozen=True, eq=False, repr=False)
class ExplanationAudit(Tabled):
    """One row per factor, source of the twins, and classifier: the effect of setting it both ways, and the verdict.

    Args:
        sound: the editor's own soundness, that the factors were admitted by.
        parts: further sections: what attribution maps say beside exact contributions, and cases.
    """

    sound: Soundness | None = None
    parts: tuple[Section, ...] = field(default_factory=tuple)

    @property
    def sections(self) -> list[Section]:
        """All of it, for `sk.Report(title, audit.sections)`."""
        return [self, *([self.sound] if self.sound else []), *self.parts]

    def uses(self) -> list[str]:
        """The factors that the classifier in question surely answers to."""
        rows = self.rows[(self.rows["classifier"] == "in question") & (self.rows["verdict"] == USES)]
        return list(dict.fromkeys(rows["factor"]))

    def figure(self) -> "Figure":
        """The effects with their intervals (red: no effect)."""
        from synthkit.core.figures import interval_plot

        rows = self.rows[self.rows["effect"].notna()]
        group = rows["factor"] + ", " + rows["twins"] + (", " + rows["classifier"] if rows["classifier"].nunique() > 1 else "")
        shown = rows.rename(columns={"effect": "value"}).assign(metric="change of the predicted chance", group=group, floor=0.0)
        return interval_plot(shown, title=self.title, names=("effect", "none"))


def explanation_audit(
    classifier: Predictor, generator: Generator, patients: Cohort, *, factors: Sequence[str] | None = None, methods: Sequence[str] | None = None,
    target: str | None = None, level: str | None = None, truth: Phantom | None = None, judge: Predictor | None = None, control: Predictor | None = None,
    gate: Gate | None = None, margin: float = 0.05, count: int = 48, seed: int = 0,
) -> ExplanationAudit:  # fmt: skip
    """Ask a classifier for its reasons by edits, after the editor itself has been examined.

    First the editor: edits of every factor, both ways, are scored as `sk.soundness` does, and a factor passes when both pass
    the gate. Then the effects: every factor that passed is set both ways on the same patients (a category's two levels,
    a quantity's 10 % and 90 % quantiles), and `sk.shortcut` says whether the classifier uses it. Then, with the exact truth, whether
    attribution maps agree with what the strongest factors contribute (`sk.agreement`). Then cases with their attributions.

    Args:
        patients: whom neither classifier nor generator nor judge learnt from; 100 or more decide most effects.
        factors: to set; left out, all that the patients show in two values or more, but the target.
        methods: of attribution, as for `sk.explain`; left out, all that the classifier allows.
        target, level: whose predicted chance is followed.
        truth: the phantom that drew the patients.
        judge: without the truth, a predictor of the factors that learnt from other patients: it examines the editor.
        control: a classifier that was taught without the suspected shortcut.
        gate: what an edit must reach; `Gate()` when left out.
        margin: change of the chance that would matter.
        count: images per edit that examine the editor.
    Raises:
        AbilityError: no factor passes the gate: the editor cannot be trusted with this question.
        LeakageError: a patient whom one of them learnt from.
        DataError, SchemaError: as `sk.soundness` and `sk.shortcut`.

    Example:
        audit = sk.explanation_audit(clf, gen, patients, truth=chest, factors=["marker", "site", "sex"])
    """
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("generator", generator, Generator, "a fitted generator that can edit")
    require_kind("patients", patients, Cohort, "a cohort, as sk.load(...) answers")
    target, level, _ = explained(classifier, target, level)
    for model in (classifier, control):
        if model is not None:
            model.require_unseen(patients)
    values = both_ways(generator.schema, patients, factors, but=target)
    if not values:
        raise SchemaError(f"no factor to set: name factors= that editor and patients both know; the editor knows {', '.join(generator.schema.names)}")
    sound = soundness(generator, patients, truth=truth, judge=judge, edits=edits_of(values), count=count, seed=seed)
    faults = (gate or Gate()).faults(sound, list(values))
    passed = {name: both for name, both in values.items() if not faults[name]}
    if not passed:
        first = next(iter(faults))
        raise AbilityError(f"the editor fails its gate for every factor (first: {first}: {faults[first]}), so that its answers would say nothing of the "
                           "classifier. A longer training or more images mend it; sk.soundness shows by how much, and gate= sets what it must reach.")  # fmt: skip
    few, chance = patients[:MOST], f"p_{target}_{level}"
    shows, found = showing(inverted(generator, few), truth), []
    for name, both in passed.items():
        told = effects(classifier, control, shows, few, name, both, chance, margin=margin, seed=seed)
        found += [{"factor": name, "from": both[0], "to": both[1], **row} for row in told]
    left = [{"factor": name, "classifier": "in question", "twins": "edited", "verdict": f"{NOT_ASSESSED}: {why}"} for name, why in faults.items() if why]
    rows = pd.DataFrame([*found, *left])
    parts, notes = _parts(classifier, generator, patients, passed, rows, methods, target, level, truth, seed)
    return ExplanationAudit(f"What does {target} = {level} hang on?", rows, (*_said(margin, faults, truth), *notes), sound, parts)


def _parts(
    classifier: Predictor, generator: Generator, patients: Cohort, passed: Mapping[str, tuple[object, object]], rows: pd.DataFrame,
    methods: Sequence[str] | None, target: str, level: str, truth: Phantom | None, seed: int,
) -> tuple[tuple[Section, ...], list[str]]:  # fmt: skip
    """Attribution beside exact contributions where the truth is known, cases of the strongest factor, and what was left out."""
    own = rows[(rows["classifier"] == "in question") & rows["effect"].notna()]
    strongest = own.assign(size=own["effect"].abs()).sort_values("size", ascending=False)["factor"].drop_duplicates().tolist()
    parts, notes = list[Section](), list[str]()
    do, rows_of = _joint(patients, passed, strongest)
    if truth is not None and len(do) > 1:
        try:
            parts.append(agreement(classifier, patients[rows_of[:TOGETHER]], do=do, truth=truth, methods=methods, target=target, level=level, seed=seed))
        except DataError as error:
            notes.append(f"Maps were not compared with exact contributions: {error}.")
    name = strongest[0]
    do, rows_of = _joint(patients, passed, [name])
    twin = counterfactual(generator, patients[rows_of[:CASES]], do)
    shown = [one for one in methods or ("IntegratedGradients", "Occlusion") if one != "FeatureAblation"]
    return (*parts, explain(classifier, twin, methods=shown, target=target, level=level)), notes


def _joint(patients: Cohort, passed: Mapping[str, tuple[object, object]], names: Sequence[str]) -> tuple[dict[str, object], np.ndarray]:
    """A value for each of as many of the factors, the first ones first, as enough patients differ in together, and those patients' rows."""
    do: dict[str, object] = {}
    together = np.ones(len(patients), bool)
    for name in names[:JOINED]:
        column = patients.table[name]
        value, differ = max(((value, (column.notna() & column.ne(value)).to_numpy() & together) for value in passed[name]), key=lambda pair: int(pair[1].sum()))
        if differ.sum() >= 2 * FEWEST or not do:
            do[name], together = value, differ
    return do, np.flatnonzero(together)


def _said(margin: float, faults: Mapping[str, str], truth: Phantom | None) -> tuple[str, ...]:
    said = [f"'uses it' and 'does not' need the whole 95 % interval beyond {margin:g}, or within it; direct effects, all other factors held."]
    if any(faults.values()):
        said.append("Factors that the editor cannot change well enough are not assessed: an unsound edit makes an innocent classifier look guilty.")
    if truth is None:
        said.append("Without exact truth the editor is examined by a judge with errors of its own, and effects carry the editor's faults.")
    return tuple(said)
