"""The whole audit of a classifier's reasons: is the editor sound, what does each factor do, and do attribution maps say so?"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.result import Section, Tabled
from synthkit.errors import AbilityError, DataError
from synthkit.explanation.attribution import explain
from synthkit.explanation.counterfactual import counterfactual
from synthkit.explanation.effects import USES, checked_models, chosen_factors, effects, showing, what_decides, where_it_applies
from synthkit.explanation.gate import UNREAD, Gate
from synthkit.explanation.methods import require_methods
from synthkit.explanation.shapley import Agreement, agreement
from synthkit.explanation.shortcut import MOST
from synthkit.explanation.soundness import Soundness, soundness
from synthkit.generators.editing import inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

NOT_ASSESSED = "not assessed"
CASES, TOGETHER = 5, 64  # images of the cases, and of the comparison with exact contributions, at most
JOINED = 4  # factors of that comparison, the strongest first
ENOUGH = 20  # patients who differ in all of them


@dataclass(frozen=True, eq=False, repr=False)
class ExplanationAudit(Tabled):
    """One row per factor, source of the twins, and classifier: the effect of setting it both ways, and the verdict.

    Args:
        sound: the editor's own soundness, that the factors were admitted by.
        agreement: attribution maps beside exact contributions, where the truth is known.
        cases: images of the strongest factor, with their attributions.
    """

    sound: Soundness | None = None
    agreement: Agreement | None = None
    cases: Section | None = None

    @property
    def sections(self) -> list[Section]:
        """All of it, for `sk.Report(title, audit.sections)`."""
        return [section for section in (self, self.sound, self.agreement, self.cases) if section is not None]

    def uses(self) -> list[str]:
        """The factors that the classifier in question surely answers to, by the exact twins where there are some."""
        last = self.rows[self.rows["classifier"] == "in question"].groupby("factor", sort=False).tail(1)
        return last.loc[last["verdict"] == USES, "factor"].tolist()

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
    a quantity's 10 % and 90 % quantiles), and the verdict is that of `sk.shortcut`. Then, with the exact truth, whether attribution
    maps agree with what the strongest factors contribute (`sk.agreement`). Then cases with their attributions.

    Args:
        patients: whom neither classifier nor generator nor judge learnt from; 100 or more decide most effects, and at most 256 are taken.
        factors: to set; left out, all that always apply and vary among the patients, but the target and categories of more than two levels.
            Quantities need the truth: a judge's error has no share to be gated by.
        methods: of attribution, as for `sk.explain`; left out, all that the classifier allows are compared, and cases show IntegratedGradients.
        target, level: whose predicted chance is followed.
        truth: the phantom that drew the patients.
        judge: without the truth, a predictor of the factors and the target that learnt from other patients: it examines the editor.
        control: a classifier that was taught without the suspected shortcut.
        gate: what an edit must reach; `Gate()` when left out.
        margin: change of the chance that would matter.
        count: images per edit that examine the editor.
    Raises:
        AbilityError: no factor passes the gate: the editor cannot be trusted with this question. An unknown attribution method.
        LeakageError: a patient whom one of them learnt from.
        DataError, SchemaError: as `sk.soundness` and `sk.shortcut`; a factor that cannot be set both ways.

    Example:
        audit = sk.explanation_audit(clf, gen, patients, truth=chest, factors=["marker", "site", "sex"])
    """
    target, level, models = checked_models(classifier, control, truth, patients, target, level, margin)
    require_kind("generator", generator, Generator, "a fitted generator that can edit")
    require_kind("gate", gate, (Gate, type(None)), "thresholds, such as sk.Gate(r2_delta=0.5)")
    require_methods(methods)
    generator.require_editable("edit")
    if isinstance(judge, Predictor) and judge.module is classifier.module:
        raise DataError("judge: it is the classifier in question, which cannot examine the editor that examines it; give another, of other patients")
    if truth is None and isinstance(judge, Predictor) and target not in judge.schema:
        raise DataError(f"judge: it reads {', '.join(judge.schema.names)} and not {target}, so that an edit which changes {target} along would convict an "
                        f"innocent classifier; give a judge that was taught {target} too")  # fmt: skip
    values = chosen_factors(generator, patients, factors, but=target)
    edits = [{name: value} for name, both in values.items() for value in both]
    sound = soundness(generator, patients, truth=truth, judge=judge, edits=edits, count=count, seed=seed)
    faults = (gate or Gate()).faults(sound, values)
    require_one(faults)
    passed = {name: both for name, both in values.items() if not faults[name]}
    few, rows = patients[:MOST], list[dict[str, object]]()
    start = inverted(generator, few)
    for name, both in passed.items():
        place = where_it_applies(name, few)
        told = effects(models, showing(few[place], start.only(place), truth), name, both, f"p_{target}_{level}", margin=margin, seed=seed)
        rows += [{"factor": name, "from": both[0], "to": both[1], **row} for row in told]
    rows += [{"factor": name, "classifier": "in question", "twins": "edited", "verdict": f"{NOT_ASSESSED}: {why}"} for name, why in faults.items() if why]
    frame = pd.DataFrame(rows)
    strongest = _strongest(frame)
    maps, notes = _maps(classifier, few, passed, strongest, truth, dict(methods=methods, target=target, level=level, seed=seed))
    do, place = _joint(few, passed, strongest[:1])
    chosen = [name for name in methods or () if name != "FeatureAblation"] or ["IntegratedGradients"]
    cases = explain(classifier, counterfactual(generator, few[place[:CASES]], do), methods=chosen, target=target, level=level)
    title = f"What does {target} = {level} hang on?"
    return ExplanationAudit(title, frame, (*_said(margin, faults, truth), *notes), sound, maps, cases, cohorts={"test": patients})


def require_one(faults: Mapping[str, str]) -> None:
    """Raise AbilityError where no factor passed the gate."""
    if all(faults.values()):
        every = "; ".join(f"{name}: {why}" for name, why in faults.items())
        said = f"the editor fails its gate for every factor ({every}), so that its answers would say nothing of the classifier"
        mend = "More steps of the solver, gen.using(steps=12), mend a large round trip, longer training or more images the rest; gate= sets what it must reach."
        raise AbilityError(f"{said}. {'Give categories among factors=, or truth=.' if set(faults.values()) == {UNREAD} else mend}")


def _strongest(rows: pd.DataFrame) -> list[str]:
    """The factors by the size of their effect on the classifier in question, largest first."""
    own = rows[(rows["classifier"] == "in question") & rows["effect"].notna()]
    return own.assign(size=own["effect"].abs()).sort_values("size", ascending=False)["factor"].drop_duplicates().tolist()


def _maps(
    classifier: Predictor, patients: Cohort, passed: Mapping[str, tuple[object, object]], strongest: Sequence[str], truth: Phantom | None,
    asked: Mapping[str, object],
) -> tuple[Agreement | None, list[str]]:  # fmt: skip
    """Attribution beside exact contributions, or why not."""
    if truth is None:
        return None, []
    do, place = _joint(patients, passed, strongest)
    if len(do) < 2:
        return None, [f"Attribution maps were not compared with exact contributions: no two factors in which {ENOUGH} patients differ together."]
    try:
        return agreement(classifier, patients[place[:TOGETHER]], do=do, truth=truth, **asked), []  # type: ignore[arg-type]
    except DataError as error:
        return None, [f"Attribution maps were not compared with exact contributions: {error}."]


def _joint(patients: Cohort, passed: Mapping[str, tuple[object, object]], names: Sequence[str]) -> tuple[dict[str, object], np.ndarray]:
    """A value for each of as many of the factors, the first ones first, as enough patients differ in together, and those patients' rows."""
    do: dict[str, object] = {}
    together = np.ones(len(patients), bool)
    for name in names[:JOINED]:
        column = patients.table[name]
        differs = {value: (column.notna() & column.ne(value)).to_numpy() & together for value in passed[name]}
        value = max(differs, key=lambda one: int(differs[one].sum()))
        if differs[value].sum() >= ENOUGH or not do:
            do[name], together = value, differs[value]
    return do, np.flatnonzero(together)


def _said(margin: float, faults: Mapping[str, str], truth: Phantom | None) -> tuple[str, ...]:
    said = [f"{what_decides(margin)} Direct effects, all other factors held."]
    if any(faults.values()):
        said.append("Factors that the editor cannot change well enough are not assessed: an unsound edit makes an innocent classifier look guilty.")
    if truth is None:
        said.append("Without exact truth the editor is examined by a judge with errors of its own, and effects carry the editor's faults.")
    return tuple(said)
