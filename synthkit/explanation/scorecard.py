"""Which attribution methods find what a classifier is known to rely on?"""
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import generator
from synthkit.core.result import Tabled
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.log_odds import LogOdds
from synthkit.explanation.maps import POINTING, likeness
from synthkit.explanation.study import FEWEST, MapStudy, checked_study, map_study
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEADLINE = "auprc"
POINTS, NO_BETTER, BLIND = "points at it", "no better than a map that knows nothing", "no better than with shuffled weights"


@dataclass(frozen=True, eq=False, repr=False)
class Scorecard(Tabled):
    """One row per method and baseline: how well its maps point at the region, with 95 % intervals, n, and a verdict."""

    def passing(self) -> list[str]:
        """The methods that surely point better than every baseline, and better than with shuffled weights."""
        return self.rows.loc[self.rows["verdict"] == POINTS, "method"].tolist()

    def figure(self) -> "Figure":
        """The headline measure with its intervals (red: the best baseline)."""
        from synthkit.core.figures import interval_plot

        best = float(self.rows.loc[self.rows["kind"] == "baseline", HEADLINE].max())
        ends = {"value": self.rows[HEADLINE], "low": self.rows[f"{HEADLINE}_low"], "high": self.rows[f"{HEADLINE}_high"]}
        shown = pd.DataFrame({"metric": "AUPRC of the known region", "group": self.rows["method"], **ends, "floor": best})
        return interval_plot(shown, title=self.title, names=("map", "best baseline"))


def scorecard(
    classifier: Predictor, patients: Cohort, *, do: Mapping[str, Any], relies_on: str, truth: Phantom, methods: Sequence[str] | None = None,
    target: str | None = None, level: str | None = None, seed: int = 0,
) -> Scorecard:  # fmt: skip
    """Score attribution methods where the answer is known: a classifier of known reliance, exact twins, and known regions.

    The twins differ in several factors at once, and the classifier relies on one: a method must tell that one's pixels from those
    that change beside it, so that taking the twin as baseline is not enough. It passes when its average precision surely
    exceeds that of every map that knows nothing of the classifier (noise, edges, the change itself), and its own for
    the classifier with shuffled weights (after Adebayo et al. 2018).

    Args:
        patients: films of the phantom; those that `relies_on` changes are taken.
        do: what the twins differ in: `relies_on` and at least one more factor.
        relies_on: the factor that the classifier is known to rely on.
        truth: the phantom that drew the patients.
        methods: as for `sk.explain`; left out, all that the classifier allows.
        target, level: whose score is explained.
        seed: of the noise map, of the shuffling, and of the intervals.
    Raises:
        SchemaError: `do` lacks `relies_on` or a second factor; unknown factor, target or level.
        DataError: fewer than 10 patients whom `relies_on` changes; films of another size than the classifier's.
        AbilityError: an unknown method, or one that the classifier does not allow.

    Example:
        sk.scorecard(clf, films, do={"marker": "absent", "effusion": "absent"}, relies_on="marker", truth=chest)
    """
    target, level, place = checked_study(classifier, patients, do, truth, methods, target, level)
    if relies_on not in do or len(do) < 2:
        raise SchemaError(f"do={dict(do)!r} must set {relies_on!r}, on which the classifier relies, and at least one factor more, for the maps to tell apart")
    mask = truth.change_mask(patients, {relies_on: do[relies_on]})
    rows = mask.flatten(1).any(1).numpy().nonzero()[0]
    if len(rows) < FEWEST:
        raise DataError(f"{relies_on} → {do[relies_on]} changes {len(rows)} of {len(patients)} images, and {FEWEST} are needed; give more patients")
    study, region = map_study(classifier, patients[rows], do, truth, place, methods, seed=seed), mask[torch.from_numpy(rows)].flatten(1).numpy()
    plain, other = study.plain(), shuffled(study.module, seed=seed)
    again = study.maps(other) if other is not None else {}
    scored = [_row(study, name, found, region, plain, again.get(name)) for name, found in study.maps().items()]
    scored += [{"method": name, "kind": "baseline", "verdict": "", **_measured(study, found, region)} for name, found in plain.items()]
    title = f"Which maps find {relies_on}, on which P({target} = {level}) rests, beside {', '.join(name for name in do if name != relies_on)}?"
    return Scorecard(title, pd.DataFrame(scored), _said(float(region.mean()), weightless=other is None))


def shuffled(module: LogOdds, *, seed: int) -> LogOdds | None:
    """A copy whose weights have changed places within each of its tensors; None for one without weights."""
    other = deepcopy(module)
    with torch.no_grad():
        for name, weights in other.named_parameters():
            order = generator(seed, "shuffled", name).permutation(weights.numel())
            weights.copy_(weights.flatten()[torch.from_numpy(order).to(weights.device)].reshape(weights.shape))
    return other if any(weights.numel() > 1 for weights in other.parameters()) else None


def _row(
    study: MapStudy, name: str, found: np.ndarray, region: np.ndarray, plain: Mapping[str, np.ndarray], again: np.ndarray | None
) -> dict[str, Any]:  # fmt: skip
    score = POINTING[HEADLINE]
    own = score(found, region)
    ahead = {label: study.mean(own - score(values, region)) for label, values in plain.items()}
    nearest = min(ahead, key=lambda label: ahead[label][1])
    difference, low, high = ahead[nearest]
    row = {"method": name, "kind": "method", "verdict": POINTS if low > 0 else NO_BETTER, **_measured(study, found, region)}
    row |= {"against": nearest, "difference": difference, "diff_low": low, "diff_high": high}
    if again is None:
        return row
    difference, low, high = study.mean(own - score(again, region))
    row |= {"over_shuffled": difference, "over_shuffled_low": low, "over_shuffled_high": high, "like_shuffled": float(likeness(found, again).mean())}
    return row if low > 0 or row["verdict"] == NO_BETTER else {**row, "verdict": BLIND}


def _measured(study: MapStudy, found: np.ndarray, region: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"n": len(np.unique(study.units))}
    for name, score in POINTING.items():
        row[name], row[f"{name}_low"], row[f"{name}_high"] = study.mean(score(found, region))
    return row


def _said(area: float, *, weightless: bool) -> tuple[str, ...]:
    said = (
        f"The region holds {area:.1%} of the pixels on average: a map of noise reaches that AUPRC.",
        "The twins are exact, so that methods are scored and not an editor; the classifier's reliance is taken as known.",
        "A passing method passed here, on this classifier and this region: no promise for others.",
    )
    return (*said, "This classifier has no weights to shuffle: whether maps depend on it is not assessed.") if weightless else said
