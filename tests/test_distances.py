"""Distances and diversity of features against closed forms, reference values of other programs, and brute force."""
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from synthkit.errors import DataError
from synthkit.metrics import distances, kernel, neighbours
from synthkit.metrics.frechet import FrechetDistance, FrechetInfinity
from synthkit.metrics.kernel import KID, MMD
from synthkit.metrics.neighbours import Coverage, Density, Precision, Recall, prdc
from synthkit.metrics.two_sample import C2ST, _shrunk_solve
from synthkit.metrics.vendi import Vendi, vendi


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


@pytest.fixture(scope="module")
def chests(reference):
    """Features of real chest films in float32, train and val, and what other programs found for them."""
    folder = reference / "metrics"
    train, val = (torch.from_numpy(np.load(folder / f"features_{name}.npy")) for name in ("train", "val"))
    return train, val, json.loads((folder / "values.json").read_text())


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
    assert FrechetDistance().compute(real, fake) == pytest.approx(expected, abs=1e-7)
    assert FrechetDistance().compute(fake, real) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("n", "m"), [(7, 9), (7, 40), (40, 7), (20, 20), (20, 60)])
def test_frechet_distance_is_right_with_fewer_images_than_features(n, m):
    """Against the eigenvalues of the product, where covariances are singular."""
    x, y = gaussian(n, 20, seed=1).numpy(), gaussian(m, 20, seed=2, shift=0.5).numpy()
    roots = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T))
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * np.sqrt(np.maximum(roots.real, 0)).sum()
    assert FrechetDistance().compute(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected, abs=2e-6)


def test_frechet_distance_is_right_where_features_depend_on_each_other():
    """Features copied, or constant, leave no Cholesky factor; the distance of what is left is known."""
    x, y = gaussian(50, 3, seed=1), gaussian(60, 3, seed=2, shift=0.5)
    expected = FrechetDistance().compute(x, y)
    padded = [torch.cat([part, torch.full((len(part), 4), 7.0)], 1) for part in (x, y)]
    assert FrechetDistance().compute(*padded) == pytest.approx(expected, abs=1e-6)
    doubled = [torch.cat([part, part], 1) for part in (x, y)]
    assert FrechetDistance().compute(*doubled) == pytest.approx(2 * expected, abs=1e-6)
    assert FrechetDistance().compute(doubled[0], doubled[0]) < 1e-6


@pytest.mark.parametrize(("count", "bias", "repeats"), [(32, 5.18, 60), (128, 1.33, 60), (512, 0.330, 30), (2048, 0.0836, 12)])
def test_frechet_distance_has_its_known_bias_and_at_infinity_none(count, bias, repeats):
    draws = [(gaussian(count, 16, seed=2 * i), gaussian(count, 16, seed=2 * i + 1)) for i in range(repeats)]
    plain = [FrechetDistance().compute(*draw) for draw in draws]
    # The bias itself is known to three digits.
    assert abs(np.mean(plain) - bias) < 3 * np.std(plain) / repeats**0.5 + 0.005 * bias
    if count >= 512:
        endless = [FrechetInfinity().compute(*draw) for draw in draws]
        assert abs(np.mean(endless)) < 3 * np.std(endless) / repeats**0.5 + 0.02 * bias


def test_extrapolation_finds_the_distance_of_the_distributions():
    draws = [FrechetInfinity().compute(gaussian(600, 8, seed=2 * i), gaussian(600, 8, seed=2 * i + 1, shift=0.5, scale=2)) for i in range(20)]
    # 8 features, each |0.5|² + (2 - 1)².
    assert abs(np.mean(draws) - 10) < 3 * np.std(draws) / 20**0.5
    with pytest.raises(DataError, match="N >= 40 is needed"):
        FrechetInfinity().compute(gaussian(19, seed=0), gaussian(50, seed=1))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_distances_of_real_films_equal_those_of_other_programs(chests, kind):
    train, val, values = chests
    train, val = train.to(kind), val.to(kind)
    assert FrechetDistance().compute(train, val) == pytest.approx(values["frechet"]["scipy_sqrtm"], rel=1e-10)
    assert KID().compute(train, val) == pytest.approx(values["kid"]["full_unequal_sizes_numpy"], rel=1e-6 if kind == torch.float32 else 1e-12)
    assert KID().compute(train[:200], val) == pytest.approx(values["kid"]["first_200_of_train_vs_val_torchmetrics"], rel=1e-6)
    for real, fake, name in ((train, val, "train_real_val_fake"), (val, train, "val_real_train_fake"), (train[:200], val, "first_200_of_train_real_val_fake")):
        ours = {metric.name.lower(): metric.compute(real, fake) for metric in (Precision(), Recall(), Density(), Coverage())}
        assert ours == pytest.approx(values["prdc"][name], rel=1e-12)
    for q, name in ((1, "score_dual"), (2, "q2_score_dual"), (float("inf"), "qinf_score_dual")):
        assert [Vendi(q).compute(val, train), Vendi(q).compute(train, val)] == pytest.approx([values["vendi"][f"{part}_{name}"] for part in ("train", "val")])


def test_kid_is_the_unbiased_estimate_of_the_cubic_kernel():
    assert KID().compute(rows(0, 1), rows(1, 2)) == pytest.approx(9.5, abs=1e-12)
    values = [KID().compute(gaussian(20, 4, seed=2 * i), gaussian(20, 4, seed=2 * i + 1)) for i in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / 300**0.5, "the mean over equal distributions is zero"
    assert min(values) < 0 < max(values)


def test_kid_in_single_precision_keeps_its_digits_far_from_zero():
    real, fake = (gaussian(200, 32, seed=seed, shift=30).float() for seed in (0, 1))
    wide = [part.double() for part in (real, fake)]
    products = [(a @ b.T / 32 + 1) ** 3 for a, b in ((wide[0], wide[0]), (wide[1], wide[1]), wide)]
    own = sum((p.sum() - p.trace()) / (200 * 199) for p in products[:2])
    assert KID().compute(real, fake) == pytest.approx(float(own - 2 * products[2].mean()), rel=1e-5)


@pytest.mark.parametrize(("other", "expected"), [((0, 1), 19.90033250166), ((-1, 0), 39.60265338649), ((1, 0), 0)])
def test_mmd_of_two_points(other, expected):
    assert MMD().compute(rows((1, 0)), rows(other)) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    apart = (1 - other[0]) ** 2 + other[1] ** 2
    assert MMD(sigma=1).compute(rows((1, 0)), rows(other)) == pytest.approx(2000 * (1 - np.exp(-apart / 2)))


@pytest.mark.parametrize(
    ("k", "real", "fake", "expected"),
    [
        (1, rows(0, 1, 2, 10), rows(0.5, 1.5, 9, 30), (0.75, 1, 1.25, 1)),
        (1, rows(0, 1, 2, 10), rows(0.5, 1.5, 30, 40), (0.5, 0.75, 1, 0.75)),
        (1, rows(0, 1), rows(2, 3), (0, 0, 0, 0)),  # exactly on the rim of a ball is outside
        (1, rows(0, 0, 5, 6), rows(0, 0, 5, 5), (0.5, 0, 0.5, 0.25)),  # a ball of radius zero holds nothing, not even a copy
        (2, rows(0, 1, 3), rows(3.5, 9, 10), (1 / 3, 1, 1 / 6, 1 / 3)),
    ],
)
def test_neighbourhoods_of_points_on_a_line(k, real, fake, expected):
    found = [metric(k=k).compute(real, fake) for metric in (Precision, Recall, Density, Coverage)]
    assert found == pytest.approx(expected, abs=1e-15)


def brute_force(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, ...]:
    """From differences in float64, one pair at a time."""
    own = [np.sort(cdist(part, part, "sqeuclidean"), 1)[:, k] for part in (real, fake)]
    between = cdist(real, fake, "sqeuclidean")
    inside = between < own[0][:, None]
    return inside.any(0).mean(), (between < own[1]).any(1).mean(), inside.sum() / (k * len(fake)), inside.any(1).mean()


def lattice(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3, (count, 4)).astype(float)


def far_away(count: int, seed: int) -> np.ndarray:
    return gaussian(count, 16, seed=seed).numpy() + 1e4


def with_an_outlier(count: int, seed: int) -> np.ndarray:
    x = gaussian(count, 8, seed=seed).numpy()
    x[0] += 1e5
    return x


@pytest.mark.parametrize("draw", [lattice, far_away, with_an_outlier], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_neighbourhoods_are_exact_despite_ties_copies_and_rounding(draw, kind):
    real, fake = draw(90, 0).astype(kind), draw(70, 1).astype(kind)
    fake[:20] = real[:20]  # copies
    fake[20:40] = real[:20]
    found = prdc(torch.from_numpy(real), torch.from_numpy(fake), k=3)
    assert (found.precision, found.recall, found.density, found.coverage) == pytest.approx(brute_force(real.astype(float), fake.astype(float), 3), abs=1e-12)


def test_fast_distances_stay_within_their_bound():
    for width, shift in ((3, 0), (700, 0), (700, 5)):
        a, b = distances.clouds(gaussian(60, width, seed=0).numpy(), gaussian(50, width, seed=1, shift=shift).numpy())
        i, j = np.divmod(np.arange(60 * 50), 50)
        gap = np.abs(distances.fast(a, b, slice(None)) - distances.exact(a, i, b, j).reshape(60, 50) * a.scale**2)
        assert 0 < gap.max() and (gap <= a.error()).all()


def test_coverage_and_recall_find_the_mode_that_was_dropped():
    real = torch.cat([gaussian(60, seed=1), gaussian(40, seed=2, shift=20)])
    both = torch.cat([gaussian(60, seed=4), gaussian(40, seed=5, shift=20)])
    for metric in (Coverage(), Recall()):
        assert 0.5 < metric.compute(real, gaussian(100, seed=3)) <= 0.6
        assert metric.compute(real, both) > 0.85
    assert Precision().compute(real, torch.cat([both[:50], gaussian(50, seed=6, shift=-20)])) <= 0.5


def test_neighbourhoods_need_more_images_than_neighbours():
    with pytest.raises(DataError, match="k = 5 neighbours need k >= 1 and more than k images a side, got 5 real and 9 fake"):
        Coverage().compute(gaussian(5, seed=0), gaussian(9, seed=1))
    with pytest.raises(DataError, match="k = 0"):
        prdc(gaussian(5, seed=0), gaussian(9, seed=1), k=0)


def test_blocks_of_rows_change_nothing(monkeypatch):
    real, fake = gaussian(50, seed=0), gaussian(40, seed=1, shift=0.5)
    whole = neighbours._counted(*distances.clouds(real.numpy(), fake.numpy()), 5), KID().compute(real, fake), MMD().compute(real, fake)
    monkeypatch.setattr(neighbours, "BLOCK", 7)
    monkeypatch.setattr(distances, "BLOCK", 6)
    monkeypatch.setattr(kernel, "BLOCK", 7)
    monkeypatch.setattr(distances, "PAIRS", 30)
    assert neighbours._counted(*distances.clouds(real.numpy(), fake.numpy()), 5) == whole[0]
    assert [KID().compute(real, fake), MMD().compute(real, fake)] == pytest.approx(whole[1:], rel=1e-10)


def test_four_neighbourhood_scores_cost_one_pass(monkeypatch):
    real, fake = gaussian(50, seed=20), gaussian(40, seed=21)
    passes = []
    counted = neighbours._counted
    monkeypatch.setattr(neighbours, "_counted", lambda *args: passes.append(1) or counted(*args))
    scores = [metric.compute(real, fake) for metric in (Precision(), Recall(), Density(), Coverage())]
    assert len(passes) == 1
    assert Coverage().compute(fake, real) != scores[3] and Coverage(k=3).compute(real, fake) != scores[3] and len(passes) == 3


@pytest.mark.parametrize("remembered", [0, 1])
def test_neighbourhoods_that_are_forgotten_at_once_are_answered_all_the_same(monkeypatch, remembered):
    monkeypatch.setattr(neighbours, "REMEMBERED", remembered)
    pairs = [(gaussian(30, seed=30 + i), gaussian(25, seed=60 + i)) for i in range(8)]
    expected = [brute_force(real.numpy(), fake.numpy(), 5) for real, fake in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: prdc(*pair), pairs * 10))
    assert [(f.precision, f.recall, f.density, f.coverage) for f in found] == [pytest.approx(values, abs=1e-12) for values in expected * 10]
    assert len(neighbours._KNOWN) <= remembered


@pytest.mark.parametrize(("kernel", "expected"), [([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]], 2.1573004834), (np.eye(5), 5), (np.ones((4, 4)), 1)])
def test_vendi_score_of_known_kernels(kernel, expected):
    kernel = torch.as_tensor(np.array(kernel))
    assert vendi(kernel) == pytest.approx(expected, rel=1e-9)
    orders = [vendi(kernel, q=q) for q in (0.1, 0.999999, 1, 1.000001, 2, float("inf"))]
    assert orders[1] == pytest.approx(orders[2], rel=1e-5) and orders[3] == pytest.approx(orders[2], rel=1e-5)
    assert np.all(np.diff(orders) <= 1e-9), "a larger order counts fewer"
    assert vendi(kernel, q=2) == pytest.approx(len(kernel) ** 2 / float(kernel.square().sum()), rel=1e-9)


def test_vendi_counts_directions_and_groups_copies():
    directions = torch.eye(6).double()
    assert Vendi().compute(directions, 3 * directions) == pytest.approx(6)
    assert Vendi().compute(directions, torch.cat([directions[:2]] * 5)) == pytest.approx(2)
    uneven = torch.cat([directions[:1]] * 3 + [directions[1:2]])
    assert Vendi().compute(directions, uneven) == pytest.approx(np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25)))
    assert Vendi().compute(directions, torch.cat([uneven, torch.zeros(4, 6)])) == pytest.approx(
        np.exp(-0.375 * np.log(0.375) - 0.125 * np.log(0.125) - 0.5 * np.log(0.5))
    ), "rows of zeros are one kind of their own"
    wide, tall = gaussian(9, 30, seed=0), gaussian(40, 5, seed=0)
    for x in (wide, tall):
        unit = torch.nn.functional.normalize(x)
        assert Vendi().compute(x, x) == pytest.approx(vendi(unit @ unit.T), rel=1e-9)


def test_vendi_refuses_what_is_no_kernel():
    with pytest.raises(DataError, match="ones on its diagonal"):
        vendi(2 * torch.eye(3))
    with pytest.raises(DataError, match="symmetric"):
        vendi(torch.tensor([[1.0, 0.5], [0.2, 1.0]]))
    with pytest.raises(DataError, match="order q = 0"):
        vendi(torch.eye(3), q=0)


@pytest.mark.parametrize(("measure", "expected"), [("auc", 0.760250), ("accuracy", 0.691462)])
@pytest.mark.parametrize("width", [1, 4])
def test_two_sample_test_reaches_the_best_classifier_of_two_gaussians(measure, expected, width):
    shift = 1 / width**0.5
    scores = [C2ST(measure).compute(gaussian(1500, width, seed=2 * i), gaussian(1500, width, seed=2 * i + 1, shift=shift)) for i in range(16)]
    assert abs(np.mean(scores) - expected) < 3 * np.std(scores, ddof=1) / 16**0.5


def test_two_sample_test_is_fair_where_there_is_nothing_to_find_and_sees_spread():
    nothing = [C2ST().compute(gaussian(40, 60, seed=2 * i), gaussian(50, 60, seed=2 * i + 1)) for i in range(60)]
    assert abs(np.mean(nothing) - 0.5) < 3 * np.std(nothing) / 60**0.5
    assert C2ST().compute(gaussian(300, seed=0), gaussian(300, seed=1, scale=0.5)) > 0.9
    assert C2ST().compute(torch.zeros(20, 3), torch.ones(20, 3)) == 1 and C2ST("accuracy").compute(torch.zeros(20, 3), torch.zeros(20, 3)) == 0.5
    with pytest.raises(DataError, match="measure 'f1' is not one of auc, accuracy"):
        C2ST("f1")


@pytest.mark.parametrize(("count", "width"), [(300, 20), (30, 80)])
def test_shrinkage_is_that_of_ledoit_and_wolf(count, width):
    from sklearn.covariance import ledoit_wolf

    x = gaussian(count, width, seed=3).numpy() * np.linspace(1, 3, width)
    x -= x.mean(0)
    expected = np.linalg.solve(ledoit_wolf(x, assume_centered=True)[0], np.ones(width))
    np.testing.assert_allclose(_shrunk_solve(x, np.ones(width)), expected, rtol=1e-9)
