"""The lung nodule phantom: exact counterfactuals, exact volumes, and CT noise against closed forms."""
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from synthkit.errors import SchemaError
from synthkit.phantoms.nodule import WINDOW_HU, NodulePhantom
from synthkit.phantoms.nodule_factors import DENSITIES
from synthkit.phantoms.nodule_place import Place
from synthkit.phantoms.nodule_scene import build
from synthkit.phantoms.nodule_shape import AXES, DEGREES, ZONAL
from synthkit.phantoms.nodule_tubes import Tubes, coverage

PLAIN = {"emphysema": 0.0, "kernel": "soft", "dose": 100.0, "spiculation": 0.1, "calcification": "absent", "density": "solid"}


@pytest.fixture(scope="module")
def phantom():
    return NodulePhantom(size=32)


@pytest.fixture(scope="module")
def table(phantom):
    return phantom.factors_table(4, seed=4)


@pytest.fixture(scope="module")
def plain(phantom, table):
    return phantom.counterfactual_table(table, PLAIN)


def to_hu(images):
    low, high = WINDOW_HU
    return images[:, 0].double() * (high - low) + low


def scene(phantom, table, row=0, **values):
    subjects = phantom.subjects(table)
    given = {name: column[row] for name, column in subjects.values.items()} | values
    return build(subjects.seeds[row], subjects.names[row], given, size=phantom.size, device="cpu")


def dilated(mask, voxels):
    return functional.max_pool3d(mask[:, None].float(), 2 * voxels + 1, 1, voxels)[:, 0] > 0


def test_the_cohort_holds_whole_hu_in_known_millimetres(phantom):
    cohort = phantom.cohort(2, seed=4)
    raw = cohort.images.raw()
    assert raw.dtype == np.int16 and raw.shape == (2, 1, 32, 32, 32)
    assert cohort.space.spacing_mm == (1.5, 1.5, 1.5) and cohort.space.channels[0].unit == "HU"
    assert -900 < np.median(raw) < -780 and raw.min() >= WINDOW_HU[0] and raw.max() <= WINDOW_HU[1]
    assert np.abs(raw - to_hu(phantom.render(cohort)).numpy()[:, None]).max() < 0.501


def test_doing_nothing_gives_identical_bytes_and_twice_is_once(phantom):
    cohort = phantom.cohort(2, seed=4)

    def raw(start, do, effect="direct"):
        return phantom.counterfactual(start, do, effect=effect).images.raw()

    assert np.array_equal(raw(cohort, {}, "direct"), cohort.images.raw())
    assert np.array_equal(raw(cohort, {}, "total"), cohort.images.raw())
    do = {"diameter": 15.0, "lobe": "left lower", "density": "part-solid"}
    once = phantom.counterfactual(cohort, do)
    assert np.array_equal(raw(once, do), once.images.raw()) and not np.array_equal(once.images.raw(), cohort.images.raw())
    before = {name: cohort.table[name].iloc[0] for name in do}
    assert np.array_equal(raw(once[:1], before), cohort.images.raw([0]))


def test_a_row_alone_gives_the_bytes_it_has_in_any_batch_or_order(phantom):
    table = phantom.factors_table(7, seed=1)
    cubes = phantom.render(table)
    order = np.random.default_rng(0).permutation(len(table))
    assert torch.equal(phantom.render(table.iloc[order]), cubes[order.copy()])
    assert torch.equal(phantom.render(table.iloc[[5]]), cubes[[5]])


@pytest.mark.parametrize("diameter", [5.0, 8.0, 13.0, 20.0])
@pytest.mark.parametrize("spiculation", [0.0, 1.0])
def test_the_mask_has_the_volume_of_a_sphere_of_that_diameter(diameter, spiculation):
    phantom = NodulePhantom(size=64)
    table = phantom.counterfactual_table(phantom.factors_table(1, seed=7), {"diameter": diameter, "spiculation": spiculation})
    volume = phantom.masks(table)["nodule"].sum() * phantom.spacing_mm**3
    assert float(volume) == pytest.approx(math.pi / 6 * diameter**3, rel=0.01)
    assert float(scene(phantom, table).nodule.share.sum()) * phantom.spacing_mm**3 == pytest.approx(math.pi / 6 * diameter**3, rel=1e-4)


def test_volume_has_the_slope_of_the_sphere_and_the_image_follows(phantom, plain):
    diameter = torch.tensor(11.0, requires_grad=True)
    volume = scene(phantom, plain, diameter=diameter).nodule.share.sum() * phantom.spacing_mm**3
    (slope,) = torch.autograd.grad(volume, diameter)
    assert float(slope) == pytest.approx(math.pi / 2 * 11.0**2, rel=1e-3)
    subjects = phantom.subjects(plain.head(1))
    for name in ("diameter", "spiculation", "emphysema", "dose"):
        value = torch.tensor([{"diameter": 9.0, "spiculation": 0.4, "emphysema": 0.2, "dose": 60.0}[name]], requires_grad=True)
        given = type(subjects)(subjects.seeds, subjects.names, {**subjects.values, name: value})
        (slope,) = torch.autograd.grad(phantom.paint(given, noise=True, device="cpu").square().sum(), value)
        assert slope.isfinite().all() and slope.abs() > 0


@pytest.mark.parametrize("do", [{"density": "ground-glass"}, {"density": "part-solid"}, {"dose": 20.0}, {"kernel": "sharp"}, {"malignancy": "present"}])
def test_what_is_no_form_leaves_every_other_mask_identical(phantom, plain, do):
    before, after = phantom.masks(plain), phantom.masks(phantom.counterfactual_table(plain, do))
    assert all(torch.equal(before[name], after[name]) for name in before if name != "solid_part")


@pytest.mark.parametrize("density", DENSITIES[1:])
def test_a_change_of_density_stays_in_the_nodule(phantom, plain, density):
    changed = phantom.change_mask(plain, {"density": density})
    masks = phantom.masks(plain)
    assert not (changed & ~dilated(masks["nodule"] | masks["spicules"], 3)).any()
    assert (changed & masks["nodule"]).sum() > 0.3 * masks["nodule"].sum()


def test_densities_have_their_hu(phantom, plain):
    large = phantom.counterfactual_table(plain, {"diameter": 18.0, "spiculation": 0.0})
    masks = phantom.masks(large)
    centre = ~dilated(~masks["nodule"], 2) & ~dilated(masks["vessels"] | masks["airways"], 2)
    for density, hu in (("solid", 30), ("ground-glass", -600)):
        shown = to_hu(phantom.render(phantom.counterfactual_table(large, {"density": density}), noise=False))
        assert float(shown[centre].mean()) == pytest.approx(hu, abs=25)


def test_noise_falls_with_the_root_of_the_dose(phantom, plain):
    lung = phantom.masks(plain)["lung"]
    quiet = to_hu(phantom.render(plain, noise=False))

    def noise(dose):
        return (to_hu(phantom.render(phantom.counterfactual_table(plain, {"dose": dose}))) - quiet)[lung]

    full, quarter = noise(100.0), noise(25.0)
    assert float(full.std()) == pytest.approx(16.0, rel=0.05) and abs(float(full.mean())) < 0.5
    assert float(quarter.std() / full.std()) == pytest.approx(2, rel=0.01)


def test_emphysema_is_the_share_of_lung_without_tissue():
    phantom = NodulePhantom(size=48)
    table = phantom.counterfactual_table(phantom.factors_table(1, seed=3), PLAIN | {"kernel": "soft"})
    shares = []
    for emphysema in (0.0, 0.15, 0.4):
        drawn = scene(phantom, phantom.counterfactual_table(table, {"emphysema": emphysema}))
        shares.append(float((drawn.lung[drawn.wall.share < 0.5] < -908).double().mean()))
    assert shares == pytest.approx([0, 0.15, 0.4], abs=0.03)


def test_the_oracle_reads_diameter_density_and_kernel(phantom, table):
    start = table.head(2)
    do = {"diameter": 11.7, "density": "part-solid", "kernel": "sharp"}
    edited = phantom.render(phantom.counterfactual_table(start, do)) * 2 - 1
    for name, value in do.items():
        given = phantom.counterfactual_table(start, {key: other for key, other in do.items() if key != name})
        answer = phantom.read(edited, given=given, factor=name)
        if name == "diameter":
            assert np.allclose(answer["value"], value, atol=0.02)
        else:
            assert (answer["value"] == value).all() and (answer["rms"] < 1e-4).all()


@pytest.mark.parametrize(("name", "low", "high"), [("diameter", 5.0, 18.0), ("spiculation", 0.0, 0.8), ("age", 45.0, 85.0), ("emphysema", 0.0, 0.2)])
def test_malignancy_rises_with_its_causes(phantom, name, low, high):
    many = phantom.factors_table(600, seed=0)

    def share(value):
        return (phantom.counterfactual_table(many, {name: value}, effect="total")["malignancy"] == "present").mean()

    assert share(high) > share(low) + 0.02


def test_malignancy_is_not_drawn(phantom, table):
    shown = [phantom.render(phantom.counterfactual_table(table, {"malignancy": level})) for level in ("absent", "present")]
    assert torch.equal(*shown)


def test_masks_are_where_they_should_be(phantom, plain):
    masks = phantom.masks(plain)
    assert not (masks["nodule"] & masks["wall"]).any() and not (masks["lung"] & masks["wall"]).any()
    assert (masks["lung"] | masks["wall"]).all() and not (masks["solid_part"] & ~masks["nodule"]).any()
    assert masks["vessels"].flatten(1).any(1).all()
    spiky = phantom.masks(phantom.counterfactual_table(plain, {"spiculation": 1.0}))["spicules"]
    assert (spiky.flatten(1).sum(1) > masks["spicules"].flatten(1).sum(1)).all()


@pytest.mark.parametrize("lobe", ["right upper", "right middle", "right lower", "left upper", "left lower"])
def test_the_hilum_lies_to_the_middle_and_the_wall_to_the_side(lobe):
    to_left = 1 if lobe.startswith("right") else -1
    places = [Place.draw(0, f"nodule-0-{number}", lobe) for number in range(20)]
    assert all(to_left * place.hilum[2] > 0 > to_left * place.outward[2] for place in places)
    # Neither the wall nor the fissure reaches the largest nodule.
    assert all(min(place.wall_mm, place.fissure_mm) > 11 for place in places)


@pytest.mark.parametrize("radius", [0.2, 0.6, 1.0, 3.0])
def test_a_tube_covers_its_cross_section(radius):
    slanted = Tubes(torch.tensor([[-30.0, -11.0, 4.0]]), torch.tensor([[30.0, 13.0, -6.0]]), torch.full((1, 2), radius))
    length = math.hypot(60, 24, 10) / 60
    middle = coverage(slanted, size=40, spacing_mm=1.0)[10:30].sum((1, 2))
    assert float(middle.mean()) == pytest.approx(math.pi * radius**2 * length, rel=0.02)


def test_the_harmonics_are_legendre_polynomials():
    cosine = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    powers = cosine[:, None] ** torch.arange(len(ZONAL))
    values = powers @ ZONAL.double()
    products = (values[:, :, None] * values[:, None]).mean(0) * AXES
    assert torch.allclose(products, torch.eye(len(DEGREES), dtype=torch.float64), atol=2e-3)


@pytest.mark.parametrize("size", [16, 97, 48.0, True])
def test_bad_sizes_are_refused(size):
    with pytest.raises(SchemaError, match="32..96"):
        NodulePhantom(size=size)


@pytest.mark.parametrize(
    ("do", "message"),
    [
        ({"diameter": 30}, "outside 4..20 mm"),
        ({"density": "cystic"}, "not one of solid, part-solid, ground-glass"),
        ({"lobe": "lingula"}, "not one of right upper"),
        ({"dose": "low"}, "not a number"),
        ({"place": 3}, "not a factor"),
    ],
)
def test_bad_edits_are_refused(phantom, table, do, message):
    with pytest.raises(SchemaError, match=message):
        phantom.counterfactual_table(table, do)
