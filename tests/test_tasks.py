"""Classifiers and predictors: what they learn, whom they refuse to score, and how scores are computed."""
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest, norm
from sklearn.metrics import r2_score, roc_auc_score
from toys import SCHEMA, toy_cohort, toy_table

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Category, Schema
from synthkit.errors import DataError, FitError, LeakageError, SchemaError
from synthkit.nets.predictor import FactorPredictor, output_slices
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading, auc, r2

TINY = {"widths": (8, 16)}
TEST = toy_cohort(40, seed=3, prefix="test")


class Brightness(torch.nn.Module):
    """The mean pixel is the logit of the second level."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.flatten(1).mean(1, keepdim=True)
        return torch.cat([-mean, mean], 1)


@pytest.fixture(scope="module")
def fitted() -> Predictor:
    return Classifier(target="lesion", options=TINY).fit(toy_cohort(40, per_patient=2), budget=Steps(60), seed=0, progress=False)


def test_a_finding_that_sets_the_brightness_is_learnt(fitted):
    row = fitted.score(TEST).loc[0]
    assert (row["factor"], row["measure"], row["n"]) == ("lesion", "AUC", 40) and row["value"] > 0.95 and row["low"] <= row["value"] <= row["high"]


def test_chances_add_up_and_stand_beside_their_image(fitted):
    predicted = fitted.predict(TEST)
    assert predicted["image_id"].tolist() == TEST.table["image_id"].tolist()
    assert np.allclose(predicted["p_lesion_absent"] + predicted["p_lesion_present"], 1, atol=1e-6)
    rows = [7, 3]
    assert np.allclose(fitted.predict(TEST[rows])["p_lesion_present"], predicted["p_lesion_present"][rows], atol=1e-5)
    assert len(fitted.predict(TEST[:0])) == 0


def test_the_same_seed_gives_the_same_classifier():
    recipe = Classifier(target="lesion", options=TINY)
    runs = [recipe.fit(toy_cohort(20), budget=Steps(3), seed=seed, progress=False).outputs(TEST.images.tensor()) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_patients_that_were_trained_on_are_not_scored(fitted):
    with pytest.raises(LeakageError, match=r"1 patient\(s\) of the cohort were trained on \(first: 'p-3'\)"):
        fitted.score(toy_cohort(2).split((0.5, 0.5))[0][:0] + TEST + toy_cohort(40, per_patient=2)[6:8])


def only(lesion: str | None) -> Cohort:
    table = toy_table(12).assign(lesion=lesion, diameter=np.nan)
    return Cohort(toy_cohort(12).images, table, SCHEMA, Provenance("real", "one-sided"))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: Classifier("lesion").fit(only("absent")), FitError, "lesion: only 'absent' occurs in the 12 training images; a classifier needs two levels"),
        (lambda: Classifier("lesion").fit(only(None)), FitError, "lesion: no known value occurs"),
        (lambda: Classifier("ward").fit(toy_cohort(8)), SchemaError, "unknown factor 'ward'; this schema has lesion"),
        (lambda: Classifier("lesion").fit(toy_cohort(8, per_patient=8)), FitError, "early stopping needs patients kept apart.*give valid="),
        (lambda: Classifier("lesion").fit(toy_cohort(8), valid=toy_cohort(8)), LeakageError, "both train and valid"),
        (lambda: Classifier("lesion", backbone="nonesuch:Net").fit(toy_cohort(8)), FitError, "cannot import 'nonesuch'"),
        (lambda: Classifier("lesion", backbone="synthkit.errors:FitError").fit(toy_cohort(8)), FitError, "not a subclass of torch.nn"),
        (lambda: Predictor.of(Brightness(), SCHEMA["lesion"], TEST).predict(toy_cohort(4, size=(8, 8))), DataError, r"sizes \(16, 16\) and"),
    ],
)
def test_what_cannot_be_learnt_or_read_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_any_torch_module_plugs_in():
    plugged = Predictor.of(Brightness(), SCHEMA["lesion"], TEST)
    predicted, mean = plugged.predict(TEST), TEST.images.tensor().flatten(1).mean(1)
    assert np.allclose(predicted["p_lesion_present"], torch.sigmoid(2 * mean), atol=1e-6)
    assert plugged.score(TEST)["value"].tolist() == [1.0]


def test_several_heads_and_volumes_in_one_network():
    cohort = toy_cohort(16, size=(4, 8, 8))
    fitted = Classifier(target=("lesion", "age"), options=TINY).fit(cohort, budget=Steps(2), progress=False)
    predicted = fitted.predict(toy_cohort(6, size=(4, 8, 8), prefix="t"))
    assert list(predicted.columns) == ["image_id", "p_lesion_absent", "p_lesion_present", "age"] and predicted["age"].between(0, 100).all()
    assert fitted.score(toy_cohort(6, size=(4, 8, 8), prefix="t"))["measure"].tolist() == ["AUC", "R2"]


def test_unknown_values_neither_teach_nor_count():
    schema = SCHEMA.only(("lesion", "age"))
    network = FactorPredictor(torch.nn.Identity(), schema, augmented=False)
    code = torch.from_numpy(schema.encode(pd.DataFrame({"lesion": ["present", None], "age": [50.0, np.nan]})))
    outputs = torch.tensor([[0.0, 0.0, 0.4], [9.0, -9.0, 7.0]], requires_grad=True)
    loss = network.loss(outputs, code)
    # Cross-entropy of two equal logits is ln 2; age 50 of 0..100 is coded 0, and 0.4² = 0.16.
    assert float(loss.detach()) == pytest.approx((np.log(2) + 0.16) / 2)
    loss.backward()
    assert not outputs.grad[1].any() and output_slices(schema) == [slice(0, 2), slice(2, 3)]
    table = TEST.table.copy()
    table.loc[:9, "lesion"], table.loc[:9, "diameter"] = None, np.nan
    holes = Cohort(TEST.images, table, SCHEMA, TEST.provenance)
    assert Predictor.of(Brightness(), SCHEMA["lesion"], TEST).score(holes)["n"].tolist() == [30]


def test_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, chances = rng.choice(["a", "b", "c"], 60), rng.dirichlet(np.ones(3), 60)
    assert auc(chances, truth, ("a", "b", "c")) == pytest.approx(roc_auc_score(truth, chances, multi_class="ovr"))
    two = np.where(truth == "a", "a", "b")
    assert auc(chances[:, :2], two, ("a", "b")) == pytest.approx(roc_auc_score(two == "b", chances[:, 1]))
    guess, value = rng.normal(size=60), rng.normal(size=60)
    assert r2(guess, value) == pytest.approx(r2_score(value, guess)) and r2(value, value) == 1


def apart(count: int, *, gap: float = 1.0, images: int = 1) -> Reading:
    """`count` patients of each of two classes, kept fully apart by scores that `gap` orders."""
    truth = np.array(["a", "b"]).repeat(count * images)
    chance = np.linspace(0.4, 0.6, len(truth)) if gap > 0 else np.linspace(0.6, 0.4, len(truth))
    return Reading("AUC", np.stack([1 - chance, chance], 1), truth, np.arange(2 * count).repeat(images), ("a", "b"))


@pytest.mark.parametrize("count", [5, 10, 60])
def test_perfect_separation_has_the_interval_of_no_failure_among_the_patients(count):
    exact = binomtest(count, count).proportion_ci(method="exact").low
    best, worst = apart(count).uncertainty(times=100), apart(count, gap=-1).uncertainty(times=100)
    assert (best.low, best.high) == pytest.approx((exact, 1)) and (worst.low, worst.high) == pytest.approx((0, 1 - exact))
    assert best.error == worst.error == pytest.approx((1 - exact) / 1.96, rel=1e-4)
    many = apart(count, images=4).uncertainty(times=100)
    assert many == best, "more images of the same patients make nothing surer"


def test_intervals_of_a_high_auc_cover_the_truth():
    """Normal scores of 10 and 10 patients with a true AUC of 0.99: most resamples show no error at all."""
    rng, truth, inside = np.random.default_rng(0), np.array(["a", "b"]).repeat(10), []
    for _ in range(60):
        scores = rng.normal(0, 1, 20) + norm.ppf(0.99) * 2**0.5 * (truth == "b")
        found = Reading("AUC", np.stack([-scores, scores], 1), truth, np.arange(20), ("a", "b")).uncertainty(times=60)
        inside.append(found.low <= 0.99 <= found.high)
    assert np.mean(inside) >= 0.9


def test_away_from_a_limit_intervals_are_those_of_the_bootstrap():
    rng, truth = np.random.default_rng(0), np.array(["a", "b"]).repeat(30)
    scores = rng.normal(0, 1, 60) + (truth == "b")
    for found in (Reading("AUC", np.stack([-scores, scores], 1), truth, np.arange(60), ("a", "b")), Reading("R2", scores, rng.normal(0, 1, 60), np.arange(60))):
        sure = found.uncertainty(times=100)
        assert (sure.low, sure.high) == bootstrap(found.value, found.units, times=100) and sure.error == found.draws(times=100).std()
    exact = Reading("R2", scores, scores, np.arange(60)).uncertainty(times=50)
    assert (exact.low, exact.high, exact.error) == (1, 1, 0), "R² has no lower limit to allow for"


def test_a_score_of_ten_images_is_not_called_certain():
    row = Predictor.of(Brightness(), SCHEMA["lesion"], TEST).score(TEST[:10]).loc[0]
    fewest = TEST.table["lesion"][:10].value_counts().min()
    assert row["value"] == row["high"] == 1 and row["low"] == pytest.approx(0.025 ** (1 / fewest))


def test_a_factor_with_one_value_or_no_column_is_left_out_of_the_scores():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 4))
    both = Predictor(module, Schema((SCHEMA["lesion"], Category("ward", ("A", "B")))), TEST.space)
    assert both.score(TEST)["factor"].tolist() == ["lesion"]
    assert both.score(TEST.where("lesion == 'absent'")).empty
