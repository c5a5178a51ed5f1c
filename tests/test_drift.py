"""Drift: the distances in closed form, the error rate of the permutation test, and changes that are planted."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import pixels, toy_cohort

import synthkit as sk
from synthkit.core.pixels import Pixels
from synthkit.lifecycle.exchange import Distances, Levels, Quantities, dealt, effects, euclidean, p_values
from synthkit.lifecycle.looks import plain_measures


def masks_of(count: int, *, times: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(count) < count // 3 for _ in range(times)])


def test_the_distance_of_quantities_is_that_of_kolmogorov_and_smirnov():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, 60).astype(float)  # many ties
    values[::7] = np.nan
    masks, known = masks_of(60, times=20, seed=1), ~np.isnan(values)
    expected = [ks_2samp(values[mask & known], values[~mask & known]).statistic for mask in masks]
    np.testing.assert_allclose(Quantities("table", "age", values).statistic(masks), expected, atol=1e-6)


def test_the_distance_of_levels_is_the_share_that_would_have_to_change():
    codes = np.array([0, 0, 1, 2, 0, 1, 1, 2])
    first = np.array([[True] * 4 + [False] * 4])
    assert Levels("table", "sex", codes).statistic(first)[0] == pytest.approx(0.25)  # shares .5 .25 .25 and .25 .5 .25
    assert Levels("table", "sex", codes).effect(np.arange(4), np.arange(4, 8)) == pytest.approx(0.25)


def test_the_energy_distance_follows_its_definition():
    rng = np.random.default_rng(2)
    features, masks = rng.normal(size=(30, 3)), masks_of(30, times=5, seed=3)
    between = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.testing.assert_allclose(euclidean(features), between, atol=1e-3)
    told = Distances("images", "all", between.astype(np.float32)).statistic(masks)
    expected = [2 * between[m][:, ~m].mean() - between[m][:, m].mean() - between[~m][:, ~m].mean() for m in masks]
    np.testing.assert_allclose(told, expected, rtol=1e-4)
    apart = np.concatenate([np.zeros((10, 1)), np.full((10, 1), 1000.0)])
    assert Distances("images", "all", euclidean(apart)).effect(np.arange(10), np.arange(10, 20)) == pytest.approx(1, abs=1e-3)


def test_an_effect_is_in_standard_deviations_and_its_interval_covers_it():
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(60):
        values = np.concatenate([rng.normal(size=80), rng.normal(0.5, 1, 80)])
        ((value, low, high),) = effects([Quantities("table", "age", values)], np.arange(80), np.arange(80, 160), np.arange(160).astype(str), seed=0)
        covered += low <= 0.5 <= high
        assert low < value < high
    assert covered >= 51  # 95 % of 60 is 57; fewer than 51 has chance .002


def alarms(draw, patients: np.ndarray, *, sets: int, alpha: float, times: int = 99) -> int:
    old = np.arange(len(patients)) < len(patients) // 2
    found = 0
    for number in range(sets):
        values = draw(np.random.default_rng(number))
        measures = [Quantities("images", str(i), column) for i, column in enumerate(values.T)]
        found += p_values(measures, dealt(patients, old, times=times, seed=number))[1].min() <= alpha
    return found


def test_of_many_measures_together_five_in_a_hundred_nulls_alarm():
    patients = np.arange(60).astype(str)
    found = alarms(lambda rng: rng.normal(size=(60, 12)), patients, sets=200, alpha=0.05)
    assert 1 <= found <= 20  # 10 expected; both ends have a chance under .002


def test_images_of_one_patient_are_dealt_out_together():
    patients = np.repeat(np.arange(24), 8).astype(str)

    def draw(rng):
        return np.repeat(rng.normal(size=(24, 1)), 8, 0) + 0.1 * rng.normal(size=(192, 1))

    assert alarms(draw, patients, sets=60, alpha=0.05) <= 9
    assert alarms(draw, np.arange(192).astype(str), sets=60, alpha=0.05) > 30, "as if they were independent, most nulls would alarm"


def test_p_values_stand_on_the_grid_of_the_deals_and_adjusted_ones_are_no_smaller():
    rng = np.random.default_rng(5)
    measures = [Quantities("images", str(i), rng.normal(size=40)) for i in range(5)] + [Quantities("images", "constant", np.ones(40))]
    alone, together = p_values(measures, dealt(np.arange(40).astype(str), np.arange(40) < 20, times=49, seed=0))
    assert (together >= alone).all() and together.min() >= 1 / 50 and alone[-1] == together[-1] == 1
    np.testing.assert_allclose(alone * 50, np.round(alone * 50))


def test_plain_measures_have_units_that_gain_and_blur_move():
    rng = torch.Generator().manual_seed(0)
    x = 0.2 * torch.randn(4, 1, 16, 16, generator=rng)
    mean, spread, steps, bends = plain_measures(x).T
    brighter, louder = plain_measures(x + 0.3).T, plain_measures(2 * x).T
    np.testing.assert_allclose(brighter[0] - mean, 0.3, atol=1e-6)
    np.testing.assert_allclose(louder[1] / spread, 2, atol=1e-6)
    np.testing.assert_allclose(louder[2:], torch.stack([steps, bends]), atol=1e-6)
    blurred = plain_measures(torch.nn.functional.avg_pool2d(x, 3, 1, 1)).T
    assert (blurred[2] < steps).all() and (blurred[3] < bends).all()


def changed(cohort: sk.Cohort, *, gain: float = 1.0) -> sk.Cohort:
    raw = (cohort.images.raw().astype(float) * gain).clip(0, 65535).astype(np.uint16)
    return replace(cohort, images=Pixels([raw], cohort.space))


def test_a_scanner_with_more_gain_is_noticed_in_the_images_alone():
    train, new = toy_cohort(120, seed=1, prefix="a"), toy_cohort(80, seed=2, prefix="b")
    quiet = sk.drift(new, train=train, extractor=pixels)
    found = sk.drift(changed(new, gain=1.15), train=train, extractor=pixels)
    rows = found.frame().set_index("measure")
    assert not quiet.alarm and found.alarm and found.p <= 0.01
    assert rows.loc["brightness", "result"] == "moved" and rows.loc["brightness", "value"] > 0
    assert (rows.loc[rows["part"] == "table", "result"] == "no change shown").all()
    assert (rows["n"] == 80).all() and (rows["n_old"] == 120).all() and found.title.startswith("Drift: toy against toy")


def test_other_patients_are_noticed_in_the_table():
    train, new = toy_cohort(120, seed=1, prefix="a"), toy_cohort(80, seed=2, prefix="b")
    older = replace(new, table=new.table.assign(age=(new.table["age"] + 25).clip(upper=100)))
    blank = replace(new, table=new.table.assign(age=new.table["age"].where(np.arange(80) % 2 == 0)))
    for cohort, name in ((older, "age"), (blank, "age is blank")):
        found = sk.drift(cohort, train=train, extractor=pixels)
        assert found.alarm and found.frame().set_index("measure").loc[name, "result"] == "moved"


def test_a_factor_that_is_blank_everywhere_shows_no_change():
    train, new = (replace(cohort, table=cohort.table.assign(age=np.nan)) for cohort in (toy_cohort(60, prefix="a"), toy_cohort(40, seed=1, prefix="b")))
    row = sk.drift(new, train=train, extractor=pixels).frame().set_index("measure").loc["age"]
    assert row["result"] == "no change shown" and row["p"] == 1


def test_features_that_are_no_numbers_are_refused():
    train, new = toy_cohort(60, prefix="a"), toy_cohort(40, seed=1, prefix="b")
    with pytest.raises(sk.DataError, match="gives features that are no numbers"):
        sk.drift(new, train=train, extractor=lambda images: pixels(images) * torch.nan)


def test_patients_of_many_images_are_cut_and_not_left_out(monkeypatch):
    import synthkit.lifecycle.drift as module

    monkeypatch.setattr(module, "MOST", 100)
    cohort = toy_cohort(25 * 12, size=(8, 8), prefix="a", per_patient=12)
    some, cut = module._some(cohort, 0, "new")
    assert cut and some.table["patient_id"].value_counts().tolist() == [5] * 20  # 100 images, of the 20 patients that are needed at least
    few, cut = module._some(toy_cohort(150, size=(8, 8), prefix="b", per_patient=3), 0, "new")
    assert cut and few.table["patient_id"].value_counts().tolist() == [3] * 33, "whole patients, where enough of them fit in"


def test_neither_the_order_nor_the_names_of_the_images_matter():
    train, new = toy_cohort(60, seed=1, prefix="a"), toy_cohort(40, seed=2, prefix="b")
    again = replace(new, table=new.table.assign(image_id=[str(i) for i in range(40)]))[np.random.default_rng(0).permutation(40)]
    first, second = (sk.drift(one, train=train, extractor=pixels).frame().set_index("measure") for one in (new, again))
    pixel_rows = ["all features of the images", "brightness", "sharpness", "age", "sex", "all factors of the table"]
    np.testing.assert_allclose(first.loc[pixel_rows, ["p", "value"]], second.loc[pixel_rows, ["p", "value"]], atol=2e-3)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda new: new[:0], sk.DataError, "the cohort is empty"),
        (lambda new: new[:19], sk.DataError, "19 patient.s. are too few"),
        (lambda new: toy_cohort(40, size=(8, 8), prefix="b"), sk.DataError, "do not fit to those of train"),
        (lambda new: replace(new, schema=new.schema.only(("sex", "age"))), sk.SchemaError, "other factors than train"),
        (lambda new: toy_cohort(40, prefix="a"), sk.LeakageError, "both train and new"),
        (lambda new: "films", sk.DataError, "new: got 'films'"),
    ],
)
def test_what_cannot_be_compared_is_refused(make, error, message):
    train, new = toy_cohort(60, prefix="a"), toy_cohort(40, seed=1, prefix="b")
    with pytest.raises(error, match=message):
        sk.drift(make(new), train=train, extractor=pixels)


def test_an_alpha_that_the_permutations_cannot_reach_is_refused():
    train, new = toy_cohort(60, prefix="a"), toy_cohort(40, seed=1, prefix="b")
    with pytest.raises(sk.DataError, match="times=1000 or more"):
        sk.drift(new, train=train, extractor=pixels, alpha=0.001, times=99)
    with pytest.raises(sk.DataError, match="between 0 and 1"):
        sk.drift(new, train=train, extractor=pixels, alpha=0)


def test_the_encoder_does_not_compare_those_whom_it_learnt_from(monkeypatch):
    import synthkit.lifecycle.drift as module

    seen = []
    monkeypatch.setattr(module, "features", lambda asked, cohort: seen.append(cohort) or sk.metrics.features.Features("pixels", pixels))
    train, new = toy_cohort(80, prefix="a"), toy_cohort(40, seed=1, prefix="b")
    found = sk.drift(new, train=train)
    assert len(seen[0]) == 40 and (found.frame()["n_old"] == 40).all()
