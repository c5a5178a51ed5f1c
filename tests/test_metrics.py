"""Metrics against closed forms and reference values, and the contract that each one keeps."""
from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules

import numpy as np
import pytest
import torch

import synthkit.metrics
from synthkit.errors import DataError
from synthkit.metrics.coverage import Coverage
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import METRICS, Metric

for module in iter_modules(synthkit.metrics.__path__):
    import_module(f"synthkit.metrics.{module.name}")
ALL = [METRICS[name]() for name in sorted(METRICS) if not isabstract(METRICS[name]) and METRICS[name].__module__.startswith("synthkit.")]
DISTANCES = [metric for metric in ALL if metric.better == "lower"]
named = {"ids": lambda metric: metric.name}


def rows(*values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(len(values), -1)


def with_moments(mean: list[float], covariance: list[list[float]], count: int = 64) -> torch.Tensor:
    """A set whose sample mean and covariance (N - 1) are exactly these."""
    x = np.random.default_rng(0).normal(size=(count, len(mean)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T).reshape(len(mean), -1))).T
    return torch.from_numpy(x @ np.linalg.cholesky(np.array(covariance)).T + np.array(mean))


def gaussian(count: int, width: int = 6, *, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, scale, (count, width)))


@pytest.mark.parametrize(
    ("real", "fake", "expected"),
    [
        (rows((1, 2), (1, 2), (1, 2)), rows((2, 2), (1, 2), (1, 2)), 4 / 9),
        (with_moments([1], [[4]]), with_moments([3], [[9]]), 5),
        (with_moments([0] * 3, np.diag([1, 4, 9.0])), with_moments([1, 2, 2], np.diag([4, 4, 1.0])), 14),
        (with_moments([1, 2], [[1, 0.5], [0.5, 2]]), with_moments([3, 4], [[2, 0.3], [0.3, 1]]), 8.358545910935216),
    ],
)
def test_frechet_distance_of_known_gaussians(real, fake, expected):
    assert FrechetDistance().compute(real, fake) == pytest.approx(expected, abs=1e-9)
    assert FrechetDistance().compute(fake, real) == pytest.approx(expected, abs=1e-9)


def test_frechet_distance_is_right_with_fewer_images_than_features():
    """Against the matrix square root, where both covariances are singular."""
    x, y = gaussian(7, 20, seed=1).numpy(), gaussian(9, 20, seed=2, shift=0.5).numpy()
    roots = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T))
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * np.sqrt(np.maximum(roots.real, 0)).sum()
    assert FrechetDistance().compute(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("count", "bias", "repeats"), [(32, 5.18, 60), (128, 1.33, 60), (512, 0.330, 30), (2048, 0.0836, 12)])
def test_frechet_distance_has_its_known_bias(count, bias, repeats):
    draws = [FrechetDistance().compute(gaussian(count, 16, seed=2 * i), gaussian(count, 16, seed=2 * i + 1)) for i in range(repeats)]
    assert np.mean(draws) == pytest.approx(bias, rel=0.06)


def test_kid_is_the_unbiased_estimate_of_the_cubic_kernel():
    assert KID().compute(rows(0, 1), rows(1, 2)) == pytest.approx(9.5, abs=1e-12)
    values = [KID().compute(gaussian(20, 4, seed=2 * i), gaussian(20, 4, seed=2 * i + 1)) for i in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 300**0.5, "the mean over equal distributions is zero"
    assert min(values) < 0 < max(values)


@pytest.mark.parametrize(
    ("k", "real", "fake", "expected"),
    [
        (1, rows(0, 1, 2, 10), rows(0.5, 1.5, 9, 30), 1.0),
        (1, rows(0, 1, 2, 10), rows(0.5, 1.5, 30, 40), 0.75),
        (1, rows(0, 1), rows(2), 0.0),  # exactly on the rim of a ball is outside
        (2, rows(0, 1, 3), rows(3.5), 1 / 3),
    ],
)
def test_coverage_of_points_on_a_line(k, real, fake, expected):
    assert Coverage(k=k).compute(real, fake) == expected


def test_coverage_finds_the_mode_that_was_dropped():
    real = torch.cat([gaussian(60, seed=1), gaussian(40, seed=2, shift=20)])
    assert 0.5 < Coverage().compute(real, gaussian(100, seed=3)) <= 0.6
    assert Coverage().compute(real, torch.cat([gaussian(60, seed=4), gaussian(40, seed=5, shift=20)])) > 0.9


def test_coverage_needs_more_images_than_neighbours():
    with pytest.raises(DataError, match=r"Coverage\(k=5\) needs more than 5 real images, got 5"):
        Coverage().compute(gaussian(5, seed=0), gaussian(9, seed=1))


def test_blocks_of_rows_change_nothing(monkeypatch):
    real, fake = gaussian(50, seed=0), gaussian(40, seed=1, shift=0.5)
    whole = Coverage().compute(real, fake)
    monkeypatch.setattr("synthkit.metrics.coverage.BLOCK", 7)
    assert Coverage().compute(real, fake) == whole < 1


def test_all_metrics_are_found():
    assert {"KID", "FrechetDistance", "Coverage"} <= {metric.name for metric in ALL} and all(m.better in ("lower", "higher") for m in ALL)


def collapsed(x: torch.Tensor, amount: float) -> torch.Tensor:
    """A growing share of the rows replaced by the first one."""
    lost = round(len(x) * amount / 3)
    return torch.cat([x[: len(x) - lost], x[:1].expand(lost, -1)])


@pytest.mark.parametrize("metric", ALL, **named)
def test_identical_sets_score_best(metric):
    real = gaussian(120, seed=0)
    itself, others = metric.compute(real, real.clone()), [metric.compute(real, gaussian(120, seed=s)) for s in (1, 2, 3)]
    assert itself <= min(others) + 1e-9 if metric.better == "lower" else itself >= max(others) - 1e-9
    if metric.better == "lower":
        assert itself < 1e-6


@pytest.mark.parametrize("metric", ALL, **named)
@pytest.mark.parametrize("corrupt", [lambda x, a: x + a, lambda x, a: x + a * gaussian(len(x), seed=9), collapsed], ids=["shift", "noise", "collapse"])
def test_growing_corruption_worsens_the_score(metric: Metric, corrupt):
    real, fake = gaussian(150, seed=0), gaussian(150, seed=1)
    scores = [metric.compute(real, corrupt(fake, amount)) for amount in (0.0, 0.9, 1.8, 2.7)]
    assert scores == sorted(scores, reverse=metric.better == "higher") and scores[0] != scores[-1]


@pytest.mark.parametrize("metric", ALL, **named)
def test_the_order_of_rows_does_not_matter(metric):
    real, fake, order = gaussian(80, seed=0), gaussian(70, seed=1, shift=0.3), np.random.default_rng(0)
    shuffled = metric.compute(real[order.permutation(80)], fake[order.permutation(70)])
    assert shuffled == pytest.approx(metric.compute(real, fake), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", DISTANCES, **named)
def test_distances_are_symmetric(metric):
    real, fake = gaussian(80, seed=0), gaussian(70, seed=1, shift=0.3)
    assert metric.compute(real, fake) == pytest.approx(metric.compute(fake, real), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", ALL, **named)
@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_any_kind_of_float_is_taken(metric, kind):
    real, fake = gaussian(80, seed=0), gaussian(70, seed=1, shift=0.3)
    score = metric.compute(real.to(kind), fake.to(kind))
    assert isinstance(score, float) and score == pytest.approx(metric.compute(real, fake), rel=0.02, abs=0.02)


@pytest.mark.parametrize("metric", ALL, **named)
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (gaussian(9, 3, seed=0), gaussian(9, 4, seed=0), "real has 3 features and fake has 4"),
        (gaussian(9, 3, seed=0) * float("nan"), gaussian(9, 3, seed=0), "real: the features hold NaN"),
        (gaussian(9, 3, seed=0), torch.full((9, 3), float("inf")), "fake: the features hold NaN or infinite"),
        (torch.zeros(9), gaussian(9, 3, seed=0), r"real: a feature matrix \(N, d\)"),
        (gaussian(9, 3, seed=0), torch.zeros(0, 3), "fake: a feature matrix"),
    ],
)
def test_features_that_cannot_be_scored_are_refused(metric, real, fake, message):
    with pytest.raises(DataError, match=message):
        metric.compute(real, fake)
