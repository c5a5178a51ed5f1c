"""What each factor truly contributes to a classifier's answer, by exact counterfactuals, and whether attribution maps agree."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.kinds import require_kind
from synthkit.core.result import Tabled
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.explanation.attribution import explained
from synthkit.explanation.log_odds import LogOdds, log_odds
from synthkit.explanation.maps import baselines, strengths
from synthkit.explanation.methods import METHODS, allowed, attributed, labelled
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 6  # factors: twice as many pictures for each more
FEWEST = 10
TIMES = 500
AGREES, NOT_SHOWN = "agrees", "not shown"


@dataclass(frozen=True, eq=False, repr=False)
class Agreement(Tabled):
    """One row per factor with its exact contribution, then one per method with the rank correlation of its maps with those contributions.

    Args:
        contributions: (N, factors) Shapley values in log-odds; a row adds up to the log-odds that the twin loses.
    """

    contributions: np.ndarray | None = None

    def figure(self) -> "Figure":
        """Both parts with their intervals (red: none)."""
        from synthkit.core.figures import interval_plot

        return interval_plot(self.rows.rename(columns={"part": "metric", "name": "group"}).assign(floor=0.0), title=self.title, names=("value", "none"))


def agreement(
    classifier: Predictor, patients: Cohort, *, do: Mapping[str, Any], truth: Phantom, methods: Sequence[str] | None = None, target: str | None = None,
    level: str | None = None, seed: int = 0,
) -> Agreement:  # fmt: skip
    """Exact Shapley values of factors (Shapley 1953; over all subsets of `do`, each drawn by the phantom) beside the mass of attribution maps
    in the pixels that each factor changes.

    For any classifier, whatever it relies on: a method agrees when the rank correlation, over the factors of an image, of its mass
    in each factor's pixels with the size of that factor's contribution is surely above 0 and above that of maps that know nothing.

    Args:
        patients: films of the phantom; those whom every factor of `do` changes are taken.
        do: 2 to 6 factors and the values of the twin.
        methods: as for `sk.explain`; left out, all that the classifier allows.
    Raises:
        SchemaError: fewer than 2 factors or more than 6, an unknown one, an unknown target or level.
        DataError: fewer than 10 patients whom every factor changes.
        AbilityError: an unknown method, or one that the classifier does not allow.

    Example:
        sk.agreement(clf, films, do={"effusion": "absent", "marker": "absent", "heart_ratio": 0.45}, truth=chest)
    """
    target, level, column = _checked(classifier, patients, do, truth, methods, target, level)
    masks = {name: truth.change_mask(patients, {name: value}) for name, value in do.items()}
    every = torch.stack([mask.flatten(1).any(1) for mask in masks.values()]).all(0).numpy()
    if every.sum() < FEWEST:
        raise DataError(f"every factor of do changes only {int(every.sum())} of {len(patients)} images together, and {FEWEST} are needed; choose them with .where(...)")
    patients, regions = patients[np.flatnonzero(every)], {name: mask[torch.from_numpy(every)].flatten(1).numpy() for name, mask in masks.items()}

    def score(part: Mapping[str, Any]) -> np.ndarray:
        shown = truth.counterfactual(patients, dict(part)) if part else patients
        return log_odds(classifier.outputs(shown.images.tensor()), *column)[:, 0].numpy().astype(float)

    contributions = shapley(score, do)
    x, twin = patients.images.tensor(), truth.counterfactual(patients, dict(do)).images.tensor()
    module, device, organs = LogOdds(classifier.module.eval(), *column), classifier.device, labelled(truth.masks(patients), patients)
    chosen = methods or allowed(module, x[:1], twin[:1], organs[:1], device=device)
    found = {name: strengths(attributed(name, module, x, twin, device=device, regions=organs)) for name in chosen}
    plain = {name: strengths(one) for name, one in baselines(x, twin, names=patients.table["image_id"].astype(str).tolist(), seed=seed).items()}
    units = patients.table["patient_id"].to_numpy()
    rows = [_mean("contribution (log-odds)", name, contributions[:, i], units, seed) for i, name in enumerate(do)]
    alike = {name: _alike(one, list(regions.values()), np.abs(contributions)) for name, one in {**found, **plain}.items()}
    best = max(plain, key=lambda name: alike[name].mean())
    for name, each in alike.items():
        row = _mean("rank correlation with it", name, each, units, seed)
        ahead = each - alike[best]
        row["ahead_low"], row["ahead_high"] = bootstrap(lambda chosen, ahead=ahead: float(ahead[chosen].mean()), units, times=TIMES, seed=seed)
        row["against"] = best
        row["verdict"] = "" if name in plain else AGREES if row["low"] > 0 and row["ahead_low"] > 0 else NOT_SHOWN
        rows.append(row)
    title = f"Do maps agree with what {', '.join(do)} contribute to P({target} = {level})?"
    return Agreement(title, pd.DataFrame(rows), _said(len(do)), contributions)


def shapley(score: Any, do: Mapping[str, Any]) -> np.ndarray:
    """(N, factors) exact Shapley values of `score(none set) - score(all set)`, by all subsets; `score` takes a part of `do`."""
    names, count = list(do), len(do)
    worth = {part: score({name: do[name] for name in part}) for size in range(count + 1) for part in combinations(names, size)}
    columns = []
    for name in names:
        rest = [other for other in names if other != name]
        total = 0.0
        for size in range(count):
            weight = factorial(size) * factorial(count - size - 1) / factorial(count)
            for part in combinations(rest, size):
                joined = tuple(one for one in names if one in (*part, name))
                total = total + weight * (worth[part] - worth[joined])
        columns.append(total)
    return np.stack(columns, 1)


def _alike(strength: np.ndarray, regions: Sequence[np.ndarray], sizes: np.ndarray) -> np.ndarray:
    """(N,) Spearman over the factors of each image between the mass in the pixels of each and the size of its contribution."""
    from scipy.stats import rankdata

    total = np.maximum(strength.sum(1), 1e-12)
    shares = np.stack([(strength * region).sum(1) / total for region in regions], 1)
    first, second = (rankdata(part, axis=1) for part in (shares, sizes))
    first, second = (part - part.mean(1, keepdims=True) for part in (first, second))
    spread = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.where(spread > 0, (first * second).sum(1) / np.maximum(spread, 1e-12), 0.0)


def _mean(part: str, name: str, each: np.ndarray, units: np.ndarray, seed: int) -> dict[str, Any]:
    low, high = bootstrap(lambda rows: float(each[rows].mean()), units, times=TIMES, seed=seed)
    return {"part": part, "name": name, "value": float(each.mean()), "low": low, "high": high, "n": len(np.unique(units))}


def _checked(
    classifier: Predictor, patients: Cohort, do: Mapping[str, Any], truth: Phantom, methods: Sequence[str] | None, target: str | None, level: str | None
) -> tuple[str, str, tuple[slice, int]]:  # fmt: skip
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("patients", patients, Cohort, "films of the phantom, as a cohort")
    require_kind("do", do, Mapping, 'factors and the values of the twin, such as {"marker": "absent", "effusion": "absent"}')
    require_kind("truth", truth, Phantom, "the phantom that drew the patients")
    if not 2 <= len(do) <= MOST:
        raise SchemaError(f"do sets {len(do)} factor(s): 2 to {MOST} are needed, and each more doubles the pictures")
    patients.schema.do(patients.table, do)
    unknown = [name for name in methods or () if name not in METHODS]
    if unknown:
        raise AbilityError(f"unknown attribution method {unknown[0]!r}; there are {', '.join(METHODS)}")
    classifier.require_unseen(patients)
    return explained(classifier, target, level)


def _said(count: int) -> tuple[str, ...]:
    return (
        f"Contributions are Shapley values over all {2**count} subsets of the factors, each picture drawn by the phantom; they add up to the log-odds that the twin loses.",
        "Pixels that two factors change count for both, and a method is judged on the order of a few factors only: read n and the intervals.",
    )
