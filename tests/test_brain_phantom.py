"""The brain phantom: exact counterfactuals and volumes, a record that follows the anatomy, and physics against closed forms."""
import math

import numpy as np
import pytest
import torch

from synthkit.errors import DataError, SchemaError
from synthkit.phantoms import ct, mr
from synthkit.phantoms.brain import LABELS, BrainPhantom
from synthkit.phantoms.brain_frame import CENTRE, FIELD_MM, Nuisance
from synthkit.phantoms.brain_level import level
from synthkit.phantoms.brain_scan import SCANNERS, TISSUES, bias_coefficients, signals
from synthkit.phantoms.brain_tissue import build
from synthkit.phantoms.phantom import Subjects

SIZE = 32
HELD = {"intracranial": "intracranial_volume", "brain": "brain_volume", "ventricles": "ventricle_volume", "wm_lesions": "wm_lesion_load"}
HELD["tumour"] = "tumour_volume"
TUMOUR = {"tumour": "present", "tumour_volume": 12.0, "tumour_x": -26.0, "tumour_y": 10.0, "tumour_z": 22.0, "oedema_width": 6.0}


@pytest.fixture(scope="module")
def phantom():
    return BrainPhantom(size=SIZE)


@pytest.fixture(scope="module")
def table(phantom):
    return phantom.factors_table(14, seed=0).iloc[[0, 3, 11, 13]]


@pytest.fixture(scope="module")
def large_table(phantom):
    return phantom.factors_table(1500, seed=0)


@pytest.mark.parametrize("effect", ["direct", "total"])
def test_doing_nothing_gives_identical_bytes(phantom, effect):
    cohort = phantom.cohort(2, seed=5)
    same = phantom.counterfactual(cohort, {}, effect=effect)
    assert np.array_equal(same.images.parts[0], cohort.images.parts[0]) and same.table.equals(cohort.table)


def test_doing_twice_is_doing_once_and_undoing_gives_the_first_bytes(phantom, table):
    do = {"ventricle_volume": 60.0, "scanner": "B"}
    once = phantom.counterfactual_table(table, do, effect="total")
    assert phantom.counterfactual_table(once, do, effect="total").equals(once)
    age = float(table["age"].iloc[0])
    older = phantom.counterfactual_table(table.head(1), {"age": 89.0}, effect="total")
    back = phantom.counterfactual_table(older, {"age": age}, effect="total")
    assert back[list(table)].equals(table.head(1)) and torch.equal(phantom.render(back), phantom.render(table.head(1)))


def test_a_row_alone_gives_the_bytes_it_has_in_any_batch_or_order(phantom, table):
    heads = phantom.render(table)
    assert heads.shape == (4, 4, SIZE, SIZE, SIZE) and heads.dtype == torch.float32
    assert heads.isfinite().all() and heads.min() >= 0 and heads.max() <= 1
    order = [2, 0, 3, 1]
    assert torch.equal(phantom.render(table.iloc[order]), heads[order])
    assert torch.equal(phantom.render(table.iloc[[2]]), heads[[2]])


def test_a_cohort_stores_hounsfield_units_and_millimetres(phantom):
    cohort = phantom.cohort(1, seed=0)
    assert cohort.space.dtype == np.int16 and cohort.space.spacing_mm == (7.0, 7.0, 7.0)
    tomography = cohort.space.channels[3]
    hu = (cohort.images[0][3] + 1) / 2 * (tomography.high - tomography.low) + tomography.low
    labels = phantom.labels(cohort)[0]
    assert tomography.unit == "HU" and torch.allclose(hu, hu.round(), atol=2e-3)
    assert 26 < float(hu[labels == LABELS["white"]].median()) < 36
    assert float(hu[labels == LABELS["bone"]].mean()) > 350 and float(hu[0, 0, :4].mean()) < -985


def test_volumes_are_the_factors(phantom, table):
    found = phantom.volumes(table)
    for structure, name in HELD.items():
        asked = table[name].fillna(0).to_numpy()
        assert np.abs(found[structure] - asked).max() < 0.01, structure
    parts = found[["brain", "ventricles", "csf"]].sum(axis=1)
    assert np.allclose(parts, found["intracranial"], atol=0.01)


@pytest.mark.parametrize("size", [32, 47, pytest.param(64, marks=pytest.mark.slow), pytest.param(128, marks=pytest.mark.slow)])
@pytest.mark.parametrize("do", [{"brain_volume": 1300.0}, {"ventricle_volume": 80.0}, {"wm_lesion_load": 25.0}, TUMOUR | {"tumour_volume": 30.0}])
def test_an_edit_meets_its_volume_and_moves_no_other(size, do):
    phantom = BrainPhantom(size=size)
    before = phantom.counterfactual_table(phantom.factors_table(1, seed=7), TUMOUR | {"brain_volume": 1400.0})
    after = phantom.counterfactual_table(before, do)
    first, second = phantom.volumes(before), phantom.volumes(after)
    for structure, name in HELD.items():
        if name in do:
            assert float(second[structure].iloc[0]) == pytest.approx(do[name], rel=1e-3)
        else:
            assert abs(float((second[structure] - first[structure]).iloc[0])) < 0.1, structure


def test_a_skull_makes_room_for_a_brain_too_large_for_it(phantom, table):
    found = phantom.volumes(phantom.counterfactual_table(table.head(1), {"intracranial_volume": 1300.0}))
    assert float(found["brain"].iloc[0]) == pytest.approx(table["brain_volume"].iloc[0], abs=0.01)
    assert float(found["intracranial"].iloc[0]) == pytest.approx(1.03 * (found["brain"] + found["ventricles"]).iloc[0], abs=0.01)


def test_a_tumour_changes_nothing_far_from_it(phantom, table):
    healthy = phantom.counterfactual_table(table, {"tumour": "absent", "motion": 0.0})
    changed = phantom.change_mask(healthy, TUMOUR)
    step = FIELD_MM / SIZE
    z, y, x = torch.meshgrid(*(3 * [(torch.arange(SIZE) + 0.5) * step - FIELD_MM / 2]), indexing="ij")
    place = torch.stack([x, y, z]) - (torch.tensor([TUMOUR[f"tumour_{axis}"] for axis in "xyz"]) - torch.tensor(CENTRE))[:, None, None, None]
    assert (changed.flatten(1).sum(1) > 20).all()
    assert not changed[:, place.norm(dim=0) > 45].any()
    masks = phantom.masks(phantom.counterfactual_table(healthy, TUMOUR))
    assert (changed & masks["tumour"]).sum() == masks["tumour"].sum() and masks["oedema"].any()


def test_what_does_not_apply_is_blank_and_comes_back(phantom, table):
    healthy = phantom.counterfactual_table(table, {"tumour": "absent"})
    gated = ["tumour_volume", "tumour_x", "tumour_y", "tumour_z", "oedema_width", "enhancement"]
    assert healthy[gated].isna().all(axis=None)
    back = phantom.counterfactual_table(healthy, {"tumour": "present"})
    had = table["tumour"] == "present"
    assert had.any() and back.loc[had, gated].equals(table.loc[had, gated]) and back[gated].notna().all(axis=None)


def test_masks_and_labels_agree(phantom, table):
    masks, labels = phantom.masks(table), phantom.labels(table)
    assert labels.dtype == torch.uint8 and set(labels.unique().tolist()) <= set(LABELS.values())
    assert torch.equal(masks["ventricles"] & (labels != LABELS["ventricles"]), torch.zeros_like(masks["ventricles"]))
    assert not (masks["brain"] & masks["ventricles"]).any() and not (masks["brain"] & masks["skull"]).any()
    # Half-covered voxels count whole, and narrow sulci not at all.
    assert 1 < float(masks["brain"].sum()) * 0.343 / table["brain_volume"].sum() < 1.15


def test_the_record_has_no_effect_on_the_image(phantom, table):
    other = phantom.counterfactual_table(table, {"mmse": 3.0, "haemoglobin": 8.0, "dementia": "present", "glioma": "absent", "anaemia": "present"})
    assert torch.equal(phantom.render(other), phantom.render(table))


def test_the_record_follows_the_anatomy(phantom, table, large_table):
    points = large_table.groupby("atrophy")["mmse"].mean()
    assert points["none"] > points["mild"] > points["moderate"] > points["severe"]
    stages = [phantom.counterfactual_table(table, {"atrophy": stage}, effect="total") for stage in ("none", "severe")]
    assert (stages[1]["mmse"] < stages[0]["mmse"] - 10).all() and (stages[1]["haemoglobin"] == stages[0]["haemoglobin"]).all()
    more = phantom.counterfactual_table(table, {"wm_lesion_load": 50.0}, effect="total")
    assert (more["mmse"] < table["mmse"]).all()
    demented = large_table["dementia"] == "present"
    assert large_table["mmse"][demented].mean() < large_table["mmse"][~demented].mean() - 5
    ill = large_table["tumour"] == "present"
    assert (large_table["glioma"] == "present")[ill].mean() > 0.9 and (large_table["glioma"] == "present")[~ill].mean() < 0.02
    low = large_table["haemoglobin"] < 12 + (large_table["sex"] == "M")
    assert not (large_table["anaemia"] == "present")[~low].any() and (large_table["anaemia"] == "present")[low].mean() > 0.8


def test_factors_follow_their_equations(large_table):
    male = (large_table["sex"] == "M").astype(float)
    stage = large_table["atrophy"].map({"none": 0, "mild": 1, "moderate": 2, "severe": 3}).astype(float)
    brain = large_table["brain_volume"] - (1450 + 130 * male - 3.5 * (large_table["age"] - 50) - 32 * stage)
    assert abs(brain.mean()) < 8 and abs(brain.std() - 90) < 6
    ventricles = np.log(large_table["ventricle_volume"] / 25) - 0.02 * (large_table["age"] - 50) + 0.0006 * (large_table["brain_volume"] - 1450) - 0.16 * stage
    assert abs(ventricles.mean()) < 0.03 and abs(ventricles.std() - 0.35) < 0.02
    old, young = large_table["age"] > 75, large_table["age"] < 45
    assert (stage[old] > 0).mean() > 0.3 + (stage[young] > 0).mean()
    assert large_table["wm_lesion_load"][old].median() > 3 * large_table["wm_lesion_load"][young].median()
    share = (large_table["brain_volume"] + large_table["ventricle_volume"]) / large_table["intracranial_volume"]
    assert (share < 1 / 1.03).mean() > 0.99


SLOW = [pytest.param(factor, marks=pytest.mark.slow) for factor in ("age", "brain_volume", "wm_lesion_load", "tumour_volume", "motion", "dose")]


@pytest.mark.parametrize("factor", ["ventricle_volume", "enhancement", *SLOW])
def test_the_oracle_reads_a_factor_back(phantom, table, factor):
    subject = phantom.counterfactual_table(table.iloc[[1]], TUMOUR)
    truth = float(subject[factor].iloc[0])
    node = next(node for node in phantom.factors if node.name == factor)
    given = subject.assign(**{factor: node.low})
    found = phantom.read(phantom.render(subject) * 2 - 1, given=given, factor=factor)
    assert float(found["value"].iloc[0]) == pytest.approx(truth, abs=2e-3 * (node.high - node.low)) and float(found["rms"].iloc[0]) < 0.5


def test_the_oracle_reads_a_category_back(phantom, table):
    images = phantom.render(table) * 2 - 1
    for factor in ("atrophy", "scanner", "sex"):
        assert phantom.read(images, given=table, factor=factor)["value"].tolist() == table[factor].tolist()


@pytest.mark.parametrize(
    ("factor", "step"),
    [("ventricle_volume", 1.0), ("brain_volume", 5.0), ("wm_lesion_load", 0.3), ("tumour_volume", 0.5), ("tumour_x", 0.3), ("enhancement", 0.02), ("age", 2.0)],
)
def test_slopes_match_finite_differences(phantom, table, factor, step):
    subject = phantom.subjects(phantom.counterfactual_table(table.iloc[[2]], TUMOUR | {"ventricle_volume": 35.0, "wm_lesion_load": 6.0}))
    weight = torch.linspace(0.2, 1, 4, dtype=torch.float64)[:, None, None, None]

    def brightness(value):
        head = phantom.paint(Subjects(subject.seeds, subject.names, dict(subject.values) | {factor: value}), noise=False, device="cpu")
        return (head.double() * weight).sum()

    value = subject.values[factor]
    (slope,) = torch.autograd.grad(brightness(leaf := value.clone().requires_grad_()), leaf)
    numeric = (brightness(value + step) - brightness(value - step)) / (2 * step)
    assert float(slope) == pytest.approx(float(numeric), rel=0.03)


def test_a_head_is_the_same_head_at_every_size(table):
    shares = []
    for size in (32, 64):
        values = {name: column[0] for name, column in BrainPhantom(size=size).subjects(table).values.items()}
        head = build(values, Nuisance.draw(0, table["subject"].iloc[0], "cpu"), size)
        shares.append({name: share.unflatten(0, (32, -1)).unflatten(2, (32, -1)).unflatten(4, (32, -1)).mean((1, 3, 5)) for name, share in head.shares.items()})
    for name in ("air", "ventricles", "bone", "csf"):
        coarse, fine = (part[name].flatten() - part[name].mean() for part in shares)
        assert float(coarse @ fine / (coarse.norm() * fine.norm())) > 0.8, name


def test_a_level_holds_its_volume_and_its_slope_is_one_over_the_surface():
    grid = (torch.arange(48) - 23.5) * 2.0
    distance = (grid[:, None, None] ** 2 + grid[:, None] ** 2 + grid**2).sqrt() - 20
    target, softness = torch.tensor(60.0, requires_grad=True), torch.tensor(0.5)
    shift = level(distance, target, within=torch.ones_like(distance), softness=softness, voxel_ml=0.008)
    radius = 20 - float(shift.detach())
    assert 4 / 3 * math.pi * radius**3 / 1000 == pytest.approx(60.0, rel=0.01)
    (slope,) = torch.autograd.grad(shift, target)
    assert float(-slope) == pytest.approx(1000 / (4 * math.pi * radius**2), rel=0.01)


def test_signal_equations_have_their_closed_forms():
    one, t1, t2 = torch.tensor(1.0), torch.tensor(833.0), torch.tensor(83.0)
    assert float(mr.spin_echo(one, t1, t2, tr=833 * math.log(2), te=83)) == pytest.approx(0.5 / math.e, rel=1e-5)
    assert float(mr.spgr(one, t1, t2, tr=1e7, te=0.0, flip=35)) == pytest.approx(math.sin(math.radians(35)), rel=1e-5)
    # At the Ernst angle, cos a = E1, the signal is sqrt((1 - E1) / (1 + E1)), and no angle gives more.
    decay = math.exp(-20 / 833)
    ernst = math.degrees(math.acos(decay))
    best = float(mr.spgr(one, t1, t2, tr=20, te=0, flip=ernst))
    assert best == pytest.approx(math.sqrt((1 - decay) / (1 + decay)), rel=1e-4)
    assert all(float(mr.spgr(one, t1, t2, tr=20, te=0, flip=ernst + turn)) < best for turn in (-3, 3))
    expected = 0.86 * abs(1 - 2 * math.exp(-1700 / 833) + math.exp(-9000 / 833)) * math.exp(-120 / 83)
    assert float(mr.flair(torch.tensor(0.86), t1, t2, tr=9000, te=120, ti=1700)) == pytest.approx(expected, rel=1e-5)
    assert float(mr.flair(one, torch.tensor(2569.0), t2, tr=9000, te=0, ti=mr.null_time(2569, tr=9000))) < 1e-6
    assert float(mr.with_agent(torch.tensor(1000.0), 0.5, relaxivity=4.0)) == pytest.approx(1000 / 3, rel=1e-5)


@pytest.mark.parametrize("scanner", SCANNERS)
def test_contrasts_are_those_of_the_sequences(scanner):
    table = signals(scanner, {"age": torch.tensor(50.0), "enhancement": torch.tensor(1.0)})
    t1, t2, flair = ({name: float(value) for name, value in zip(TISSUES, row, strict=True)} for row in table)
    assert t1["csf"] < t1["grey"] < t1["white"] < t1["fat"] and t1["tumour"] > t1["white"]
    assert t2["white"] < t2["grey"] < t2["wm_lesions"] < t2["csf"]
    assert flair["csf"] < 0.01 < flair["white"] < flair["grey"] < flair["oedema"] and flair["wm_lesions"] > 1.4 * flair["grey"]


def test_rician_noise_without_signal_is_rayleigh():
    noise = torch.randn(2, 400_000, generator=torch.Generator().manual_seed(0))
    magnitude = mr.rician(torch.zeros(400_000), noise, sigma=0.03)
    assert float(magnitude.mean()) == pytest.approx(0.03 * math.sqrt(math.pi / 2), rel=5e-3)
    assert float(magnitude.var()) == pytest.approx((2 - math.pi / 2) * 0.03**2, rel=1e-2)
    strong = mr.rician(torch.full((400_000,), 0.9), noise, sigma=0.03)
    assert float((strong**2).mean()) == pytest.approx(0.9**2 + 2 * 0.03**2, rel=1e-3)


def test_the_bias_field_stays_within_a_fifth():
    for seed in range(6):
        draws = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(seed))
        for scanner in (0.0, 1.0):
            field = mr.bias_field(bias_coefficients(draws, torch.tensor(scanner)), (24, 20, 28)).log().abs()
            assert 0.06 < float(field.max()) <= 0.205
    nodes, weights = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(6))
    basis = mr.legendre(nodes, 3)
    assert torch.allclose(basis * weights @ basis.T, torch.diag(2 / (2 * torch.arange(4.0, dtype=torch.float64) + 1)), atol=1e-12)


def test_motion_moves_energy_but_makes_none():
    volume = torch.rand(3, 32, 5, generator=torch.Generator().manual_seed(0))
    phases = torch.tensor([0.2, 0.7])
    still, moved = (mr.move(volume, amount, phases, step_mm=3.0) for amount in (0.0, 1.0))
    assert torch.allclose(still.abs(), volume, atol=1e-6)
    assert float(moved.abs().square().sum()) == pytest.approx(float(volume.square().sum()), rel=1e-5)
    assert float((moved.abs() - volume).abs().mean()) > 0.02


def test_ct_noise_falls_with_the_root_of_the_charge():
    white = torch.randn(2, 40, 40, 40, generator=torch.Generator().manual_seed(0))
    noise = ct.dose_noise(white, mas=torch.tensor([100.0, 25.0]), spacing_mm=(3.0, 2.0, 2.0), correlation_mm=3.0, sigma_hu=8.0)
    assert float(noise[0].std()) == pytest.approx(8.0, rel=0.03) and float(noise[1].std()) == pytest.approx(16.0, rel=0.03)
    level = noise[0] - noise[0].mean()
    assert float((level[:, 1:] * level[:, :-1]).mean() / level.var()) > 0.4 > float((level[1:] * level[:-1]).mean().abs() / level.var()) * 8


def test_the_kernel_has_the_width_asked_for():
    point = torch.zeros(1, 41, 41, 41)
    point[0, 20, 20, 20] = 1000.0
    spread = ct.point_spread(point, spacing_mm=(0.5, 0.5, 0.5), fwhm_mm=4.0)[0]
    assert float(spread.sum()) == pytest.approx(1000.0, rel=1e-3)
    assert float(spread[20, 20, 24] / spread[20, 20, 20]) == pytest.approx(0.5, abs=1e-3)
    assert torch.allclose(ct.point_spread(point, spacing_mm=(0.5, 0.5, 0.5), fwhm_mm=0.0), point)


@pytest.mark.parametrize("size", [31, 129, 64.0, True, "64"])
def test_bad_sizes_are_refused(size):
    with pytest.raises(SchemaError, match="32..128"):
        BrainPhantom(size=size)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ({"height": 3}, "not a factor"),
        ({"brain_volume": 300}, "outside 900..1950 ml"),
        ({"atrophy": "terrible"}, "not one of none, mild, moderate, severe"),
        ({"wm_lesion_load": "much"}, "not a number"),
    ],
)
def test_bad_edits_are_refused(phantom, table, do, message):
    with pytest.raises(SchemaError, match=message):
        phantom.counterfactual_table(table, do)


def test_foreign_tables_and_cohorts_are_refused(phantom, table):
    with pytest.raises(SchemaError, match="lacks mmse"):
        phantom.volumes(table.drop(columns="mmse"))
    with pytest.raises(DataError, match="was not drawn by"):
        phantom.labels(BrainPhantom(size=33).cohort(1))


def test_what_no_voxel_shows_cannot_be_read():
    phantom = BrainPhantom(size=32)
    data = phantom.cohort(1, seed=2)
    assert phantom.read(data, given=data, factor="mmse")["value"].isna().all()
    assert phantom.read(data, given=data, factor="dementia")["value"].isna().all()


def test_label_names_count_the_tissues():
    phantom = BrainPhantom(size=32)
    found = set(phantom.labels(phantom.factors_table(1, seed=0)).unique().tolist())
    assert found <= set(phantom.label_names) and phantom.label_names[0] == "air"
