"""Intervals against closed forms and against their promised coverage."""
import numpy as np
import pytest
from scipy.stats import binomtest

from synthkit.core.intervals import bootstrap, half_samples, hidden_share, percentile_interval, resampled, resamples, wilson


def test_one_unit_alone_has_no_interval():
    assert np.isnan(bootstrap(lambda rows: float(rows.mean()), np.array(["a", "a", "a"]))).all()


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (1, 10), (5, 10), (10, 10), (37, 200), (0, 1), (999, 1000)])
def test_wilson_is_the_reference_interval(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("units", [1, 10, 250])
def test_what_units_may_hide_is_the_exact_interval_of_none(units):
    assert hidden_share(units) == pytest.approx(binomtest(0, units).proportion_ci(method="exact").high)
    assert hidden_share(0) == 1


def test_resampled_values_of_two_statistics_are_paired():
    values, units = np.random.default_rng(3).normal(0, 1, 40), np.repeat(np.arange(20), 2)
    first, shifted = (resampled(lambda rows, add=add: values[rows].mean() + add, units, times=50, seed=1, stream="s") for add in (0, 5))
    assert shifted - first == pytest.approx(np.full(50, 5.0)) and first.std() > 0
    usual = resampled(lambda rows: values[rows].mean(), units, times=200, seed=1)
    assert bootstrap(lambda rows: values[rows].mean(), units, seed=1) == percentile_interval(usual)


def test_wilson_of_nothing_says_nothing():
    assert wilson(0, 0) == (0, 1)


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5])
def test_wilson_covers_the_truth_about_95_times_in_100(share):
    draws = np.random.default_rng(0).binomial(60, share, 4000)
    inside = np.mean([low <= share <= high for low, high in (wilson(int(k), 60) for k in draws)])
    assert 0.925 < inside < 0.985


def test_bootstrap_of_a_mean_covers_the_truth_about_95_times_in_100():
    rng, hits = np.random.default_rng(1), 0
    for trial in range(200):
        values = rng.normal(3, 2, 60)
        low, high = bootstrap(lambda rows, v=values: v[rows].mean(), np.arange(60), times=150, seed=trial)
        hits += low <= 3 <= high
    assert 0.88 < hits / 200 <= 0.99


def test_bootstrap_width_is_that_of_the_normal_theory():
    values = np.random.default_rng(2).normal(0, 1, 400)
    low, high = bootstrap(lambda rows: values[rows].mean(), np.arange(400), times=800)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.12)


def test_clustered_rows_widen_the_interval_as_if_there_were_only_the_patients():
    one = np.random.default_rng(3).normal(0, 1, 50)
    values, patients = one.repeat(8), np.arange(50).repeat(8)
    clustered = np.diff(bootstrap(lambda rows: values[rows].mean(), patients, times=400))
    naive = np.diff(bootstrap(lambda rows: values[rows].mean(), np.arange(400), times=400))
    assert clustered / naive == pytest.approx(8**0.5, rel=0.15)


def test_resamples_keep_units_whole_and_repeat_with_the_seed():
    units = np.array(["a", "b", "a", "c", "b", "a"])
    for rows in resamples(units, times=30, seed=4):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2] == counts[5] and counts[1] == counts[4]
        assert counts[0] + counts[1] + counts[3] == 3, "as many patients as there are"
    again, other = resamples(units, times=30, seed=4), resamples(units, times=30, seed=5)
    assert all(np.array_equal(a, b) for a, b in zip(again, resamples(units, times=30, seed=4)))
    assert not all(np.array_equal(a, b) for a, b in zip(again, other))


def test_a_stream_of_its_own_draws_otherwise_and_the_default_stays_as_it_was():
    first = resamples(np.arange(6), times=2, seed=0)
    assert [rows.tolist() for rows in first] == [[0, 0, 2, 5, 3, 1], [3, 5, 2, 0, 3, 0]]
    assert all(np.array_equal(a, b) for a, b in zip(first, resamples(np.arange(6), times=2, seed=0, stream="units")))
    assert not all(np.array_equal(a, b) for a, b in zip(first, resamples(np.arange(6), times=2, seed=0, stream="real")))


def test_halves_hold_half_of_the_units_each_once():
    units = np.arange(10).repeat(3)
    for rows in half_samples(units, times=20, seed=0, stream="x"):
        assert len(set(rows)) == len(rows) == 15 and len(set(units[rows])) == 5
    assert len(half_samples(np.zeros(4), times=1, seed=0, stream="x")[0]) == 4, "one patient alone stays whole"


def test_resamples_without_a_value_are_left_out_unless_they_are_most():
    values = np.array([1.0, 2, 3, np.nan])
    low, high = bootstrap(lambda rows: values[rows].mean(), np.arange(4), times=400)
    assert np.isnan([low, high]).all()
    few = np.append(np.arange(30.0), np.inf)
    assert np.isfinite(bootstrap(lambda rows: np.nan if np.isinf(few[rows]).sum() > 1 else few[rows[few[rows] < 99]].mean(), np.arange(31))).all()
