"""Quality control of every image of a cohort, with limits that real images set."""
from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.space import Space
from synthkit.errors import DataError
from synthkit.metrics.checks.detail import Detail
from synthkit.metrics.checks.duplicates import Duplicates, Whitening, copies, same_integers, shrunk
from synthkit.metrics.checks.exposure import Black, Contrast, OutOfWindow, Saturated
from synthkit.metrics.checks.limits import Limits, limits_frame, limits_of
from synthkit.metrics.checks.measuring import measured
from synthkit.metrics.checks.organs import organ_rules
from synthkit.metrics.checks.orientation import Orientation, Symmetry
from synthkit.metrics.checks.real import RealImages
from synthkit.metrics.checks.result import ImageChecks
from synthkit.metrics.checks.rule import Rule
from synthkit.tasks.organs import OrganFinder

COPIES = Duplicates()
SURE = 0.9


def check(
    cohort: Cohort, *, like: Cohort | None = None, organs: OrganFinder | None = None, rules: Sequence[Rule] = (),
    duplicates: Duplicates = COPIES, seed: int = 0,
) -> ImageChecks:  # fmt: skip
    """A row of quality control per image: what was measured, which rules it fails, and why.

    Args:
        cohort: the images to check, synthetic or real.
        like: real images that set the limits of every rule (at least 12; hundreds for limits worth trusting). Left out,
            only rules with absolute limits can fail: black, saturated, constant, out of the window, copies.
        organs: a fitted segmenter; adds the area and the place of each organ.
        rules: rules of your own; one named as a standard rule stands in its place, such as Detail(low=-45) from
            `synthkit.metrics.checks.detail`.
        duplicates: how copies within the cohort are found, `Duplicates` from `synthkit.metrics.checks.duplicates`.
        seed: of the halves of `like` that the false-alarm rate is measured with.
    Returns:
        ImageChecks: `frame()`, `failing`, `passed()`, `shares()`, `limits`.
    Raises:
        DataError: an empty cohort, other sizes, channels or windows in `like`, too few real images.

    Example:
        qc = sk.check(fake, like=train)
        clean = qc.passed()
    """
    _require_fit(cohort, like, organs)
    chosen = _rules(cohort.space, organs, rules)
    real = None if like is None else RealImages.of(like, chosen, organs=organs, seed=seed)
    limits = [limits_of(rule, None) for rule in chosen] if real is None else real.limits()
    values = measured(cohort, chosen, learnt={} if real is None else real.learnt, organs=organs)
    near = duplicates.limits(None if real is None else real.neighbours())
    small = shrunk(cohort)
    features = Whitening.of(small if real is None else real.small)(small)
    first = same_integers(cohort)
    values["duplicate"], partner = copies(features, cohort.table["patient_id"].to_numpy(), first, near)
    bounds = limits_frame(chosen, limits)
    origin = "given" if duplicates.correlation is not None else "real images" if real is not None else "absolute"
    bounds.loc[len(bounds)] = ("duplicate", -np.inf, near.correlation, origin)
    held_out = None if real is None else real.held_out(duplicates)
    notes = (*_notes(cohort, like, organs, bounds), *(_blind(chosen, real, limits) if real else ()), *cohort.notes)
    return ImageChecks(cohort, chosen, values, partner, partner == first, bounds, like, held_out, notes)


def standard_rules(space: Space) -> tuple[Rule, ...]:
    """The rules that every image of this kind is checked by."""
    turned = [Orientation(axis=-1 - number) for number in range(space.dims)]
    return (Black(), Saturated(), Contrast(), OutOfWindow(), Detail(), Symmetry(), *turned)


def _rules(space: Space, organs: OrganFinder | None, own: Sequence[Rule]) -> tuple[Rule, ...]:
    wrong = [rule for rule in own if not isinstance(rule, Rule)]
    if wrong:
        raise DataError(f"rules: {wrong[0]!r} is no rule; give instances such as Detail(low=-45), or of your own subclass of ImageRule")
    named = {rule.name: rule for rule in (*standard_rules(space), *(organ_rules(organs.organs) if organs else ()), *own)}
    taken = [name for name in named if name in ("image_id", "duplicate", "duplicate_of", "failed")]
    if taken:
        raise DataError(f"rules: no rule can be named {taken[0]!r}, a column of the result; give it another name")
    return tuple(named.values())


def _require_fit(cohort: Cohort, like: Cohort | None, organs: OrganFinder | None) -> None:
    for name, given, kind in (("cohort", cohort, Cohort), ("like", like, Cohort), ("organs", organs, OrganFinder)):
        if given is not None and not isinstance(given, kind):
            raise DataError(f"{name}: a {kind.__name__} is needed, got {type(given).__name__}" + ("; fit it first" if name == "organs" else ""))
    if not len(cohort):
        raise DataError("the cohort is empty: there is no image to check")
    if organs is not None:
        organs.require_fit(cohort)
    if like is None:
        return
    if not cohort.space.matches(like.space):
        raise DataError(f"the cohort and like do not fit together: {cohort.space.difference(like.space)}; load both with the same size=, channels and window=")


def _notes(cohort: Cohort, like: Cohort | None, organs: OrganFinder | None, bounds: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    if like is None:
        unjudged = bounds["rule"][bounds["origin"] == "none"]
        notes.append(f"No real images were given: limits are absolute, and {', '.join(unjudged)} are measured but fail no image.")
    else:
        shared = len(set(cohort.table["patient_id"]) & set(like.table["patient_id"]))
        if shared:
            notes.append(f"{shared} patient(s) stand in both cohorts: their images helped to set the limits that they are checked by.")
        lone = bounds["rule"][bounds["origin"].isin(["none", "absolute"])]
        if len(lone):
            notes.append(f"Too few real images could be measured by {', '.join(lone)} to set limits.")
        if organs is not None and organs.patients & set(like.table["patient_id"]):
            notes.append("The segmenter was trained on patients of like, where it sees better than elsewhere: organ limits may be too narrow.")
    return tuple(notes)


def _blind(rules: Sequence[Rule], real: RealImages, limits: Sequence[Limits]) -> list[str]:
    """What a rule of orientation cannot see: mirrored, a value only changes its sign."""
    notes = []
    for rule, limit in zip(rules, limits):
        if isinstance(rule, Orientation) and limit.origin == "real images":
            found = float(limit.broken(-real.values[rule.name].to_numpy()).mean())
            if found < SURE:
                notes.append(f"{rule.name}: real images hardly tell one side from the other; of mirrored ones this rule would find {found:.0%}.")
    return notes
