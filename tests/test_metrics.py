"""The contract that every metric keeps, of features and of images alike; each new one is found by itself."""
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from inspect import isabstract
from pkgutil import iter_modules

import numpy as np
import pytest
import torch
from toys import toy_cohort

import synthkit.metrics
from synthkit.errors import DataError
from synthkit.metrics.corruptions import Blur, Copies, ModeDropping
from synthkit.metrics.frechet import FrechetInfinity
from synthkit.metrics.kernel import MMD
from synthkit.metrics.metric import FeatureMetric, ImageMetric, Metric, by_content
from synthkit.metrics.naming import setting_name
from synthkit.metrics.neighbours import Coverage, Density, Precision, Recall
from synthkit.metrics.similarity import MSSSIM
from synthkit.metrics.two_sample import C2ST
from synthkit.metrics.vendi import Vendi

for module in iter_modules(synthkit.metrics.__path__):
    import_module(f"synthkit.metrics.{module.name}")


def below(kind: type[Metric]) -> Iterator[type[Metric]]:
    """Every subclass, near and far."""
    for child in kind.__subclasses__():
        yield child
        yield from below(child)


OWN = {kind.__name__: kind for kind in below(Metric) if kind.__module__.startswith("synthkit.") and not isabstract(kind)}
ALL = [OWN[name]() for name in sorted(OWN)]
PAIRED = [metric for metric in ALL if not metric.alone]
DISTANCES = [metric for metric in PAIRED if metric.better == "lower"]
ALONE = [metric for metric in ALL if metric.alone]
named = {"ids": lambda metric: metric.name}
# Without a bias there is no least value: the same images can score a hair above others of the same kind.
UNBIASED = {"KID", "FrechetInfinity", "C2ST"}
BLIND = {
    ("SpectrumDistance", "shifted"),  # a spectrum has no mean
    ("FrechetRadiomicsDistance", "shifted"),  # its bins of grey levels are as wide as these shifts
    ("Precision", "collapsed"),  # one good image, repeated, is still good
    ("Density", "collapsed"),
    ("Recall", "noisy"),  # scattered images have large balls
}
SIZE = 24


def features(count: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 1, (count, 6)))


def images(count: int, seed: int) -> torch.Tensor:
    """(N, 1, 24, 24) soft clouds with grain, well inside the window."""
    rng = np.random.default_rng(seed)
    clouds = torch.nn.functional.interpolate(torch.from_numpy(rng.normal(0, 0.15, (count, 1, 6, 6))), size=SIZE, mode="bilinear")
    return (clouds + torch.from_numpy(rng.normal(0, 0.03, (count, 1, SIZE, SIZE)))).clamp(-0.8, 0.8)


def a_set(metric: Metric, count: int, *, seed: int) -> torch.Tensor:
    return images(count // 2, seed) if isinstance(metric, ImageMetric) else features(count, seed)


def shifted(x: torch.Tensor, amount: float) -> torch.Tensor:
    return (x + amount / 10).clamp(-1, 1) if x.ndim == 4 else x + amount


def noisy(x: torch.Tensor, amount: float) -> torch.Tensor:
    noise = torch.from_numpy(np.random.default_rng(9).normal(0, 1, x.shape)).to(x.dtype)
    return (x + amount / 10 * noise).clamp(-1, 1) if x.ndim == 4 else x + amount * noise


def collapsed(x: torch.Tensor, amount: float) -> torch.Tensor:
    """A growing share of the rows replaced by the first one."""
    lost = round(len(x) * amount / 3)
    return torch.cat([x[: len(x) - lost], x[:1].expand(lost, *x.shape[1:])])


def test_all_metrics_are_found():
    names = {"C2ST", "Coverage", "Density", "FrechetDistance", "FrechetInfinity", "HistogramDistance", "KID", "MMD", "MSSSIM", "Precision", "Recall",
             "SpectrumDistance", "Vendi"}  # fmt: skip
    assert names <= {metric.name for metric in ALL}
    assert all(m.better in ("lower", "higher") and isinstance(m, ImageMetric) != isinstance(m, FeatureMetric) for m in ALL)


@pytest.mark.parametrize("metric", PAIRED, **named)
def test_identical_sets_score_best(metric):
    real = a_set(metric, 120, seed=0)
    itself = metric.compute(real, real.clone())
    others = [metric.compute(real, shifted(noisy(a_set(metric, 120, seed=s), 0.5), 0.5 if metric.name in UNBIASED else 0)) for s in (1, 2, 3)]
    assert itself <= min(others) + 1e-9 if metric.better == "lower" else itself >= max(others) - 1e-9
    if metric.better == "lower":
        assert itself < 1e-6 if metric.name != "C2ST" else itself == 0.5


CORRUPTIONS = [(metric, corrupt) for metric in PAIRED for corrupt in (shifted, noisy, collapsed) if (metric.name, corrupt.__name__) not in BLIND]


@pytest.mark.parametrize(("metric", "corrupt"), CORRUPTIONS, ids=lambda part: part.name if isinstance(part, Metric) else part.__name__)
def test_growing_corruption_worsens_the_score(metric, corrupt):
    real, fake = a_set(metric, 150, seed=0), a_set(metric, 150, seed=1)
    scores = [metric.compute(real, corrupt(fake, amount)) for amount in (0.0, 0.9, 1.8, 2.7)]
    assert scores == sorted(scores, reverse=metric.better == "higher") and scores[0] != scores[-1]


@pytest.mark.parametrize("metric", ALONE, **named)
def test_diversity_falls_as_a_set_collapses_and_heeds_the_fake_set_alone(metric):
    real, fake = a_set(metric, 60, seed=0), a_set(metric, 60, seed=1)
    scores = [metric.compute(real, collapsed(fake, amount)) for amount in (0.0, 0.9, 1.8, 2.7, 3.0)]
    assert scores == sorted(scores, reverse=metric.better == "higher") and scores[0] != scores[-2]
    assert metric.compute(fake, fake) == scores[0]


@pytest.mark.parametrize("metric", ALL, **named)
def test_a_score_lies_within_its_limits(metric):
    real, fake = a_set(metric, 80, seed=0), a_set(metric, 70, seed=1)
    low, high = metric.limits
    assert all(low - 1e-12 <= metric.compute(real, worse) <= high + 1e-12 for worse in (fake, real, shifted(fake, 3), collapsed(fake, 3)))
    assert metric.limits == (0, 1) or not metric.share


@pytest.mark.parametrize("metric", ALL, **named)
def test_the_order_of_rows_does_not_matter(metric):
    real, fake, rng = a_set(metric, 80, seed=0), shifted(collapsed(a_set(metric, 70, seed=1), 0.3), 0.3), np.random.default_rng(0)
    swapped = metric.compute(real[rng.permutation(len(real))], fake[rng.permutation(len(fake))])
    assert swapped == pytest.approx(metric.compute(real, fake), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", DISTANCES, **named)
def test_distances_are_symmetric(metric):
    real, fake = a_set(metric, 80, seed=0), shifted(a_set(metric, 70, seed=1), 0.3)
    assert metric.compute(real, fake) == pytest.approx(metric.compute(fake, real), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", ALL, **named)
@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_any_kind_of_float_is_taken(metric, kind):
    real, fake = a_set(metric, 80, seed=0), shifted(a_set(metric, 70, seed=1), 0.3)
    score = metric.compute(real.to(kind), fake.to(kind))
    assert isinstance(score, float) and score == pytest.approx(metric.compute(real.to(kind).double(), fake.to(kind).double()), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("recipe", "setting", "message"),
    [
        (MMD, {"sigma": 0}, "MMD: sigma=0 is no width"),
        (FrechetInfinity, {"parts": 1}, "FrechetInfinity: parts=1"),
        (MSSSIM, {"pairs": 0}, "MSSSIM: pairs=0 is none"),
        (C2ST, {"measure": "f1"}, "C2ST: measure 'f1' is not one of auc, accuracy"),
        (Vendi, {"q": -1}, "order q = -1 is not above 0"),
        (Vendi, {"q": float("nan")}, "order q = nan is not above 0"),
        *((kind, {"k": 0}, f"{kind.__name__}: k=0 neighbours make no ball") for kind in (Precision, Recall, Density, Coverage)),
        (Copies, {"copied": 0}, "Copies: copied=0 leaves nothing to copy"),
    ],
)
def test_settings_without_meaning_are_refused(recipe, setting, message):
    with pytest.raises(DataError, match=message):
        recipe(**setting)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        (Precision(), "Precision"),
        (Precision(k=3), "Precision(k=3)"),
        (C2ST("accuracy"), "C2ST(measure=accuracy)"),
        (MMD(sigma=10), "MMD"),
        (MMD(sigma=5), "MMD(sigma=5)"),
        (MMD(sigma=5.0), "MMD(sigma=5)"),
        (MMD(sigma=0.25), "MMD(sigma=0.25)"),
        (Vendi(float("inf")), "Vendi(q=inf)"),
        (Blur(), "Blur"),
        (Copies(), "Copies"),
        (Copies(copied=20), "Copies(copied=20)"),
        (ModeDropping("lesion", "present"), "ModeDropping(factor=lesion, level=present)"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_name_tells_every_setting_that_is_not_the_default(recipe, name):
    assert recipe.name == name


def test_the_name_of_a_recipe_heeds_defaults_that_are_made_and_needs_no_fields():
    @dataclass(frozen=True)
    class Sizes:
        given: tuple[int, ...] = field(default_factory=lambda: (1, 2))

    assert [setting_name(Sizes()), setting_name(Sizes((3,))), setting_name(object())] == ["Sizes", "Sizes(given=(3,))", "object"]


@pytest.mark.parametrize("metric", ALL, **named)
def test_comparing_descriptions_is_computing(metric):
    real, fake = a_set(metric, 80, seed=0), shifted(a_set(metric, 70, seed=1), 0.3)
    rows = [metric.describe(part.float()) for part in (real, fake)] if isinstance(metric, ImageMetric) else [real, fake]
    assert metric.compare(*rows) == metric.compute(real, fake)


def test_copies_of_more_images_than_there_are_are_refused():
    cohort = toy_cohort(20)
    for copied in (20, 90):
        with pytest.raises(DataError, match=f"Copies: copied={copied} images of 20 leave none to replace"):
            Copies(copied).apply(cohort, 0.5, seed=0)
    one_left = Copies(19).apply(cohort, 0.9, seed=0)
    assert len(one_left) == 20 and one_left.table["image_id"].str.startswith("copy-").sum() == 1


def test_features_on_different_scales_of_precision_are_compared_in_the_finer_one():
    real, fake = features(50, 0).float(), features(45, 1)
    for metric in [m for m in PAIRED if isinstance(m, FeatureMetric)]:
        assert metric.compute(real, fake) == metric.compute(real.double(), fake)


@pytest.mark.parametrize("metric", [m for m in ALL if isinstance(m, FeatureMetric)], **named)
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (torch.rand(60, 3), torch.rand(60, 4), "real has 3 features and fake has 4"),
        (torch.rand(60, 3) * float("nan"), torch.rand(60, 3), "real: the features hold NaN"),
        (torch.rand(60, 3), torch.full((60, 3), float("inf")), "fake: the features hold NaN or infinite"),
        (torch.zeros(60), torch.rand(60, 3), r"real: a feature matrix \(N, d\)"),
        (torch.rand(60, 3), torch.zeros(0, 3), "fake: a feature matrix"),
    ],
)
def test_features_that_cannot_be_scored_are_refused(metric, real, fake, message):
    with pytest.raises(DataError, match=message):
        metric.compute(real, fake)


@pytest.mark.parametrize("metric", [m for m in ALL if isinstance(m, ImageMetric)], **named)
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (images(20, 0), images(20, 1)[..., :16], r"real images are \(1, 24, 24\) and fake ones \(1, 24, 16\); bring both to one shape"),
        (images(20, 0) * float("nan"), images(20, 1), "real: the images hold NaN"),
        (images(20, 0), images(20, 1)[:, 0], r"fake: images \(N, C, \[D,\] H, W\)"),
        (images(20, 0), images(20, 1)[:0], "fake: images"),
    ],
)
def test_images_that_cannot_be_scored_are_refused(metric, real, fake, message):
    with pytest.raises(DataError, match=message):
        metric.compute(real, fake)


@pytest.mark.parametrize("metric", [m for m in ALL if isinstance(m, ImageMetric)], **named)
def test_an_image_is_described_by_itself(metric):
    x = images(5, 0).float()
    apart = torch.cat([metric.describe(x[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(metric.describe(x), apart, rtol=1e-5, atol=1e-6)


def test_an_order_by_content_puts_copies_apart_and_follows_the_rows():
    rows = torch.arange(200.0)[:, None] // 2
    order, rng = by_content(rows), np.random.default_rng(0)
    assert sorted(order) == list(range(200))
    assert (np.diff(order // 2) == 0).mean() < 0.05
    mixed = rows[rng.permutation(200)]
    assert torch.equal(mixed[by_content(mixed)], rows[order]) and torch.equal(mixed[by_content(mixed.double())], rows[order])
