"""What each factor truly contributes to a classifier's answer, by exact counterfactuals, and whether attribution maps agree."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.result import Tabled
from synthkit.errors import SchemaError
from synthkit.explanation.log_odds import log_odds
from synthkit.explanation.maps import likeness, mass
from synthkit.explanation.study import MapStudy, checked_study, map_study
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST = 6  # factors: twice as many pictures for each more
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
    target, level, place = checked_study(classifier, patients, do, truth, methods, target, level)
    if not 2 <= len(do) <= MOST:
        raise SchemaError(f"do sets {len(do)} factor(s): 2 to {MOST} are needed, and each more doubles the pictures")
    masks = [truth.change_mask(patients, {name: value}).flatten(1) for name, value in do.items()]
    rows = torch.stack([mask.any(1) for mask in masks]).all(0).numpy().nonzero()[0]
    study, regions = map_study(classifier, patients[rows], do, truth, place, methods, seed=seed), [mask.numpy()[rows] for mask in masks]

    def score(part: Mapping[str, Any]) -> np.ndarray:
        shown = truth.counterfactual(study.patients, dict(part)) if part else study.patients
        return log_odds(classifier.outputs(shown.images.tensor()), *place)[:, 0].numpy().astype(float)

    contributions, plain = shapley(score, do), study.plain()
    alike = {name: _alike(one, regions, np.abs(contributions)) for name, one in {**study.maps(), **plain}.items()}
    told = [_row(study, "contribution (log-odds)", name, contributions[:, i]) for i, name in enumerate(do)]
    told += [_compared(study, name, each, {} if name in plain else {label: alike[label] for label in plain}) for name, each in alike.items()]
    title = f"Do maps agree with what {', '.join(do)} contribute to P({target} = {level})?"
    return Agreement(title, pd.DataFrame(told), _said(len(do)), contributions)


def shapley(score: Callable[[Mapping[str, Any]], np.ndarray], do: Mapping[str, Any]) -> np.ndarray:
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
    return likeness(np.stack([mass(strength, region) for region in regions], 1), sizes)


def _row(study: MapStudy, part: str, name: str, each: np.ndarray) -> dict[str, Any]:
    value, low, high = study.mean(each)
    return {"part": part, "name": name, "value": value, "low": low, "high": high, "n": len(np.unique(study.units))}


def _compared(study: MapStudy, name: str, each: np.ndarray, plain: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A row of a map, with how far it is ahead of the nearest map that knows nothing; that one has none to be compared with."""
    row = {**_row(study, "rank correlation with it", name, each), "verdict": ""}
    if not plain:
        return row
    ahead = {label: study.mean(each - other) for label, other in plain.items()}
    nearest = min(ahead, key=lambda label: ahead[label][1])
    row |= {"against": nearest, "ahead_low": ahead[nearest][1], "ahead_high": ahead[nearest][2]}
    return {**row, "verdict": AGREES if row["low"] > 0 and row["ahead_low"] > 0 else NOT_SHOWN}


def _said(count: int) -> tuple[str, ...]:
    return (
        f"Contributions are Shapley values over all {2**count} subsets of the factors, each picture drawn by the phantom; "
        "they add up to the log-odds that the twin loses.",
        "Pixels that two factors change count for both, and a method is judged on the order of a few factors only: read n and the intervals.",
    )
