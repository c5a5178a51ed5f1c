"""A judge for small cohorts: straight lines on the features of an encoder, where a network of its own would only memorise."""
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Factor
from synthkit.metrics.features import Features
from synthkit.tasks.predictor import Predictor

SOFTNESS = 1.0  # inverse L2 strength of the logistic regressions, on features of mean spread 1


class _Probe(nn.Module):
    """Features and one linear layer; its outputs are those of every factor predictor."""

    def __init__(self, extract: Callable[[torch.Tensor], torch.Tensor], weight: np.ndarray, bias: np.ndarray):
        super().__init__()
        self.extract = extract
        self.linear = nn.Linear(weight.shape[1], weight.shape[0])
        self.linear.load_state_dict({"weight": torch.from_numpy(weight).float(), "bias": torch.from_numpy(bias).float()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.extract(x).flatten(1).float().to(self.linear.weight.device))


def fit_probe(cohort: Cohort, names: tuple[str, ...], eyes: Features) -> Predictor:
    """Logistic regression per category and ridge regression per quantity, as one Predictor.

    The features are brought to one mean spread together, not each to its own: an encoder's whitening is meant.
    """
    features = eyes.of(cohort).numpy()
    mean, spread = features.mean(0), features.std(0).mean() + 1e-6
    schema = cohort.schema.only(names)
    lines = [_line(factor, (features - mean) / spread, cohort) for factor in schema.factors]
    weight, bias = np.concatenate([w for w, _ in lines]), np.concatenate([b for _, b in lines])
    # Standardising is folded into the line.
    weight = weight / spread
    module = _Probe(eyes.extract, weight, bias - weight @ mean).eval().requires_grad_(False)
    return Predictor(module, schema, cohort.space, frozenset(cohort.table["patient_id"]), {"source": cohort.provenance.source, "kind": "linear probe"})


def _line(factor: Factor, features: np.ndarray, cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Weight (width, d) and bias (width,) of one factor over the rows where it is known."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    values = cohort.table[factor.name]
    known = values.notna().to_numpy()
    if not isinstance(factor, Category):
        line = RidgeCV(alphas=(1e1, 1e2, 1e3, 1e4)).fit(features[known], factor.code(values[known])[:, 0])
        return line.coef_[None], np.array([line.intercept_])
    line = LogisticRegression(C=SOFTNESS, max_iter=2000).fit(features[known], values[known].astype(str))
    weight, bias = np.zeros((factor.width, features.shape[1])), np.full(factor.width, -1e4)
    # Two classes come as one line between them; levels that never occur stay out of reach.
    two = len(line.classes_) == 2
    slopes = np.stack([0 * line.coef_[0], line.coef_[0]]) if two else line.coef_
    heights = np.array([0.0, line.intercept_[0]]) if two else line.intercept_
    for level, slope, height in zip(line.classes_, slopes, heights):
        place = factor.levels.index(level)
        weight[place], bias[place] = slope, height
    return weight, bias
