"""What is measured of an edit: against its exact twin, against itself, and in the eyes of a judge."""
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch

from synthkit.core.schema import Category, Schema
from synthkit.explanation.edits import Edit
from synthkit.explanation.exactness import pooled_skill, skill
from synthkit.explanation.making import Made
from synthkit.tasks.predictor import Predictor

Statistic = Callable[[np.ndarray], float]
GREY = 127.5  # grey levels of 0..255 per image unit
RARE = 0.1  # least spread of a chance: that of a finding which hardly anybody has says nothing


def against_truth(made: Made, changed: torch.Tensor) -> dict[str, Statistic]:
    """Statistics of rows where the exact twin is known.

    r2_delta and its baselines; TEA (Monteiro et al. 2023): `tea_e`, how far the edit goes along the true change, 1 is right, and
    `tea_a`, how far beside it, in lengths of the true change, 0 is right: r2_delta = 1 - (1 - tea_e)² - tea_a². `outside_l1` is
    the mean error in grey levels (0..255) where the truth changes nothing, `outside_max` the mean over images of the largest there.

    Args:
        changed: (N, [D,] H, W) bool, where the noise-free truth changes.
    """
    exact, start = made.exact, made.start
    true, shown = ((image - start).double().flatten(1) for image in (exact, made.edited))
    along, length, moved = ((a * b).sum(1).numpy() for a, b in ((true, shown), (true, true), (shown, shown)))
    error = ((made.edited - exact).abs().mean(1) * GREY).flatten(1).numpy()
    still = ~changed.flatten(1).numpy()
    each = skill(made.edited, start, exact)

    def beside(rows: np.ndarray) -> float:
        whole = length[rows].sum()
        return float(np.sqrt(max(0.0, moved[rows].sum() / whole - (along[rows].sum() / whole) ** 2)))

    return {
        "r2_delta": pooled_skill(made.edited, start, exact), "r2_delta_median": lambda rows: float(np.nanmedian(each[rows])),
        "r2_delta_redraw": pooled_skill(made.redraw, start, exact), "r2_delta_neighbour": _known(made.neighbour, start, exact),
        "tea_e": lambda rows: float(along[rows].sum() / length[rows].sum()), "tea_a": beside,
        "outside_l1": lambda rows: float(error[rows][still[rows]].mean()),
        "outside_max": lambda rows: float(np.where(still[rows], error[rows], 0).max(1).mean()),
    }  # fmt: skip


def _known(neighbour: torch.Tensor, start: torch.Tensor, exact: torch.Tensor) -> Statistic:
    """The pooled skill over the rows that have a neighbour."""
    there = ~torch.isnan(neighbour).flatten(1).any(1).numpy()
    score = pooled_skill(neighbour, start, exact)
    return lambda rows: score(rows[there[rows]]) if there[rows].any() else float("nan")


def against_itself(made: Made) -> dict[str, Statistic]:
    """Mean absolute raw errors in grey levels (0..255): to the latent and back, and to the other value and back."""
    trip, back = ((image - made.start).abs().flatten(1).mean(1).numpy() * GREY for image in (made.raw, made.back))
    return {"composition_raw": lambda rows: float(trip[rows].mean()), "reversibility_raw": lambda rows: float(back[rows].mean())}


def effective(judge: Predictor, edit: Edit, predicted: pd.DataFrame) -> tuple[str, Statistic]:
    """Whether the judge reads the wanted value: the share of images read so, or the mean absolute error."""
    factor = judge.schema[edit.factor]
    if isinstance(factor, Category):
        chances = predicted[[f"p_{factor.name}_{level}" for level in factor.levels]].to_numpy()
        hit = chances.argmax(1) == factor.levels.index(str(edit.value))
        return "share read as asked", lambda rows: float(hit[rows].mean())
    miss = np.abs(predicted[factor.name].to_numpy() - float(edit.value))
    return f"mean absolute error ({factor.unit or 'no unit'})", lambda rows: float(miss[rows].mean())


def leakage(judge: Schema, before: pd.DataFrame, shown: pd.DataFrame, like: pd.DataFrame, skip: Mapping[str, object]) -> tuple[float, str]:
    """The largest mean shift of what the judge reads of another factor, in its standard deviations (0.1 at least for a chance), and which that is.

    Args:
        before: readings whose spread is the unit.
        shown: of the edits; like: of what they should read as, the exact twins or else the originals.
        skip: factors that were set, or that hang on them.
    """
    shifts = {}
    for factor in judge.factors:
        if factor.name in skip or set(factor.when) & set(skip):
            continue
        levels = [f"p_{factor.name}_{level}" for level in factor.levels] if isinstance(factor, Category) else [factor.name]
        for column in levels:
            spread = max(float(before[column].std()), RARE) if isinstance(factor, Category) else float(before[column].std())
            if spread > 0:
                shift = abs(float((shown[column] - like[column]).mean())) / spread
                shifts[factor.name] = max(shift, shifts.get(factor.name, 0.0))
    name = max(shifts, key=shifts.__getitem__, default="")
    return (shifts[name], name) if name else (float("nan"), "")
