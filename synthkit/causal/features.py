"""Regressions on the parents of a factor, as rich as the data bear out (the richness is chosen by BIC)."""
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from synthkit.causal.noise import Array

KNOTS = 5
# Light: a column of unit spread is drawn to zero as by a normal prior with a standard deviation of three.
PENALTY = 10.0


@dataclass(frozen=True)
class Predictor:
    """A fitted regression: (N, P) parent codes to whatever its model predicts; `bic` is lower for the better of two."""

    design: "Design"
    model: Any
    bic: float

    def __call__(self, codes: Array) -> Array:
        return self.model.predict(self.design(codes))

    def shares(self, codes: Array) -> Array:
        """(N, classes) probabilities, for a classifier."""
        return self.model.predict_proba(self.design(codes))


@dataclass(frozen=True)
class CumulativeLogit:
    """Proportional odds (McCullagh 1980): P(level > k) = sigmoid(slopes x columns - threshold k), fitted to all k at once."""

    model: Any
    steps: int

    @staticmethod
    def fit(columns: Array, levels: Array) -> "CumulativeLogit":
        from sklearn.linear_model import LogisticRegression

        steps = int(levels.max())
        above = (levels > np.arange(steps)[:, None]).ravel()
        return CumulativeLogit(LogisticRegression(C=PENALTY, max_iter=1000).fit(_stacked(columns, steps), above), steps)

    def predict_proba(self, columns: Array) -> Array:
        above = self.model.predict_proba(_stacked(columns, self.steps))[:, 1].reshape(self.steps, -1)
        ends = np.concatenate([np.ones((1, len(columns))), above, np.zeros((1, len(columns)))])
        return np.maximum(ends[:-1] - ends[1:], 0).T


def _stacked(columns: Array, steps: int) -> Array:
    """The rows once per threshold, with a column for each threshold."""
    return np.concatenate([np.tile(columns, (steps, 1)), np.repeat(np.eye(steps), len(columns), 0)], 1)


@dataclass(frozen=True)
class Design:
    """Regression columns made of parent codes.

    Attributes:
        levels: per parent its number of levels, 0 for a quantity.
        centre, spread: per parent, of a quantity.
        gaps: per parent, whether it does not apply in some rows.
        products: whether squares and pairwise products are added to the linear columns.
        splines: per quantity a fitted SplineTransformer; empty without.
    """

    levels: tuple[int, ...]
    centre: Array
    spread: Array
    gaps: Array
    products: bool = False
    splines: tuple[Any, ...] = ()

    @property
    def quantities(self) -> list[int]:
        return [number for number, count in enumerate(self.levels) if not count]

    def __call__(self, codes: Array) -> Array:
        """(N, columns); a value that does not apply is zero in its own columns and one in a column that says so."""
        if not self.levels:
            return np.zeros((len(codes), 1))
        scaled = np.nan_to_num((codes - self.centre) / self.spread, nan=0.0)
        linear = []
        for number, count in enumerate(self.levels):
            linear += [codes[:, number] == level for level in range(1, count)] if count else [scaled[:, number]]
            linear += [np.isnan(codes[:, number])] if self.gaps[number] else []
        if not linear:
            # Parents of a single level say nothing: the intercept alone is left.
            return np.zeros((len(codes), 1))
        columns = [np.asarray(column, float) for column in linear]
        if self.products:
            columns += [columns[a] * columns[b] for a in range(len(linear)) for b in range(a, len(linear))]
        bends = [spline.transform(scaled[:, [number]]) for number, spline in zip(self.quantities, self.splines)]
        return np.concatenate([np.stack(columns, 1), *bends], 1)


@dataclass(frozen=True)
class Candidate:
    """A design, its (N, columns) on the rows that are fitted, and how many of them are independent."""

    design: Design
    columns: Array
    width: int


def candidates(codes: Array, levels: tuple[int, ...]) -> list[Candidate]:
    """From plain to rich, each with columns that the last one lacks, the rich ones with at least ten rows per column.

    No column at all; linear; with squares and products; with splines too (linear outside the data).
    """
    found: list[Candidate] = []
    for design in _designs(codes, levels):
        columns = design(codes)
        width = int(np.linalg.matrix_rank(columns))
        if not found or found[-1].width < width and (width <= len(codes) / 10 or not design.products):
            found.append(Candidate(design, columns, width))
    return found


def _designs(codes: Array, levels: tuple[int, ...]) -> list[Design]:
    from sklearn.preprocessing import SplineTransformer

    nothing = Design((), np.zeros(0), np.ones(0), np.zeros(0, bool))
    if not levels:
        return [nothing]
    quantities = np.flatnonzero(~np.array(levels, bool))
    centre, spread = np.zeros(len(levels)), np.ones(len(levels))
    centre[quantities] = np.nanmean(codes[:, quantities], 0)
    spread[quantities] = np.maximum(np.nanstd(codes[:, quantities], 0), 1e-12)
    linear = Design(levels, centre, spread, np.isnan(codes).any(0))
    scaled = np.nan_to_num((codes - centre) / spread, nan=0.0)
    bends = [SplineTransformer(KNOTS, knots="quantile", extrapolation="linear", include_bias=False) for _ in quantities]
    splines = tuple(spline.fit(scaled[:, [number]]) for number, spline in zip(quantities, bends))
    return [nothing, linear, replace(linear, products=True), replace(linear, products=True, splines=splines)]


def simplest(choices: Iterable[Candidate], fit: Callable[[Array], Any], surprise: Callable[[Any, Array], float], *, steps: int = 1) -> Predictor:
    """The design and model with the lowest BIC (Schwarz 1978).

    Args:
        fit: columns to a fitted model.
        surprise: (model, columns) to minus twice the log likelihood.
        steps: coefficients per column.
    """
    fitted = []
    for choice in choices:
        model = fit(choice.columns)
        score = surprise(model, choice.columns) + steps * choice.width * np.log(len(choice.columns))
        fitted.append(Predictor(choice.design, model, score))
    return min(fitted, key=lambda predictor: predictor.bic)
