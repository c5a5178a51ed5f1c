"""Bias audit of a classifier: figures per group and intersection, gaps tested against chance, and edits of the attribute itself."""
from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.kinds import require_kind
from synthkit.core.randomness import generator
from synthkit.core.schema import Schema
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.contrasts import contrasts, require_editable
from synthkit.studies.audit.editing import Editing, Truth
from synthkit.studies.audit.figures import Figures
from synthkit.studies.audit.gaps import gap_frame
from synthkit.studies.audit.groups import attributes, crossed, group_labels
from synthkit.studies.audit.intervention import Intervention, intervene
from synthkit.studies.audit.judged import Judged, patient_weights
from synthkit.studies.audit.measures import MEASURES
from synthkit.studies.audit.notes import caveats
from synthkit.studies.audit.null import permutation_null
from synthkit.studies.audit.observed import Observed
from synthkit.studies.audit.outcome import Outcome
from synthkit.studies.audit.result import Audit
from synthkit.studies.audit.threshold import Threshold, frozen
from synthkit.tasks.predictor import Predictor


def audit(
    clf: Predictor, test: Cohort, *, by: Sequence[str] | str | None = None, target: str | None = None, target_level: str | None = None,
    intersections: bool = True, valid: Cohort | None = None, threshold: float | None = None, sensitivity: float | None = None,
    min_positives: int = 10, times: int = 400, permutations: int = 1_000, alpha: float = 0.05,
    editor: Generator | None = None, flip: Sequence[str] | None = None, truth: Truth | None = None, edits: int = 128, seed: int = 0,
) -> Audit:  # fmt: skip
    """How well a classifier does in each group, which gaps are more than chance, and what the attribute itself does.

    A gap leads to a verdict in TPR, FPR and AUC, which compare groups at equal truth: unequal prevalence accuses nobody. The null
    hypothesis exchanges the groups of patients of equal truth; the p values hold for all attributes, pairs and these measures together.

    Args:
        clf: a fitted classifier, or `Predictor.of(module, ...)`.
        test: patients it was not trained on, with the true values.
        by: columns to group by, factors or other categorical columns; the schema's sensitive ones if left out. Quantities are cut
            where the schema says.
        target, target_level: what is audited and which level is positive; needed for several targets, or for more than two levels.
        intersections: also the groups of each pair of attributes.
        valid: patients that choose the threshold (largest Youden index, or `sensitivity` reached), before `test` is looked at.
        threshold: given instead; without either it is 0.5.
        min_positives: fewest patients with a positive image (a negative one for FPR, both for AUC, Brier and ECE) for a group to
            get a number; 0 shows all.
        times: bootstrap resamples of the patients.
        permutations: of the groups.
        alpha: chance of any false accusation.
        editor: a generator that can edit; it sets each factor of `flip` on some images, the others held.
        flip: factors to edit; the factors among `by` that the editor knows if left out.
        truth: the phantom's `counterfactual`, for exact effects beside the edited ones.
        edits: images that are edited, drawn at random.
        seed: of every random choice.
    Raises:
        LeakageError: test patients whom the classifier or the editor was trained on, or who are in `valid`.
        SchemaError: an unknown column, target or level; a factor that the editor does not know.
        AbilityError: an editor without an encoder.
        DataError: one truth alone in `test`, or settings that do not fit together.

    Example:
        bias = sk.audit(clf, test, by=["sex", "age"], valid=valid)
    """
    require_kind("clf", clf, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("test", test, Cohort, "a cohort, as sk.load(...) answers")
    require_kind("editor", editor, (Generator, type(None)), "a fitted generator, as sk.Generator.load(folder) answers")
    outcome = Outcome.of(clf, target, target_level)
    _require_settings(min_positives, times, permutations, alpha, edits)
    names = attributes(by, test, outcome.target)
    labels = crossed(group_labels(test, names)) if intersections else group_labels(test, names)
    _require_unseen(outcome, clf, test, valid)
    chosen_flip = _flips(names, test, editor, flip, truth)
    limit = frozen(outcome, clf, valid=valid, threshold=threshold, sensitivity=sensitivity)
    chance, positive, known = _read(outcome, clf, test)
    shown, columns = test[known], labels[known].reset_index(drop=True)
    judged = Judged.of(chance, positive, shown.table["patient_id"].to_numpy(), threshold=limit.value)
    figures, gaps = assessed(judged, columns, test.schema, fewest=min_positives, times=times, permutations=permutations, alpha=alpha, seed=seed)
    edited = _edited(chosen_flip, editor, clf, outcome, shown, chance, positive, limit, truth, times=times, edits=edits, seed=seed)
    notes = caveats(figures, gaps, columns, limit, test=test, blank=int((~known).sum()), alpha=alpha, permutations=permutations)
    title, used = f"Bias audit of {outcome}, tested on {test.provenance.source}", {"test": test} | ({} if valid is None else {"valid": valid})
    return Audit(title, figures.frame(), notes, differences=gaps, intervention=edited, cohorts=used)


def assessed(
    judged: Judged, labels: pd.DataFrame, schema: Schema, *, fewest: int, times: int, permutations: int, alpha: float, seed: int
) -> tuple[Figures, pd.DataFrame]:  # fmt: skip
    """Figures and gaps of predictions that are there already, grouped by columns of labels in the order that the images were given in."""
    groupings = [Attribute.of(labels[name], judged, schema, MEASURES, fewest=fewest) for name in labels]
    figures = Figures.of(judged, groupings, MEASURES, times=times, fewest=fewest, seed=seed)
    null = permutation_null(judged, groupings, [m for m in MEASURES if m.accuses], permutations=permutations, seed=seed)
    return figures, gap_frame(figures, null, alpha=alpha)


def _require_settings(min_positives: int, times: int, permutations: int, alpha: float, edits: int) -> None:
    if min_positives < 0 or times < 50 or edits < 2:
        raise DataError(f"min_positives={min_positives}, times={times}, edits={edits}: give 0 or more, 50 or more, and 2 or more")
    if not 0 < alpha < 1 or permutations + 1 < 1 / alpha:
        raise DataError(f"alpha={alpha}, permutations={permutations}: alpha must lie in 0..1 and permutations be at least 1/alpha, or no gap can ever be shown")


def _require_unseen(outcome: Outcome, clf: Predictor, test: Cohort, valid: Cohort | None) -> None:
    outcome.known(clf, test)
    clf.require_unseen(test)
    if valid is not None:
        require_disjoint(valid, test, names=("valid", "test"))


def _read(outcome: Outcome, clf: Predictor, test: Cohort) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chance and truth of the images whose true value is known, and which those are; DataError where only one value occurs."""
    chance, positive, known = outcome.read(clf, test)
    if positive.all() or not positive.any():
        raise DataError(f"test: {outcome.target} has only one of its values among {len(positive)} images, so nothing can be audited; give a wider cohort")
    return chance, positive, known


def _flips(names: Sequence[str], test: Cohort, editor: Generator | None, flip: Sequence[str] | None, truth: Truth | None) -> tuple[str, ...]:
    if editor is None:
        if flip is not None or truth is not None:
            raise DataError("flip= and truth= belong to edits; give editor= as well")
        return ()
    if flip is None:
        flip = [name for name in names if name in editor.schema and name in test.schema]
    chosen = (flip,) if isinstance(flip, str) else tuple(flip)
    if not chosen:
        raise DataError(f"flip: nothing to edit; the editor knows none of {', '.join(names)}, only {', '.join(editor.schema.names)}")
    require_editable(editor, test, chosen)
    for name in chosen:
        contrasts(test, name)
    return chosen


def _edited(
    flip: Sequence[str], editor: Generator | None, clf: Predictor, outcome: Outcome, shown: Cohort, chance: np.ndarray, positive: np.ndarray,
    limit: Threshold, truth: Truth | None, *, times: int, edits: int, seed: int,
) -> Intervention | None:  # fmt: skip
    if editor is None:
        return None
    weights = patient_weights(shown.table["patient_id"].to_numpy(), times=times, rng=generator(seed, "audit", "observed"))
    everyone = Observed(chance, positive, group_labels(shown, flip), limit.value, weights)
    editing = Editing(editor, clf, outcome, limit.value, truth, times, seed)
    return intervene(editing, shown, everyone, flip, images=edits)
