"""Measures of images by themselves: similarity, spectra and grey levels against other programs and closed forms."""
import csv

import numpy as np
import pytest
import torch

from synthkit.errors import DataError
from synthkit.metrics import similarity
from synthkit.metrics.similarity import MSSSIM, _pairs, ms_ssim, psnr, scales, ssim
from synthkit.metrics.spectrum import HistogramDistance, SpectrumDistance


def noise(*shape: int, seed: int = 0, spread: float = 0.2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, spread, shape))


@pytest.fixture(scope="module")
def film_pairs(real_data, reference):
    """Ten pairs of real films in [-1, 1], and what other programs found for them."""
    with open(reference / "metrics" / "ssim_pairs.csv", newline="") as file:
        table = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    films = torch.from_numpy(np.load(real_data / "cxr_nih64" / "images.npz")["images"]).double()[:, None] / 127.5 - 1
    a, b = (films[[int(row[name]) for row in table]] for name in ("row_a", "row_b"))
    return a, b, {name: torch.tensor([row[name] for row in table], dtype=torch.float64) for name in table[0]}


def test_similarity_of_real_films_equals_that_of_other_programs(film_pairs):
    a, b, expected = film_pairs
    assert len(a) == 10
    torch.testing.assert_close(ssim(a, b), expected["ssim_skimage"], rtol=1e-9, atol=0)
    torch.testing.assert_close(ssim(a, b), expected["ssim_torchmetrics_map_cropped_5"], rtol=1e-9, atol=0)
    torch.testing.assert_close(ms_ssim(a, b), expected["ms_ssim_3_scales_torchmetrics"], rtol=1e-6, atol=0)
    torch.testing.assert_close(psnr(a, b), expected["psnr_skimage"], rtol=1e-9, atol=0)
    torch.testing.assert_close(ms_ssim(a.float(), b.float()), ms_ssim(a, b), rtol=1e-5, atol=0)


@pytest.mark.parametrize(("shape", "used"), [((2, 1, 11, 14), 1), ((2, 2, 180, 176), 5), ((1, 1, 24, 22, 26), 2), ((2, 1, 100, 99), 4)])
def test_multi_scale_similarity_equals_torchmetrics_in_every_number_of_scales_and_axes(shape, used):
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as theirs

    a = noise(*shape)
    b = (a + noise(*shape, seed=1, spread=0.1)).clamp(-1, 1)
    assert scales(shape[2:]) == used
    weights = np.array(similarity.WEIGHTS[:used]) / sum(similarity.WEIGHTS[:used])
    if used == 1:  # theirs needs two
        from torchmetrics.functional.image import structural_similarity_index_measure

        expected = structural_similarity_index_measure(a / 2 + 0.5, b / 2 + 0.5, data_range=1.0, reduction="none")
    else:
        expected = theirs(a / 2 + 0.5, b / 2 + 0.5, data_range=1.0, betas=tuple(weights), reduction="none")
    # With several channels theirs takes the product of means over all, ours the mean of the channels' products.
    ours = ms_ssim(a, b)
    torch.testing.assert_close(ours, expected.to(ours), rtol=1e-4 if shape[1] > 1 else 1e-6, atol=0)


def test_every_scale_gets_at_least_a_whole_window():
    assert [scales((side, 500)) for side in (11, 21, 22, 43, 44, 87, 88, 175, 176)] == [1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert all(side // 2 ** (scales((side, side)) - 1) >= 11 for side in range(11, 200))


@pytest.mark.parametrize(("side", "used"), [(22, 2), (44, 3), (88, 4), (176, 5)])
def test_the_smallest_image_of_each_number_of_scales_equals_the_product_of_torchmetrics_own_terms(side, used):
    """Term by term, since its product of four terms refuses images under 99 pixels."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    a = noise(2, 1, side, side + 3)
    b = (a + noise(2, 1, side, side + 3, seed=1, spread=0.1)).clamp(-1, 1)
    x, y, expected, weights = a / 2 + 0.5, b / 2 + 0.5, torch.ones(2, dtype=torch.float64), similarity.WEIGHTS[:used]
    for level, weight in enumerate(weights):
        similar, contrast = structural_similarity_index_measure(x, y, data_range=1.0, reduction="none", return_contrast_sensitivity=True)
        expected = expected * (similar if level == used - 1 else contrast) ** (weight / sum(weights))
        x, y = (torch.nn.functional.avg_pool2d(part, 2) for part in (x, y))
    assert scales((side, side + 3)) == used
    torch.testing.assert_close(ms_ssim(a, b), expected, rtol=1e-6, atol=0)


def test_similarity_is_one_for_equal_images_symmetric_and_falls_with_noise():
    a = noise(3, 1, 48, 48)
    for measure in (ssim, ms_ssim):
        assert torch.allclose(measure(a, a), torch.ones(3, dtype=torch.float64))
        torch.testing.assert_close(measure(a, a.flip(0)), measure(a.flip(0), a))
        falling = [measure(a, a + amount * noise(3, 1, 48, 48, seed=1)).mean() for amount in (0, 0.3, 0.6, 0.9)]
        assert falling == sorted(falling, reverse=True)
    assert psnr(torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.2)).item() == pytest.approx(20), "a tenth of the range is 20 dB"
    assert psnr(a, a)[0] == float("inf")


def test_similarity_of_flat_images_has_a_closed_form():
    """Without contrast only the luminance term is left."""
    dark, light = torch.full((1, 1, 16, 16), -0.5), torch.full((1, 1, 16, 16), 0.5)
    expected = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert ssim(dark, light).item() == pytest.approx(expected, rel=1e-9) and ms_ssim(dark, light).item() == pytest.approx(expected, rel=1e-9)


def test_images_too_small_or_unlike_are_refused():
    with pytest.raises(DataError, match="images of 16 x 10 pixels are too small for structural similarity; at least 11"):
        ssim(torch.zeros(1, 1, 16, 10), torch.zeros(1, 1, 16, 10))
    with pytest.raises(DataError, match="16 x 10 pixels are too small"):
        MSSSIM().compute(torch.zeros(2, 1, 16, 10), torch.zeros(2, 1, 16, 10))
    with pytest.raises(DataError, match="of one shape are needed"):
        ssim(torch.zeros(1, 1, 16, 16), torch.zeros(2, 1, 16, 16))
    with pytest.raises(DataError, match="too small for a spectrum"):
        SpectrumDistance().compute(torch.zeros(2, 1, 16, 7), torch.zeros(2, 1, 16, 7))


@pytest.mark.parametrize("count", [2, 3, 4, 7, 8, 32])
def test_few_images_are_paired_in_every_way_once(count):
    found = {frozenset(pair) for pair in _pairs(count, 500)}
    assert len(found) == len(_pairs(count, 500)) == min(500, count * (count - 1) // 2) and all(len(pair) == 2 for pair in found)


def test_many_images_are_paired_evenly():
    pairs = _pairs(2000, 500)
    assert len({i for pair in pairs for i in pair}) == 1000
    uses = np.bincount(np.array(_pairs(100, 500)).ravel(), minlength=100)
    assert uses.min() == uses.max() == 10


def test_diversity_is_the_mean_over_all_pairs():
    x = noise(6, 1, 24, 24).float()
    expected = [ms_ssim(x[i : i + 1], x[j : j + 1]).item() for i in range(6) for j in range(i)]
    assert MSSSIM().compute(x, x) == pytest.approx(np.mean(expected), rel=1e-5)
    assert MSSSIM().compute(x, x[:1].expand(5, -1, -1, -1)) == pytest.approx(1)


def test_a_few_copies_do_not_pass_for_a_collapse():
    """Half of all images come twice: of the 19,900 pairs only 100 are copies."""
    x = noise(100, 1, 12, 12)
    alone, twice = MSSSIM().compute(x, x), MSSSIM().compute(x, torch.cat([x, x]))
    assert twice - alone < 0.03


def test_spectrum_distance_of_a_fainter_set_is_known():
    x = noise(8, 2, 32, 40)
    assert SpectrumDistance().compute(x, x / 2 + 0.3) == pytest.approx(20 * np.log10(2), abs=1e-4)
    volumes = noise(3, 1, 16, 16, 20)
    assert SpectrumDistance().compute(volumes, volumes / 10) == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize("size", [(48, 48), (40, 64), (16, 24, 20)])
def test_white_noise_has_a_flat_spectrum_of_its_variance(size):
    levels = SpectrumDistance().describe(noise(60, 1, *size, spread=0.1)).mean((0, 1))
    assert len(levels) == min(size) // 2
    # The mean of a logarithm lies below that of the power, the less the more frequencies a ring holds.
    high = levels[len(levels) // 2 :]
    np.testing.assert_allclose(high, -20, atol=0.45)
    assert high.mean().item() == pytest.approx(-20, abs=0.15)


@pytest.mark.parametrize("cycles", [3, 7, 12])
def test_a_wave_stands_in_its_ring(cycles):
    wave = torch.sin(2 * np.pi * cycles / 32 * torch.arange(32.0)).expand(1, 1, 48, 32) / 2
    levels = SpectrumDistance().describe(wave)[0, 0]
    assert levels.argmax() == cycles - 1
    beyond = torch.cat([levels[: cycles - 3], levels[cycles + 2 :]]) if cycles > 3 else levels[cycles + 2 :]
    assert beyond.max() < levels.max() - 60, "the window keeps a wave out of the other rings"


def test_blur_is_seen_in_the_high_frequencies():
    x = noise(8, 1, 64, 64).float()
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    gap = (SpectrumDistance().describe(blurred) - SpectrumDistance().describe(x)).mean((0, 1))
    assert abs(gap[1]) < 1 and gap[-10:].max() < -8


def test_histogram_distance_is_the_shift_of_grey_levels():
    levels = torch.arange(200).reshape(1, 1, 10, 20).expand(3, -1, -1, -1) / 127.5 - 1
    assert HistogramDistance().compute(levels, levels + 40 / 127.5) == pytest.approx(40 / 255, rel=1e-6)
    both = torch.cat([levels, levels + 40 / 127.5], 1)
    assert HistogramDistance().compute(torch.cat([levels, levels], 1), both) == pytest.approx(20 / 255, rel=1e-6), "the mean of both channels"
    black, white = torch.full((2, 1, 4, 4), -1.0), torch.full((5, 1, 4, 4), 1.0)
    assert HistogramDistance().compute(black, white) == pytest.approx(1)


def test_histogram_distance_equals_scipy_on_pixels_of_eight_bits():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (5, 1, 9, 9)), rng.integers(30, 200, (7, 1, 9, 9))
    ours = HistogramDistance().compute(*(torch.from_numpy(part / 127.5 - 1) for part in (a, b)))
    assert ours == pytest.approx(wasserstein_distance(a.ravel() / 255, b.ravel() / 255), rel=1e-9)


def test_raw_intensities_are_refused_by_metrics_of_images():
    with pytest.raises(DataError, match=r"images in \[-1, 1\] are needed"):
        MSSSIM().compute(torch.full((3, 1, 16, 16), 200.0), torch.zeros(3, 1, 16, 16))
