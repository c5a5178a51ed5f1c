"""Which attribution methods find what a classifier is known to rely on?"""
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.kinds import require_kind
from synthkit.core.result import Tabled
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.explanation.attribution import explained
from synthkit.explanation.log_odds import LogOdds
from synthkit.explanation.maps import POINTING, baselines, likeness, strengths
from synthkit.explanation.methods import METHODS, allowed, attributed, labelled
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

HEADLINE = "auprc"
FEWEST = 10
TIMES = 500
POINTS, NO_BETTER, BLIND = "points at it", "no better than a map that knows nothing", "hardly depends on the classifier"
SAME = 0.9  # rank correlation with the map of a randomised classifier, from which on a map hardly depends on it


@dataclass(frozen=True, eq=False, repr=False)
class Scorecard(Tabled):
    """One row per method and baseline: how well its maps point at the region, with 95 % intervals, n, and a verdict."""

    def passing(self) -> list[str]:
        """The methods that surely point better than every baseline, and that change when the classifier does."""
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
    exceeds that of every map that knows nothing of the classifier (noise, edges, the change itself), and when its map changes once the
    classifier's weights are drawn anew (Adebayo et al. 2018).

    Args:
        patients: films of the phantom; those that `relies_on` changes are taken.
        do: what the twins differ in: `relies_on` and at least one more factor.
        relies_on: the factor that the classifier is known to rely on.
        truth: the phantom that drew the patients.
        methods: as for `sk.explain`; left out, all that the classifier allows.
        target, level: whose score is explained.
        seed: of the noise map, of the randomised weights, and of the intervals.
    Raises:
        SchemaError: `do` lacks `relies_on` or a second factor; unknown factor, target or level.
        DataError: fewer than 10 patients whom `relies_on` changes.
        AbilityError: an unknown method, or one that the classifier does not allow.

    Example:
        sk.scorecard(clf, films, do={"marker": "absent", "effusion": "absent"}, relies_on="marker", truth=chest)
    """
    target, level, column = _checked(classifier, patients, do, relies_on, truth, methods, target, level)
    region = truth.change_mask(patients, {relies_on: do[relies_on]})
    changed = region.flatten(1).any(1).numpy()
    if changed.sum() < FEWEST:
        raise DataError(f"{relies_on} → {do[relies_on]} changes {int(changed.sum())} of {len(patients)} images, and {FEWEST} are needed; give more patients")
    patients, region = patients[np.flatnonzero(changed)], region[torch.from_numpy(changed)].flatten(1).numpy()
    twins = truth.counterfactual(patients, dict(do))
    x, twin, names = patients.images.tensor(), twins.images.tensor(), patients.table["image_id"].astype(str).tolist()
    module, device = LogOdds(classifier.module.eval(), *column), classifier.device
    regions = labelled(truth.masks(patients), patients)
    chosen = methods or allowed(module, x[:1], twin[:1], regions[:1], device=device)
    maps = {name: strengths(attributed(name, module, x, twin, device=device, regions=regions)) for name in chosen}
    plain = {name: strengths(found) for name, found in baselines(x, twin, names=names, seed=seed).items()}
    other = randomised(module, seed=seed)
    again = {name: strengths(attributed(name, other, x, twin, device=device, regions=regions)) for name in chosen} if other else {}
    units = patients.table["patient_id"].to_numpy()
    rows = [_row(name, found, region, plain, again.get(name), units, seed) for name, found in maps.items()]
    rows += [{**_measured(found, region, units, seed), "method": name, "kind": "baseline", "verdict": ""} for name, found in plain.items()]
    first = ["method", "kind", "verdict", "n", HEADLINE, f"{HEADLINE}_low", f"{HEADLINE}_high"]
    frame = pd.DataFrame(rows)
    frame = frame[[*first, *(name for name in frame.columns if name not in first)]]
    title = f"Which maps find {relies_on}, on which P({target} = {level}) rests, beside {', '.join(name for name in do if name != relies_on)}?"
    return Scorecard(title, frame, _said(float(region.mean()), other is None))


def randomised(module: LogOdds, *, seed: int) -> LogOdds | None:
    """A copy with all its weights drawn anew; None where the layers have no weights, or do not say how they are drawn."""
    other = deepcopy(module)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        drawn = [part.reset_parameters() is None for part in other.modules() if isinstance(part, nn.Module) and hasattr(part, "reset_parameters")]
    return other if drawn else None


def _row(
    name: str, found: np.ndarray, region: np.ndarray, plain: Mapping[str, np.ndarray], again: np.ndarray | None, units: np.ndarray, seed: int
) -> dict[str, Any]:  # fmt: skip
    score = POINTING[HEADLINE]
    own, others = score(found, region), {label: score(values, region) for label, values in plain.items()}
    rival = max(others, key=lambda label: others[label].mean())
    ahead = own - others[rival]
    low, high = bootstrap(lambda rows: float(ahead[rows].mean()), units, times=TIMES, seed=seed)
    alike = float(likeness(found, again).mean()) if again is not None else float("nan")
    verdict = BLIND if alike > SAME else POINTS if low > 0 else NO_BETTER
    compared = {"against": rival, "difference": float(ahead.mean()), "diff_low": low, "diff_high": high, "like_randomised": alike}
    return {"method": name, "kind": "method", "verdict": verdict, **_measured(found, region, units, seed), **compared}


def _measured(found: np.ndarray, region: np.ndarray, units: np.ndarray, seed: int) -> dict[str, Any]:
    row: dict[str, Any] = {"n": len(np.unique(units))}
    for name, score in POINTING.items():
        each = score(found, region)
        row[name] = float(each.mean())
        row[f"{name}_low"], row[f"{name}_high"] = bootstrap(lambda rows, each=each: float(each[rows].mean()), units, times=TIMES, seed=seed)
    return row


def _checked(
    classifier: Predictor, patients: Cohort, do: Mapping[str, Any], relies_on: str, truth: Phantom, methods: Sequence[str] | None, target: str | None,
    level: str | None,
) -> tuple[str, str, tuple[slice, int]]:  # fmt: skip
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("patients", patients, Cohort, "films of the phantom, as a cohort")
    require_kind("do", do, Mapping, 'what the twins differ in, such as {"marker": "absent", "effusion": "absent"}')
    require_kind("truth", truth, Phantom, "the phantom that drew the patients")
    if relies_on not in do or len(do) < 2:
        raise SchemaError(f"do={dict(do)!r} must set {relies_on!r}, on which the classifier relies, and at least one factor more, for the maps to tell apart")
    patients.schema.do(patients.table, do)
    unknown = [name for name in methods or () if name not in METHODS]
    if unknown:
        raise AbilityError(f"unknown attribution method {unknown[0]!r}; there are {', '.join(METHODS)}")
    classifier.require_unseen(patients)
    return explained(classifier, target, level)


def _said(area: float, weightless: bool) -> tuple[str, ...]:
    said = [
        f"The region holds {area:.1%} of the pixels on average: a map of noise reaches that AUPRC.",
        "The twins are exact, so that methods are scored and not an editor; the classifier's reliance is taken as known.",
        "A passing method passed here, on this classifier and this region: no promise for others.",
    ]
    return (*said, "This classifier has no weights to draw anew: whether maps depend on it is not assessed.") if weightless else tuple(said)
