"""Radiomic features against the values of pyradiomics on real images, matrices worked by hand, brute force, and what must not change them."""
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import toy_cohort

from synthkit.errors import DataError
from synthkit.metrics.evaluate import evaluate
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.radiomic_distance import FrechetRadiomicsDistance
from synthkit.metrics.radiomics import radiomic_features, radiomics
from synthkit.metrics.radiomics.filters import filtered
from synthkit.metrics.radiomics.glcm import cooccurrences
from synthkit.metrics.radiomics.gldm import dependences
from synthkit.metrics.radiomics.glrlm import runs
from synthkit.metrics.radiomics.glszm import zone_sizes
from synthkit.metrics.radiomics.neighbours import directions
from synthkit.metrics.radiomics.ngtdm import differences
from synthkit.metrics.radiomics.region import Region
from synthkit.metrics.radiomics.zones import zones

COUNTS = {"firstorder": 18, "glcm": 24, "glrlm": 16, "glszm": 16, "gldm": 14, "ngtdm": 5}


def grey(count: int, *size: int, seed: int = 0, smooth: int = 0) -> np.ndarray:
    """uint8 images (N, 1, *size), rough or smoothed along the last axis."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(0, 256, (count, 1, *size))
    for _ in range(smooth):
        images = (images + np.roll(images, 1, -1)) / 2
    return images.astype(np.uint8)


def region(levels: object, inside: object = None) -> Region:
    """A batch of one whose levels are as written."""
    values = torch.tensor(levels, dtype=torch.float64)[None]
    return Region.of(values, torch.ones_like(values, dtype=torch.bool) if inside is None else torch.tensor(inside)[None], bin_width=1)


def share_matched(table: pd.DataFrame, expected: pd.DataFrame, rows: list[int], *, within: float = 1e-3) -> float:
    """The share of expected values that a table, whose rows have these numbers, meets to within a relative difference."""
    wanted = expected[~expected["feature"].str.contains("_shape")]
    columns = wanted["feature"].str.removeprefix("original_")
    assert set(columns) == set(table.columns)
    found = table.to_numpy()[[rows.index(row) for row in wanted["row"]], [table.columns.get_loc(name) for name in columns]]
    values = wanted["value"].to_numpy()
    return float((np.abs(found - values) <= within * np.abs(values) + 1e-9).mean())


def of_rows(file: Path) -> tuple[pd.DataFrame, list[int]]:
    expected = pd.read_csv(file)
    return expected, list(expected["row"].unique())


def test_whole_images_have_the_reference_values(reference, real_data):
    expected, rows = of_rows(reference / "radiomics" / "features_2d_nih.csv")
    images = np.load(real_data / "cxr_nih64" / "images.npz")["images"][rows][:, None]
    assert share_matched(radiomics(images), expected, rows, within=1e-9) == 1 and len(expected) == 24 * 93


def test_masked_lungs_have_the_reference_values(reference, real_data):
    expected, rows = of_rows(reference / "radiomics" / "features_2d_lungs.csv")
    with np.load(real_data / "cxr_cohen128" / "masks.npz") as file:
        at = [list(file["index"]).index(row) for row in rows]
        lungs = file["masks"][at, list(file["names"]).index("lungs")] > 0
    images = np.load(real_data / "cxr_cohen128" / "images.npz")["images"][rows][:, None]
    assert share_matched(radiomics(images, lungs), expected, rows, within=1e-9) == 1 and len(rows) == 12


def test_lesions_of_volumes_have_the_reference_values(reference, real_data):
    expected, rows = of_rows(reference / "radiomics" / "features_3d_lesions.csv")
    with np.load(real_data / "brain_lgg3d" / "volumes.npz") as file:
        volumes, packed = file["volumes"][rows][:, None], file["masks_packed"][rows]
    lesions = np.unpackbits(packed, axis=1).reshape(-1, 32, 64, 64) > 0
    assert share_matched(radiomics(volumes, lesions), expected, rows, within=1e-9) == 1 and len(rows) == 6


def test_filtered_images_have_the_reference_values(reference, real_data):
    """Wavelets strictly; the Laplacian of ITK is float32, whose rounding the features repeat."""
    expected, rows = of_rows(reference / "radiomics" / "features_2d_nih_filtered.csv")
    images = np.load(real_data / "cxr_nih64" / "images.npz")["images"][rows][:, None]
    table, fragile = radiomics(images, filters=("wavelet", "log")), pd.read_csv(reference / "radiomics" / "fragile.csv")
    kind = expected["feature"].str.split("_").str[0]
    strict = ~pd.MultiIndex.from_arrays([expected["row"], kind]).isin(pd.MultiIndex.from_frame(fragile[["row", "image_type"]]))
    for name, within in (("wavelet", 1e-9), ("log", 1e-5)):
        columns = [column for column in table.columns if column.startswith(name)]
        chosen = expected["feature"].str.startswith(name)
        assert share_matched(table[columns], expected[chosen & strict], rows, within=within) == 1
        assert share_matched(table[columns], expected[chosen & ~strict], rows) > 0.95, "also those that hang on a rounding"


EXAMPLE = [[5, 2, 5, 4, 4], [3, 3, 3, 1, 3], [2, 1, 1, 1, 3], [4, 2, 2, 2, 3], [3, 5, 3, 3, 2]]


def test_cooccurrences_by_hand():
    levels = [[1, 2, 5, 2, 3], [3, 2, 1, 3, 1], [1, 3, 5, 5, 2], [1, 1, 1, 1, 2], [1, 2, 4, 3, 5]]
    expected = [[6, 4, 3, 0, 0], [4, 0, 2, 1, 3], [3, 2, 0, 1, 2], [0, 1, 1, 0, 0], [0, 3, 2, 0, 2]]
    assert directions(2)[0] == (0, 1)
    assert cooccurrences(region(levels))[0, 0].tolist() == expected


def test_runs_by_hand():
    expected = [[1, 0, 1], [3, 0, 1], [4, 1, 1], [1, 1, 0], [3, 0, 0]]
    assert runs(region(EXAMPLE))[0, 0].tolist() == expected


def test_zones_by_hand():
    found = zone_sizes(region(EXAMPLE))
    assert found.sizes.tolist() == [1, 2, 3, 4, 5]
    assert found.counts[0, 0].tolist() == [[0, 0, 0, 1, 0], [1, 0, 0, 0, 1], [1, 0, 1, 0, 1], [1, 1, 0, 0, 0], [3, 0, 0, 0, 0]]


def test_dependences_by_hand():
    expected = [[0, 1, 2, 1], [1, 2, 3, 0], [1, 4, 4, 0], [1, 2, 0, 0], [3, 0, 0, 0]]
    counts = dependences(region(EXAMPLE))[0]
    assert counts[:, :4].tolist() == expected and not counts[:, 4:].any()


def test_grey_tone_differences_by_hand():
    found = differences(region([[1, 2, 5, 2], [3, 5, 1, 3], [1, 3, 5, 5], [3, 1, 1, 1]]))[0]
    # The four 3s have neighbours of mean 12/5, 18/5, 20/8 and 5/3.
    assert found.tolist() == pytest.approx([13.35, 2, 0.6 + 0.6 + 0.5 + 4 / 3, 0, 10.075])


def test_a_pixel_without_neighbours_is_no_different_from_them():
    found = differences(region([[1, 2, 9, 5]], [[True, True, False, True]]))[0]
    assert found.tolist() == [1, 1, 0, 0, 0]


def test_features_of_four_pixels_by_hand():
    row = radiomics(np.array([[[[1, 2], [1, 1]]]]), bin_width=1).iloc[0]
    # Pairs: (1,2) and (1,1) along rows, the same along columns, (1,1) on one diagonal, (1,2) on the other.
    assert row["glcm_Contrast"] == pytest.approx((0.5 + 0.5 + 0 + 1) / 4)
    assert row["glcm_Correlation"] == pytest.approx((-1 / 3 - 1 / 3 + 1 - 1) / 4)
    assert row["glcm_JointEntropy"] == pytest.approx((1.5 + 1.5 + 0 + 1) / 4)
    one = -0.75 * np.log2(0.75) + 0.5  # bits of a level along rows; both levels together have 1.5
    assert row["glcm_Imc1"] == pytest.approx(((1.5 - 2 * one) / one * 2 + 0 - 1) / 4)
    assert row["glcm_Imc2"] == pytest.approx((2 * np.sqrt(1 - np.exp(-2 * (2 * one - 1.5))) + 0 + np.sqrt(1 - np.exp(-2))) / 4)
    assert row["glcm_MCC"] == pytest.approx((1 / 3 + 1 / 3 + 0 + 1) / 4)
    # Runs: 1 2 / 11 along rows, 11 / 2 1 along columns, and of the diagonals one is 1 2 1 apart and one is 11 with 1 and 2 beside it.
    assert row["glrlm_RunPercentage"] == pytest.approx((3 + 3 + 4 + 3) / 16)
    assert row["glrlm_ShortRunEmphasis"] == pytest.approx((0.75 + 0.75 + 1 + 0.75) / 4)
    assert row["firstorder_10Percentile"] == 1 and row["firstorder_90Percentile"] == pytest.approx(1.7)
    assert row["glszm_LargeAreaEmphasis"] == (9 + 1) / 2 and row["glszm_ZonePercentage"] == 0.5
    assert row["gldm_LargeDependenceEmphasis"] == (3 * 9 + 1) / 4
    # Each 1 is 1/3 from its neighbours' mean 4/3, the 2 is 1 from theirs.
    expected = {"Coarseness": 1 / (3 / 4 + 1 / 4), "Contrast": 2 * 3 / 16 / 2 * 2 / 4, "Busyness": 1 / (2 * 1 / 4), "Complexity": 2 / 4, "Strength": 2 / 2}
    assert {name: row[f"ngtdm_{name}"] for name in expected} == pytest.approx(expected)
    assert row["firstorder_Kurtosis"] == pytest.approx((3 * 0.25**4 + 0.75**4) / 4 / (3 / 16) ** 2)


def brute_force(levels: np.ndarray, step: tuple[int, ...]) -> tuple[dict, dict]:
    """Symmetric pairs and runs of one direction, pixel by pixel."""
    pairs, lengths = {}, {}
    spots = {spot: level for spot, level in np.ndenumerate(levels) if level}

    def near(spot: tuple[int, ...], times: int) -> tuple[int, ...]:
        return tuple(a + times * b for a, b in zip(spot, step))

    for spot, level in spots.items():
        other = spots.get(near(spot, 1))
        for key in [(level, other), (other, level)] if other else []:
            pairs[key] = pairs.get(key, 0) + 1
        if spots.get(near(spot, -1)) != level:
            length = next(k for k in range(1, 99) if spots.get(near(spot, k)) != level)
            lengths[level, length] = lengths.get((level, length), 0) + 1
    return pairs, lengths


@pytest.mark.parametrize("size", [(7, 9), (4, 5, 6)])
def test_pairs_and_runs_of_regions_with_holes_by_brute_force(size):
    rng = np.random.default_rng(3)
    for _ in range(4):
        values, inside = rng.integers(1, 4, size), rng.random(size) < 0.75
        values.flat[0], inside.flat[0] = 1, True
        made = region(values, inside)
        matrices, lengths = cooccurrences(made)[0], runs(made)[0]
        for number, step in enumerate(directions(len(size))):
            pairs, found = brute_force(values * inside, step)
            assert {(i + 1, j + 1): int(matrices[number, i, j]) for i, j in matrices[number].nonzero().tolist()} == pairs
            assert {(i + 1, k + 1): int(lengths[number, i, k]) for i, k in lengths[number].nonzero().tolist()} == found


@given(st.integers(0, 10**6), st.sampled_from([(6, 7), (1, 9), (9, 1), (4, 5, 6), (2, 1, 8)]), st.integers(1, 5))
def test_zones_of_a_batch_are_those_of_each_image_and_level(seed, size, most):
    from scipy.ndimage import label

    levels = np.random.default_rng(seed).integers(0, most + 1, (3, *size))
    expected = []
    for image, level in product(range(3), range(1, most + 1)):
        numbered, count = label(levels[image] == level, structure=np.ones((3,) * len(size)))
        expected += [(image, level, int((numbered == zone).sum())) for zone in range(1, count + 1)]
    found = zones(levels)
    assert sorted(zip(found.image.tolist(), found.level.tolist(), found.size.tolist())) == sorted(expected)


def test_neighbours_of_a_volume_are_all_26():
    made = region(np.ones((3, 3, 3)))
    assert dependences(made)[0, 0].tolist() == [0] * 7 + [8] + [0] * 3 + [12] + [0] * 5 + [6] + [0] * 8 + [1]
    assert len(set(directions(3))) == 13 and not differences(made).any()


def test_a_line_that_crosses_the_mask_once_only_is_left_out():
    """Two pixels with a hole between: along their row there are two runs, along other lines nothing is counted."""
    made = region([[1, 2, 1], [1, 1, 1]], [[True, False, True], [False, False, False]])
    assert runs(made)[0, :, 0, 0].tolist() == [2, 0, 0, 0]


@pytest.mark.parametrize("images", [np.full((1, 1, 6, 7), 0.1), np.full((1, 1, 3, 4, 5), 200, np.uint8), np.linspace(0.1, 0.9, 64).reshape(1, 1, 8, 8)])
def test_one_level_is_no_trap(images):
    row = radiomics(images).iloc[0]
    assert np.isfinite(row.to_numpy()).all()
    ones = {"glcm_Correlation", "glcm_MCC", "glcm_JointEnergy", "glcm_Idmn", "glcm_MaximumProbability", "glcm_Id", "firstorder_Uniformity"}
    zeros = {"glcm_Imc1", "glcm_Imc2", "glcm_Contrast", "glcm_JointEntropy", "glcm_InverseVariance", "ngtdm_Contrast", "ngtdm_Busyness", "ngtdm_Strength",
             "ngtdm_Complexity", "firstorder_Entropy", "glszm_ZoneEntropy", "glszm_ZoneVariance", "gldm_GrayLevelVariance"}  # fmt: skip
    assert (row[list(ones)] == 1).all() and (row[list(zeros)] == 0).all()
    assert row["ngtdm_Coarseness"] == 1e6 and row["glszm_ZonePercentage"] == 1 / images.size
    if np.ptp(images) == 0:
        assert row["firstorder_Skewness"] == row["firstorder_Kurtosis"] == 0


def test_the_columns_are_those_asked_for():
    table = radiomics(grey(2, 8, 8), filters=("original", "wavelet", "log"))
    assert table.shape == (2, 7 * 93) and {"glcm_Contrast", "wavelet-LH_glcm_Contrast", "log-sigma-2-0-mm-3D_ngtdm_Busyness"} <= set(table.columns)
    for kind, count in COUNTS.items():
        part = radiomics(grey(2, 8, 8), classes=(kind,))
        assert part.shape[1] == count and all(name.startswith(f"{kind}_") for name in part.columns)
        pd.testing.assert_frame_equal(part, table[list(part.columns)])


@pytest.mark.parametrize("size", [(12, 15), (5, 6, 7)])
def test_an_image_does_not_depend_on_its_batch(size, monkeypatch):
    images = np.concatenate([grey(3, *size), grey(3, *size, seed=1, smooth=9), np.full((1, 1, *size), 90, np.uint8)])
    masks = np.random.default_rng(2).random((7, *size)) < 0.8
    table = radiomics(images, masks, bin_width=10)
    for i in range(7):
        np.testing.assert_allclose(radiomics(images[i : i + 1], masks[i : i + 1], bin_width=10).to_numpy()[0], table.to_numpy()[i], rtol=1e-10, atol=1e-10)
    monkeypatch.setattr("synthkit.metrics.radiomics.table.PIXELS", 3 * masks[0].size)
    monkeypatch.setattr("synthkit.metrics.radiomics.table.CELLS", 30**2)
    pd.testing.assert_frame_equal(radiomics(images, masks, bin_width=10), table, rtol=1e-10)


@pytest.mark.parametrize("size", [(10, 13), (4, 5, 6)])
def test_a_mask_of_everything_is_no_mask(size):
    images = grey(3, *size)
    pd.testing.assert_frame_equal(radiomics(images, np.ones((3, *size), bool)), radiomics(images))
    pd.testing.assert_frame_equal(radiomics(images, torch.ones(3, 1, *size, dtype=torch.bool)), radiomics(torch.from_numpy(images)))


def test_pixels_outside_the_mask_do_not_matter():
    images, masks = grey(4, 12, 12).astype(float), np.random.default_rng(0).random((4, 12, 12)) < 0.6
    masks[0, :9], masks[1, :, 5:] = False, False  # regions of several sizes, at several places
    table = radiomics(images, masks)
    pd.testing.assert_frame_equal(radiomics(np.where(masks[:, None], images, 1e9), masks), table)
    wider = np.pad(images, [(0, 0), (0, 0), (3, 2), (1, 4)]), np.pad(masks, [(0, 0), (3, 2), (1, 4)])
    pd.testing.assert_frame_equal(radiomics(*wider), table)
    pd.testing.assert_frame_equal(radiomics(images, masks, filters=("original", "log"))[list(table.columns)], table)


@pytest.mark.parametrize("move", [lambda x: x[..., ::-1], lambda x: x[..., ::-1, :], lambda x: x.swapaxes(-1, -2)], ids=["left-right", "up-down", "transposed"])
def test_mirrored_images_have_the_same_features(move):
    images, masks = grey(4, 11, 11, smooth=2), np.random.default_rng(1).random((4, 11, 11)) < 0.8
    pd.testing.assert_frame_equal(radiomics(move(images), move(masks)), radiomics(images, masks), rtol=1e-9)


def test_texture_does_not_see_a_shift_by_whole_bins():
    images = grey(4, 12, 12).astype(np.int32)
    texture = tuple(kind for kind in COUNTS if kind != "firstorder")
    pd.testing.assert_frame_equal(radiomics(images - 1000, classes=texture), radiomics(images, classes=texture))
    shifted, plain = (radiomics(x, classes=("firstorder",)) for x in (images + 25, images))
    np.testing.assert_allclose(shifted["firstorder_Mean"] - plain["firstorder_Mean"], 25)
    np.testing.assert_allclose(shifted["firstorder_Kurtosis"], plain["firstorder_Kurtosis"])


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.float32, np.float64, ">i2"])
def test_any_type_of_pixel_gives_the_same(kind):
    images = grey(3, 9, 9)
    given_so = images[:, :, ::-1].astype(kind)[:, :, ::-1]
    given_so.flags.writeable = False
    pd.testing.assert_frame_equal(radiomics(given_so), radiomics(images))


def test_wavelets_split_the_image_without_loss():
    """Parseval: an orthogonal filter pair, undecimated, holds twice the energy per axis; a constant passes the low bands alone."""
    image = torch.from_numpy(grey(2, 8, 10)[:, 0]).double()
    bands = filtered(image, ("wavelet",))
    assert list(bands) == ["wavelet-LL_", "wavelet-LH_", "wavelet-HL_", "wavelet-HH_"]
    torch.testing.assert_close(sum(band.square().sum() for band in bands.values()), 4 * image.square().sum())
    torch.testing.assert_close(filtered(torch.ones(1, 7, 9).double(), ("wavelet",))["wavelet-LL_"], torch.full((1, 7, 9), 2.0).double())
    rows = torch.arange(64.0).sin().double()[None, :, None].expand(1, 64, 64)  # no change along x: only the low pass of x answers
    assert filtered(rows, ("wavelet",))["wavelet-HL_"].abs().max() < 1e-12 < filtered(rows, ("wavelet",))["wavelet-LH_"].abs().max()


def test_laplacian_of_gaussian_is_close_to_the_sampled_one():
    from scipy.ndimage import gaussian_laplace

    images = grey(2, 40, 50, smooth=4)[:, 0].astype(float)
    for sigma, found in zip((2, 3), filtered(torch.from_numpy(images), ("log",)).values()):
        expected = np.stack([gaussian_laplace(image, sigma, mode="nearest", truncate=6) for image in images]) * sigma**2
        assert np.sqrt(np.square(found.numpy() - expected).mean()) < 0.02 * expected.std()
    ramp = torch.arange(60).double().square()[None, None].expand(1, 60, 60)
    assert filtered(ramp, ("log",))["log-sigma-2-0-mm-3D_"][0, 30, 30] == pytest.approx(2 * 4, rel=1e-6), "the curvature of x² is 2, times sigma²"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masks": np.arange(3)[:, None, None] * np.ones((3, 6, 6)) != 1}, "mask of image 1 is empty; leave the image out"),
        ({"masks": np.ones((3, 6, 5), bool)}, r"masks of shape \(3, 6, 5\) do not fit images of \(3, 6, 6\)"),
        ({"masks": np.ones((3, 6, 6), np.uint8)}, "masks are bool, got torch.uint8"),
        ({"masks": np.eye(36, dtype=bool)[:3].reshape(3, 6, 6)}, r"mask of image 0 has no two pixels that touch.*\(3 such images\)"),
        ({"images": np.ones((3, 6, 6))}, r"images \(N, 1, \[D,\] H, W\) with one channel are needed, got \(3, 6, 6\)"),
        ({"images": np.ones((3, 2, 6, 6))}, "take several channels one by one"),
        ({"images": np.ones((0, 1, 6, 6))}, r"got \(0, 1, 6, 6\)"),
        ({"images": np.where(np.arange(3) == 2, np.nan, 1.0)[:, None, None, None] * np.ones((3, 1, 6, 6))}, "image 2 holds NaN or infinite pixels"),
        ({"images": np.ones((3, 1, 6, 6), complex)}, "complex pixels have no grey levels"),
        ({"images": np.ones((1, 1, 1, 1))}, "no two pixels that touch"),
        ({"bin_width": 0}, "bin_width=0 is not a positive number"),
        ({"bin_width": float("nan")}, "bin_width=nan is not a positive number"),
        ({"bin_width": 0.01}, "bin_width=0.01 cuts the pixels into .* grey levels, 1,000 are allowed; raise bin_width"),
        ({"filters": ("gabor",)}, "give a tuple of one or more of original, wavelet, log"),
        ({"filters": "wavelet"}, "give a tuple of one or more of original, wavelet, log"),
        ({"classes": ()}, "one or more of firstorder, glcm"),
        ({"images": np.ones((1, 1, 4, 4, 4)), "filters": ("log",)}, r'"log" takes images \(N, 1, H, W\), got volumes of \(4, 4, 4\)'),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_refused(change, message):
    given_so = {"images": grey(3, 6, 6), **change}
    with pytest.raises(DataError, match=message):
        radiomics(given_so.pop("images"), **given_so)


def test_one_pixel_has_first_order_features():
    row = radiomics(grey(1, 6, 6), np.eye(36, dtype=bool)[:1].reshape(1, 6, 6), classes=("firstorder",)).iloc[0]
    assert row["firstorder_Range"] == row["firstorder_Variance"] == 0 and np.isfinite(row.to_numpy()).all()


@given(st.integers(0, 10**6), st.sampled_from([(2, 3), (1, 5), (6, 6), (2, 3, 4)]), st.sampled_from([1, 2, 5]))
def test_small_regions_have_finite_features(seed, size, most):
    rng = np.random.default_rng(seed)
    masks = rng.random((4, *size)) < 0.4
    masks[:, *(0,) * (len(size) - 1), :2] = True
    table = radiomics(rng.integers(0, most, (4, 1, *size)) * 25.0, masks)
    assert np.isfinite(table.to_numpy()).all()
    shares = table.filter(regex="Percentage|Imc2|MCC|Uniformity$|JointEnergy|Idn?$|Idmn?$").filter(regex="glcm|gl..m.*Percentage|firstorder_Uniformity")
    assert (shares.to_numpy() >= 0).all() and (shares.to_numpy() <= 1 + 1e-12).all()


def test_many_levels_in_one_image_are_measured():
    image = np.arange(900.0).reshape(1, 1, 30, 30)
    row = radiomics(image, bin_width=1).iloc[0]
    assert row["firstorder_Entropy"] == pytest.approx(np.log2(900)) and row["glszm_ZonePercentage"] == 1
    assert row["glcm_Contrast"] == pytest.approx((1 + 29**2 + 30**2 + 31**2) / 4)


def test_a_stored_cohort_has_the_features_of_its_grey_values():
    cohort = toy_cohort(70, high=255)
    np.testing.assert_allclose(radiomic_features().of(cohort).numpy(), radiomics(cohort.images.raw()).to_numpy(), rtol=1e-12)
    two = torch.rand(3, 2, 9, 9) * 2 - 1
    features = radiomic_features().extract
    assert features(two).shape == (3, 186)
    torch.testing.assert_close(features(two)[:, 93:], features(two[:, 1:]))


def test_evaluate_takes_radiomic_features():
    scores = evaluate(real=toy_cohort(16), fake=toy_cohort(16, seed=5, prefix="q"), extractor=radiomic_features(), metrics=[FrechetDistance()]).frame()
    assert set(scores["extractor"]) == {"radiomics (93 features, window to 0..255, bin width 25)"} and np.isfinite(scores["value"]).all()


def test_radiomics_distance_of_known_descriptions():
    real, fake = torch.tensor([[0.0, 5], [2, 5]]), torch.tensor([[4.0, 5], [6, 5]])
    # Spread of 0 2 4 6 is (20/3)^½; both sets have one variance, so that only the means differ; the constant says nothing.
    assert FrechetRadiomicsDistance().compare(real, fake) == pytest.approx(16 / (20 / 3))
    assert FrechetRadiomicsDistance().compare(real * 1000 + 3, fake * 1000 + 3) == pytest.approx(16 / (20 / 3)), "no unit matters"
    flat = torch.full((4, 2), 1e6)
    assert FrechetRadiomicsDistance().compare(flat, flat * (1 + 1e-14)) == 0, "what differs by rounding is constant"


def test_radiomics_distance_sees_texture():
    def images(seed: int, grain: float) -> torch.Tensor:
        return (0.2 + grain * torch.from_numpy(np.random.default_rng(seed).normal(size=(40, 1, 16, 16)))).clamp(-1, 1)

    metric = FrechetRadiomicsDistance()
    real = images(0, 0.2)
    scores = [metric.compute(real, images(1, grain)) for grain in (0.2, 0.3, 0.4)]
    assert scores == sorted(scores) and metric.compute(real, real.clone()) < 1e-6 < scores[0] < scores[1] / 2
    assert metric.compute(images(1, 0.3), real) == pytest.approx(scores[1], rel=1e-9)
    assert metric.compute(torch.zeros(4, 1, 8, 8), torch.zeros(5, 1, 8, 8)) == 0
    with pytest.raises(DataError, match="bring both to one shape"):
        metric.compute(real, real[..., :8])


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8), None, r"images in \[-1, 1\] have one or two grey levels; give raw intensities"),
        ([[1, 2]], None, "images: a tensor or an array is needed, got list"),
        (torch.rand(1, 1, 8, 8) * 255, {"lungs": torch.ones(1, 8, 8, dtype=torch.bool)}, "masks: a tensor or an array is needed, got dict"),
    ],
)
def test_what_is_no_image_of_grey_levels_is_refused(images, masks, message):
    with pytest.raises(DataError, match=message):
        radiomics(images, masks)
