"""The chest phantom: exact counterfactuals, measured factors, and physics against closed forms."""
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthkit.core.provenance import Provenance
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.phantoms import physics
from synthkit.phantoms.chest import ChestPhantom
from synthkit.phantoms.phantom import Subjects

SIZE = 64


@pytest.fixture(scope="module")
def phantom():
    return ChestPhantom(size=SIZE)


@pytest.fixture(scope="module")
def table(phantom):
    return phantom.factors_table(6, seed=4)


@pytest.fixture(scope="module")
def large_table(phantom):
    return phantom.factors_table(1500, seed=0)


def test_doing_nothing_gives_identical_bytes(phantom, table):
    for effect in ("direct", "total"):
        same = phantom.counterfactual_table(table, {}, effect=effect)
        assert same.equals(table)
        assert torch.equal(phantom.render(same), phantom.render(table))


def test_a_row_alone_gives_the_bytes_it_has_in_any_batch_or_order(phantom, table):
    films = phantom.render(table)
    assert films.shape == (6, 1, SIZE, SIZE) and films.dtype == torch.float32
    assert films.min() >= 0 and films.max() <= 1
    order = [4, 0, 5, 2, 1, 3]
    assert torch.equal(phantom.render(table.iloc[order]), films[order])
    assert torch.equal(phantom.render(table.iloc[[3]]), films[[3]])


def test_a_row_does_not_depend_on_how_many_are_drawn(phantom, table):
    assert phantom.factors_table(3, seed=4).equals(table.head(3))


def test_total_effect_moves_descendants_only_and_undoes_itself(phantom, table):
    age = float(table.loc[0, "age"])
    older = phantom.counterfactual_table(table.head(1), {"age": 88.0}, effect="total")
    assert older.loc[0, "bmi"] > table.loc[0, "bmi"]
    assert older.loc[0, "sex"] == table.loc[0, "sex"]
    back = phantom.counterfactual_table(older, {"age": age}, effect="total")
    assert back[list(table)].equals(table.head(1)) and back.loc[0, "set_by_do"] == "age"


def test_sizes_apply_only_where_the_finding_is(phantom, table):
    without = phantom.counterfactual_table(table, {"effusion": "absent"})
    assert without["effusion_fill"].isna().all() and without["effusion_side"].isna().all()
    with_fluid = phantom.counterfactual_table(without, {"effusion": "present"})
    assert with_fluid["effusion_fill"].between(0, 1).all()
    had = table["effusion"] == "present"
    assert np.array_equal(with_fluid.loc[had, "effusion_fill"], table.loc[had, "effusion_fill"])


def test_left_effusion_leaves_the_right_upper_lung_alone(phantom, table):
    wet = {"effusion": "present", "effusion_side": "left", "effusion_fill": 0.5}
    dry = phantom.counterfactual_table(table, {"effusion": "absent", "site": "A"})
    changed = phantom.change_mask(dry, wet)
    assert changed.flatten(1).any(1).all()
    assert not changed[:, : SIZE // 3, : SIZE // 2 - 4].any()
    masks = phantom.masks(phantom.counterfactual_table(dry, wet))
    assert (changed & masks["effusion"]).sum() > 0.7 * masks["effusion"].sum()


@pytest.mark.parametrize("do", [{"lesion": "present"}, {"marker": "present"}, {"heart_ratio": 0.62}])
def test_local_edits_stay_local(phantom, table, do):
    plain = {"lesion": "absent", "marker": "absent", "heart_ratio": 0.42, "site": "A"}
    start = phantom.counterfactual_table(table, plain)
    share = phantom.change_mask(start, do).float().mean((1, 2))
    assert (share > 0).all() and (share < 0.25).all()


def test_marker_changes_exactly_its_mask(phantom, table):
    start = phantom.counterfactual_table(table, {"marker": "absent"})
    stamped = phantom.counterfactual_table(start, {"marker": "present"})
    changed = phantom.render(start)[:, 0] != phantom.render(stamped)[:, 0]
    assert (phantom.masks(stamped)["marker"] & ~changed).sum() == 0
    assert not changed[:, SIZE // 4 :].any() and not changed[:, :, SIZE // 4 :].any()


def test_heart_ratio_is_what_the_masks_measure():
    phantom = ChestPhantom(size=256)
    table = phantom.factors_table(4, seed=9)
    table["heart_ratio"] = [0.40, 0.48, 0.56, 0.66]
    masks = phantom.masks(table)

    def width(mask):
        columns = mask.any(1)
        return torch.tensor([int(row.nonzero().max() - row.nonzero().min() + 1) for row in columns])

    measured = (width(masks["heart"]) / width(masks["thorax"])).numpy()
    assert np.abs(measured - table["heart_ratio"]).max() < 0.01


def test_opacity_and_age_brighten_what_they_should(phantom, table):
    lungs = phantom.masks(table)["lungs"]
    delta = phantom.render(phantom.counterfactual_table(table, {"opacity": 0.45}), noise=False) - phantom.render(
        phantom.counterfactual_table(table, {"opacity": 0.05}), noise=False
    )
    assert delta[:, 0][lungs].mean() > 10 / 255 and delta[:, 0][~lungs].abs().mean() < delta[:, 0][lungs].mean() / 5
    assert phantom.change_mask(table, {"age": 90.0}).float().mean() > 0.1


def test_factors_follow_their_equations(large_table):
    spread = (large_table["age"] - 58) / 16
    male = (large_table["sex"] == "M").astype(float)
    assert abs(spread.mean()) < 0.1 and 0.85 < spread.std() < 1.02
    assert large_table["age"].between(20, 90).all()
    bmi = large_table["bmi"] - (26 + 0.7 * spread + male)
    assert abs(bmi.mean()) < 0.35 and abs(bmi.std() - 3.5) < 0.25
    large_heart = (large_table["cardiomegaly"] == "present").astype(float)
    ratio = large_table["heart_ratio"] - (0.45 + 0.02 * spread + 0.004 * (large_table["bmi"] - 26) + 0.08 * large_heart)
    assert 0.05 < large_heart.mean() < 0.25 and abs(ratio.mean()) < 0.005 and large_table["heart_ratio"].between(0.38, 0.70).all()
    wet = large_table["effusion"] == "present"
    expected = 1 / (1 + np.exp(0.9 - 0.5 * spread - 9 * (large_table["heart_ratio"] - 0.46)))
    assert abs(wet.mean() - expected.mean()) < 0.04
    assert abs(np.log(large_table["lesion_radius"].dropna() / 15).mean()) < 0.05
    assert (large_table["emerging"] == "absent").all()


@pytest.mark.parametrize("confounding", [0.0, 0.8, 1.0])
def test_confounding_sets_the_marker(confounding):
    table = ChestPhantom(confounding=confounding).factors_table(800, seed=2)
    shown, wet = table["marker"] == "present", table["effusion"] == "present"
    assert abs(shown[wet].mean() - shown[~wet].mean() - confounding) < 0.1


def test_paint_has_gradients_that_match_finite_differences(table):
    phantom = ChestPhantom(size=128)
    subjects = phantom.subjects(phantom.counterfactual_table(table.iloc[[1]], {"site": "A", "lesion": "present"}))

    def brightness(name, value):
        given = Subjects(subjects.seeds, subjects.names, {**subjects.values, name: value})
        return phantom.paint(given, noise=False, device="cpu").double().sum()

    # Pixels sample the moving rims of organs, so the slope of a length is only near the finite difference.
    for name, step, tolerance in (("opacity", 0.02, 1e-3), ("heart_ratio", 0.01, 0.12), ("age", 1.0, 0.1), ("lesion_spiculation", 0.05, 0.05)):
        value = subjects.values[name].clone().requires_grad_()
        (slope,) = torch.autograd.grad(brightness(name, value), value)
        numeric = (brightness(name, value.detach() + step) - brightness(name, value.detach() - step)) / (2 * step)
        assert float(slope) == pytest.approx(float(numeric), rel=tolerance), name


def test_sphere_has_the_closed_form_chord_and_a_finite_gradient():
    across = torch.tensor([0.0, 1.2, 2.0, 2.5], requires_grad=True)
    half = physics.superquadric(across, torch.zeros(4), half=(2.0, 2.0, 2.0))
    assert torch.allclose(half.detach(), torch.tensor([2.0, 1.6, 0.0, 0.0]), atol=1e-5)
    (slope,) = torch.autograd.grad(half.sum(), across)
    assert slope.isfinite().all()


def test_overlapping_organs_count_each_centimetre_once():
    generator = np.random.default_rng(0)
    centre, half = generator.uniform(-4, 4, (3, 50)), generator.uniform(0, 4, (3, 50))
    within = torch.full((50,), 3.0, dtype=torch.float64)
    intervals = [
        physics.clip_interval(torch.tensor(middle), torch.tensor(reach), within)
        for middle, reach in zip(centre, half, strict=True)
    ]
    fine = np.linspace(-3, 3, 60001)
    covered = (np.abs(fine[:, None, None] - centre) < half).any(1).mean(0) * 6
    assert np.allclose(physics.union_length(intervals).numpy(), covered, atol=1e-3)


def test_a_cohort_is_known_again_and_doing_twice_is_doing_once(phantom):
    data = phantom.cohort(5, seed=3)
    same = phantom.counterfactual(data, {})
    assert np.array_equal(same.images.raw(), data.images.raw()) and same.table.equals(data.table)
    once = phantom.counterfactual(data, {"age": 80.0, "effusion": "present"}, effect="total")
    twice = phantom.counterfactual(once, {"age": 80.0, "effusion": "present"}, effect="total")
    assert np.array_equal(once.images.raw(), twice.images.raw()) and (once.images.raw() != data.images.raw()).any()
    assert np.array_equal(phantom.masks(data[2:4])["heart"], phantom.masks(data.table)["heart"][2:4])


@pytest.mark.parametrize("size", [32, 40, 80])
def test_bytes_do_not_depend_on_size_of_batch_or_order(size):
    phantom = ChestPhantom(size=size)
    table = phantom.factors_table(7, seed=1)
    films = phantom.render(table)
    assert torch.equal(phantom.render(table.iloc[::-1]).flip(0), films)
    assert torch.equal(torch.cat([phantom.render(table.iloc[[row]]) for row in range(7)]), films)


@pytest.mark.parametrize("do", [{"age": 80.0}, {"effusion": "present"}, {"opacity": 0.3}, {"lesion": "present"}, {"marker": "present"}])
def test_outside_the_change_mask_the_noisy_films_stay(phantom, table, do):
    changed = phantom.change_mask(table, do)
    gap = (phantom.render(phantom.counterfactual_table(table, do)) - phantom.render(table))[:, 0].abs()
    assert gap[~changed].max() <= 6 / 255


def test_the_oracle_reads_what_was_set(phantom):
    data = phantom.cohort(6, seed=8)
    aged = phantom.counterfactual(data, {"age": 71.5})
    read = phantom.read(aged, given=data, factor="age")
    assert np.abs(read["value"] - 71.5).max() < 0.05 and read["rms"].max() < 0.05
    assert phantom.read(data.images.tensor(), given=data, factor="sex")["value"].tolist() == data.table["sex"].tolist()
    sides = phantom.read(data, given=data, factor="effusion_side")["value"]
    assert sides.isna().tolist() == (data.table["effusion"] == "absent").tolist()
    assert sides.dropna().tolist() == data.table["effusion_side"].dropna().tolist()


def test_a_sweep_is_a_series_of_counterfactuals(phantom):
    data = phantom.cohort(2, seed=5)
    series = phantom.sweep(data, "opacity", [0.0, 0.2, 0.4])
    assert series.table["opacity"].tolist() == [0.0, 0.2, 0.4] * 2 and series.table["subject"].tolist() == [s for s in data.table["subject"] for _ in range(3)]
    middle = phantom.counterfactual(data, {"opacity": 0.2})
    assert np.array_equal(series.images.raw([1, 4]), middle.images.raw()) and series.table["image_id"].is_unique
    brightness = series.images.tensor().mean((1, 2, 3)).reshape(2, 3)
    assert (brightness.diff(dim=1) > 0).all()


def test_the_invented_disease_is_nowhere_unless_asked_for():
    asked = ChestPhantom(emerging=0.25).factors_table(400, seed=0)["emerging"] == "present"
    assert 0.15 < asked.mean() < 0.35 and (ChestPhantom().factors_table(400, seed=0)["emerging"] == "absent").all()


def test_what_was_set_stays_set(phantom):
    data = phantom.cohort(12, seed=0)
    dry = phantom.counterfactual(data, {"effusion": "absent"})
    older = phantom.counterfactual(dry, {"age": 88.0}, effect="total")
    assert (older.table["effusion"] == "absent").all() and set(older.table["set_by_do"]) == {"age effusion"}
    jointly = phantom.counterfactual(data, {"effusion": "absent", "age": 88.0}, effect="total")
    assert np.array_equal(older.images.raw(), jointly.images.raw())


def test_a_set_value_that_does_not_apply_is_said(phantom):
    data = phantom.cohort(12, seed=0)
    filled = phantom.counterfactual(data, {"effusion_fill": 0.9})
    without = int((data.table["effusion"] == "absent").sum())
    assert filled.notes == (f"effusion_fill was set but does not apply in {without} of 12 images (it needs effusion = present).",)


def test_cohorts_of_others_are_refused(phantom):
    data = phantom.cohort(2, seed=0)
    with pytest.raises(DataError, match="confounding=0.8"):
        ChestPhantom(size=SIZE, confounding=0.0).counterfactual(data, {})
    drawn_elsewhere = replace(data, provenance=Provenance("edited", "diffusion on chest phantom", recipe={"edit": 1}, parents=(data.provenance,)))
    with pytest.raises(DataError, match="only its own images have exact counterfactuals"):
        phantom.counterfactual(drawn_elsewhere, {})
    both = data + phantom.cohort(2, seed=1)
    assert np.array_equal(phantom.counterfactual(both, {}).images.raw(), both.images.raw())
    with pytest.raises(DataError, match="neither a Cohort nor a table"):
        phantom.masks(None)
    with pytest.raises(SchemaError, match="no mapping"):
        phantom.counterfactual(data, "effusion")
    with pytest.raises(DataError, match="not finite or far outside"):
        phantom.read(torch.full((2, 1, SIZE, SIZE), torch.nan), given=data, factor="age")
    with pytest.raises(AbilityError, match="none that torch knows"):
        phantom.render(data, device="gpu")
    assert phantom.masks(data[:0])["heart"].shape == (0, SIZE, SIZE)
    with pytest.raises(SchemaError, match="distinct values"):
        phantom.sweep(data, "age", [])
    with pytest.raises(SchemaError, match=r"age: \[50\] is not a number"):
        phantom.sweep(data, "age", [[50], [60]])
    with pytest.raises(DataError, match="drawn by a phantom with size=64"):
        ChestPhantom(size=32).counterfactual(data, {})
    foreign = data.table.assign(subject=["p1", "p2"])
    with pytest.raises(DataError, match="'p1' is none of the chest phantom's"):
        phantom.render(foreign)
    with pytest.raises(SchemaError, match="'height' is not a factor"):
        phantom.read(data, given=data, factor="height")
    with pytest.raises(DataError, match="one image per row"):
        phantom.read(data[:1], given=data, factor="age")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChestPhantom(size=0), "32..512"),
        (lambda: ChestPhantom(size=5000), "32..512"),
        (lambda: ChestPhantom(emerging=-0.1), "outside 0..1"),
        (lambda: ChestPhantom(confounding=1.2), "outside 0..1"),
        (lambda: ChestPhantom().factors_table(0, seed=0), "subjects in 1..10000000"),
        (lambda: ChestPhantom().factors_table(10**12, seed=0), "subjects in 1..10000000"),
        (lambda: ChestPhantom().cohort(2, seed=1.5), "seed: 1.5 is not a whole number"),
        (lambda: ChestPhantom(confounding="high"), "outside 0..1"),
    ],
)
def test_bad_recipes_are_refused(make, message):
    with pytest.raises(SchemaError, match=message):
        make()


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ({"height": 3}, "not a factor"),
        ({"age": 140}, "outside 20..90 years"),
        ({"effusion": "maybe"}, "not one of absent, present"),
        ({"bmi": "big"}, "not a number"),
    ],
)
def test_bad_edits_are_refused(phantom, table, do, message):
    with pytest.raises(SchemaError, match=message):
        phantom.counterfactual_table(table, do)


def test_unknown_effect_and_missing_columns_are_refused(phantom, table):
    with pytest.raises(SchemaError, match="direct, total"):
        phantom.counterfactual_table(table, {}, effect="both")
    with pytest.raises(SchemaError, match="lacks age"):
        phantom.render(table.drop(columns="age"))
