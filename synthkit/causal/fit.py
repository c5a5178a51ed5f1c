"""Fits every factor's mechanism to the rows in which the factor and its parents are known."""
from typing import Any

import numpy as np
import pandas as pd

from synthkit.causal.codes import coded, complete, known, table_of
from synthkit.causal.features import PENALTY, Candidate, CumulativeLogit, Predictor, candidates, simplest
from synthkit.causal.graph import CausalGraph
from synthkit.causal.learned import NORMAL, LocationScale, OrderedLevels, Shape
from synthkit.causal.mechanisms import Mechanism
from synthkit.causal.noise import Array
from synthkit.causal.scm import SCM
from synthkit.core import randomness
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Factor, Quantity
from synthkit.errors import FitError

ROWS_PER_COLUMN = 10
# Where values pile up at an end of the range, what would lie beyond it is filled in again this many times.
ROUNDS = 15
FEW = 0.002


def fit(graph: CausalGraph, source: pd.DataFrame | Cohort) -> SCM:
    """The structural causal model learnt from a table; see `CausalGraph.fit`."""
    schema, table, mechanisms = graph.schema, complete(graph.schema, table_of(source)), {}
    for factor in schema.factors:
        names = graph.parents(factor.name)
        values = coded(factor, table[factor.name])
        rows = ~np.isnan(values) & known(schema, table, names)
        causes = [coded(schema[name], table[name])[rows] for name in names]
        codes = np.stack(causes, 1) if causes else np.zeros((rows.sum(), 0))
        mechanisms[factor.name] = learn(factor, values[rows], codes, tuple(schema[name] for name in names))
    return SCM(graph, mechanisms)


def learn(factor: Factor, values: Array, codes: Array, parents: tuple[Factor, ...]) -> Mechanism:
    """The mechanism of `factor`.

    Args:
        values: (N,) codes of the factor. codes: (N, P) codes of its parents, NaN where one does not apply.
    Raises:
        FitError: too few rows.
    """
    levels = tuple(len(parent.levels) if isinstance(parent, Category) else 0 for parent in parents)
    needed = ROWS_PER_COLUMN * (2 + sum(max(1, count - 1) for count in levels))
    if len(values) < needed:
        among = f" and its parents ({', '.join(parent.name for parent in parents)})" if parents else ""
        raise FitError(f"{factor.name}: {len(values)} rows know it{among}; {needed} are needed. Give more rows, or name fewer parents")
    choices = candidates(codes, levels)
    return location_scale(factor, values, codes, choices) if isinstance(factor, Quantity) else ordered_levels(factor, values, codes, choices)


def ordered_levels(factor: Category, values: Array, codes: Array, choices: list[Candidate]) -> OrderedLevels:
    """A multinomial or, where the order of the levels explains more, a cumulative logistic model; a level that no row has gets probability 0."""
    from sklearn.base import clone
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(values.astype(int))
    place = np.searchsorted(seen, values.astype(int))
    choices = _with_parents(choices)

    def surprise(model: Any, columns: Array) -> float:
        chosen = model.predict_proba(columns)[np.arange(len(place)), place]
        return float(-2 * np.log(np.maximum(chosen, 1e-300)).sum())

    # A root's shares are the counts themselves, and a single level has nothing to regress.
    plain = len(seen) == 1 or not choices[0].width
    model = DummyClassifier(strategy="prior") if plain else LogisticRegression(C=PENALTY, max_iter=1000)
    found = [simplest(choices, lambda columns: clone(model).fit(columns, place), surprise, steps=len(seen) - 1)]
    if len(seen) > 2 and not plain:
        found.append(simplest(choices, lambda columns: CumulativeLogit.fit(columns, place), surprise))
    return OrderedLevels(min(found, key=lambda predictor: predictor.bic), tuple(seen.tolist()), len(factor.levels))


def location_scale(factor: Quantity, values: Array, codes: Array, choices: list[Candidate]) -> LocationScale:
    """Location and scale regressions and the law of the residual.

    Values that pile up at an end of the range are taken as cut off there: the part beyond is drawn from the fitted mechanism and the
    fit repeated until it agrees with itself (stochastic EM, Celeux and Diebolt 1985).
    """
    under, over = values <= factor.low, values >= factor.high
    draws = randomness.generator(0, "fit", f"factor.{factor.name}").random(len(values))
    # A cut-off lower tail would look like the skew of a logarithm.
    logs = bool(len(choices) > 1 and values.min() > 0 and under.mean() < FEW) and _logs_fit_better(values, codes, choices)
    latent, weights = values, np.ones(len(values))
    for _ in range(ROUNDS if under.any() or over.any() else 2):
        scaled = np.log(latent) if logs else latent
        location = _location(scaled, choices, weights)
        residuals = scaled - location(codes)
        variance = _variance(residuals, choices)
        weights = 1 / variance(codes)
        mechanism = LocationScale(location, variance, Shape.of(residuals * np.sqrt(weights)), logs)
        latent = _uncut(mechanism, values, codes, under, over, draws)
    return mechanism


def _logs_fit_better(values: Array, codes: Array, choices: list[Candidate]) -> bool:
    return bool(_misfit(np.log(values), codes, choices) + 2 * np.log(values).sum() < _misfit(values, codes, choices))


def _misfit(values: Array, codes: Array, choices: list[Candidate]) -> float:
    """Minus twice the normal log likelihood, up to a constant."""
    residuals = values - _location(values, choices, np.ones(len(values)))(codes)
    variance = _variance(residuals, choices)(codes)
    return float(np.sum(np.log(variance) + residuals**2 / variance))


def _location(values: Array, choices: list[Candidate], weights: Array) -> Predictor:
    from sklearn.linear_model import Ridge

    weights = weights / weights.mean()

    def surprise(model: Ridge, columns: Array) -> float:
        return float(len(values) * np.log(np.average((values - model.predict(columns)) ** 2, weights=weights) + 1e-300))

    return simplest(_with_parents(choices), lambda columns: Ridge(alpha=0.1).fit(columns, values, sample_weight=weights), surprise)


def _variance(residuals: Array, choices: list[Candidate]) -> Predictor:
    """Gamma regression of the squared residuals: for normal ones the likelihood itself."""
    from sklearn.dummy import DummyRegressor
    from sklearn.linear_model import GammaRegressor

    squares = residuals**2 + 1e-6 * np.mean(residuals**2) + 1e-300

    def surprise(model: GammaRegressor | DummyRegressor, columns: Array) -> float:
        variance = model.predict(columns)
        return float(np.sum(np.log(variance) + squares / variance))

    def fit(columns: Array) -> GammaRegressor | DummyRegressor:
        model = GammaRegressor(alpha=1e-4, max_iter=1000) if columns.any() else DummyRegressor()
        return model.fit(columns, squares)

    return simplest(choices[:3], fit, surprise)


def _with_parents(choices: list[Candidate]) -> list[Candidate]:
    """The designs that use the parents: a declared cause is never dropped for being weak."""
    return choices[1:] or choices


def _uncut(mechanism: LocationScale, values: Array, codes: Array, under: Array, over: Array, draws: Array) -> Array:
    """The values, with those at an end of the range replaced by ones drawn from beyond it."""
    from scipy.special import ndtri

    latent = values.copy()
    for rows, sign in ((under, 1), (over, -1)):
        if rows.any():
            parents = tuple(codes[rows].T)
            nearest, farthest = mechanism.noises(values[rows], values[rows], *parents)
            edge = (farthest if sign > 0 else nearest) * sign
            noise = sign * ndtri(draws[rows] * NORMAL.below(edge))
            latent[rows] = mechanism.value(noise, *parents)
    return latent
