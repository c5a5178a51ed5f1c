"""Counterfactuals and attributions against exact truth."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort

from synthkit.causal.graph import CausalGraph
from synthkit.causal.mechanisms import Equation
from synthkit.causal.scm import SCM
from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Schema
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.explanation.attribution import explain
from synthkit.explanation.counterfactual import Counterfactual, counterfactual
from synthkit.explanation.exactness import skill
from synthkit.explanation.methods import METHODS
from synthkit.phantoms.chest import ChestPhantom
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor

COHORT = toy_cohort(16, seed=1)
NEED_MODULES = ("DeepLift", "GuidedBackprop")
TOP = (slice(None), slice(None), slice(0, 8))


def twin_of(change: torch.Tensor | float = -0.5) -> Counterfactual:
    """Originals whose upper half is darkened; the lower half stays as it is."""
    delta = torch.zeros(16, 1, 16, 16)
    delta[TOP] = change
    return moved(delta)


def moved(delta: torch.Tensor) -> Counterfactual:
    table = COHORT.table.assign(lesion="absent", diameter=np.nan, round_trip=0.0)
    raw = COHORT.space.to_raw(COHORT.images.tensor() + delta)
    edited = Cohort.of(raw, table, schema=SCHEMA, space=COHORT.space, provenance=COHORT.provenance)
    return Counterfactual(COHORT, COHORT, edited, {"lesion": "absent"})


class Brightness(torch.nn.Module):
    """Two logits that follow the mean brightness with these slopes."""

    def __init__(self, slopes: tuple[float, float]):
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.tensor(slopes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1).mean(1, keepdim=True) * self.slopes


@pytest.fixture(scope="module")
def classifier() -> Predictor:
    return Classifier(target="lesion", options={"widths": (8, 16, 16)}).fit(toy_cohort(40, prefix="t"), budget=Steps(60), progress=False)


def test_integrated_gradients_add_up_to_the_change_of_the_log_odds(classifier):
    why = explain(classifier, twin_of(), methods=["IntegratedGradients"])
    total = why.attributions["IntegratedGradients"].flatten(1).sum(1).numpy()
    assert (np.abs(total - why.log_odds_change) <= 1e-3 * np.abs(why.log_odds_change) + 1e-4).all() and np.abs(why.log_odds_change).max() > 0.1
    expected = classifier.outputs(COHORT.images.tensor()) - classifier.outputs(why.twin.edited.images.tensor())
    assert np.allclose(why.log_odds_change, expected[:, 1] - expected[:, 0], atol=1e-5)


def test_a_shift_of_all_logits_is_no_answer_and_a_shift_of_the_other_one_is(classifier):
    """P = softmax: raising both logits changes nothing, raising only the other class's lowers P of the explained level."""
    moves = {"both": (5.0, 5.0), "other": (-5.0, 0.0)}
    totals = {}
    for name, slopes in moves.items():
        shifted = Predictor.of(Brightness(slopes), SCHEMA["lesion"], COHORT)
        why = explain(shifted, twin_of(), methods=["IntegratedGradients"])
        totals[name] = float(why.attributions["IntegratedGradients"].abs().sum())
        assert np.allclose(why.attributions["IntegratedGradients"].flatten(1).sum(1), why.log_odds_change, atol=1e-3)
    assert totals["both"] < 1e-4 < totals["other"]


def test_integrated_gradients_are_zero_where_nothing_changed(classifier):
    why = explain(classifier, twin_of(), methods=["IntegratedGradients"])
    values = why.attributions["IntegratedGradients"]
    assert not values[:, :, 8:].any() and values[TOP].abs().sum() > 0
    frame = why.frame().set_index("measure")
    inside = frame.loc["IntegratedGradients: mass inside the edit (so by construction)"]
    assert inside["value"] == pytest.approx(1, abs=1e-3) and np.isnan(inside["chance"])
    assert frame.loc["IntegratedGradients: completeness gap (log-odds)", "value"] < 1e-2


def test_doing_nothing_is_given_no_reason(classifier):
    why = explain(classifier, twin_of(0.0), methods=["IntegratedGradients", "Occlusion"])
    assert not any(values.any() for values in why.attributions.values()) and not why.log_odds_change.any()
    assert np.array_equal(why.before, why.after)


class Linear(torch.nn.Module):
    """Logit of `present`: a weighted sum of pixels, whose exact attribution is weight · change."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", torch.linspace(-1, 1, 256).reshape(1, 1, 16, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = (x * self.weights).flatten(1).sum(1, keepdim=True)
        return torch.cat([0 * score, score], 1)


def test_every_method_is_exact_on_a_linear_classifier():
    plugged, twin = Predictor.of(Linear(), SCHEMA["lesion"], COHORT), twin_of()
    why = explain(plugged, twin, methods=["IntegratedGradients", "Saliency", "InputXGradient", "Occlusion"])
    weights = Linear().weights.expand(16, 1, 16, 16)
    assert torch.allclose(why.attributions["IntegratedGradients"], -twin.delta * weights, atol=1e-5)
    assert torch.allclose(why.attributions["Saliency"], weights, atol=1e-6)
    assert torch.allclose(why.attributions["InputXGradient"], COHORT.images.tensor() * weights, atol=1e-5)
    occluded = why.attributions["Occlusion"]
    assert not occluded[:, :, 10:].any(), "a window that meets no changed pixel changes nothing"
    assert torch.sign(occluded[:, :, 1:6].sum((1, 2, 3))).unique().tolist() == [-1.0]


def test_random_methods_are_exact_there_too_and_give_the_same_twice():
    plugged, twin = Predictor.of(Linear(), SCHEMA["lesion"], COHORT), twin_of()
    first, second = (explain(plugged, twin, methods=["GradientShap", "SmoothGrad"]).attributions for _ in range(2))
    weights = Linear().weights.expand(16, 1, 16, 16)
    assert torch.allclose(first["SmoothGrad"], weights, atol=1e-5) and torch.allclose(first["GradientShap"], -twin.delta * weights, atol=1e-4)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_ablated_regions_carry_what_they_give():
    plugged, twin = Predictor.of(Linear(), SCHEMA["lesion"], COHORT), twin_of()
    left, low = torch.zeros(16, 16, 16, dtype=torch.bool), torch.zeros(16, 16, 16, dtype=torch.bool)
    left[:, :, :8], low[:, 12:] = True, True
    found = explain(plugged, twin, methods="FeatureAblation", masks={"left": left, "low": low}).attributions["FeatureAblation"]
    exact = (-twin.delta * Linear().weights)[:, 0]
    for region in (left & ~low, low, ~left & ~low):
        for image in range(16):
            values = found[image, 0][region[image]]
            assert torch.allclose(values, exact[image][region[image]].sum().expand_as(values), atol=1e-4)


class Rectified(torch.nn.Module):
    """A network of two layers with its activation as a module."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.inner, self.relu, self.outer = torch.nn.Linear(256, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outer(self.relu(self.inner(x.flatten(1))))


def test_deep_lift_adds_up_where_it_has_rules_and_is_refused_where_not(classifier):
    plugged = Predictor.of(Rectified(), SCHEMA["lesion"], COHORT)
    why = explain(plugged, twin_of(), methods=["DeepLift", "GuidedBackprop"])
    assert np.allclose(why.attributions["DeepLift"].flatten(1).sum(1), why.log_odds_change, atol=1e-4) and np.abs(why.log_odds_change).max() > 0.01
    assert why.attributions["GuidedBackprop"].any()
    for name in NEED_MODULES:
        with pytest.raises(AbilityError, match=f"{name} .* this classifier has none"):
            explain(classifier, twin_of(), methods=name)


def test_grad_cam_looks_at_the_last_convolution(classifier):
    why = explain(classifier, twin_of(), methods=["LayerGradCam"])
    assert why.attributions["LayerGradCam"].shape == COHORT.images.tensor().shape and why.attributions["LayerGradCam"].any()
    with pytest.raises(AbilityError, match="LayerGradCam needs a convolution, and Linear has none"):
        explain(Predictor.of(Linear(), SCHEMA["lesion"], COHORT), twin_of(), methods=["LayerGradCam"])


def test_all_methods_work_on_volumes():
    cohort = toy_cohort(4, size=(4, 8, 8))
    fitted = Classifier(target="lesion", options={"widths": (8, 8)}).fit(toy_cohort(12, size=(4, 8, 8), prefix="t"), budget=Steps(2), progress=False)
    halves = torch.zeros(4, 4, 8, 8, dtype=torch.bool)
    halves[:, :2] = True
    methods = [name for name in METHODS if name not in NEED_MODULES]
    why = explain(fitted, counterfactual(exact_generator(cohort), cohort, {"lesion": "absent"}), methods=methods, masks={"near": halves})
    assert all(values.shape == (4, 1, 4, 8, 8) and values.isfinite().all() for values in why.attributions.values())
    assert why.figure().layout.title.text.startswith("Why P(lesion = present) changes") and why.caveats()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"methods": ["CrystalBall"]}, AbilityError, "unknown attribution method 'CrystalBall'; there are IntegratedGradients"),
        ({"methods": "FeatureAblation"}, AbilityError, "FeatureAblation needs masks="),
        ({"methods": "FeatureAblation", "masks": {}}, DataError, "masks: none is given"),
        ({"methods": "FeatureAblation", "masks": {"left": torch.ones(16, 8, 8)}}, DataError, r"masks: left has shape \(16, 8, 8\), and \(16, 16, 16\)"),
        ({"target": "ward"}, SchemaError, "target='ward': name one of the classifier's categories: lesion"),
        ({"level": "maybe"}, SchemaError, "lesion: 'maybe' is not one of absent, present"),
    ],
)
def test_questions_that_make_no_sense_are_refused(classifier, options, kind, message):
    with pytest.raises(kind, match=message):
        explain(classifier, twin_of(), **options)


def test_skill_is_one_for_the_truth_zero_for_nothing_and_below_for_worse():
    factual, truth = torch.zeros(3, 1, 2, 2), torch.ones(3, 1, 2, 2)
    assert skill(truth, factual, truth).tolist() == [1, 1, 1] and skill(factual, factual, truth).tolist() == [0, 0, 0]
    # |-1 - 1|² / |0 - 1|² = 4, and half the way leaves a quarter of the squared error.
    assert skill(-truth, factual, truth).tolist() == [-3, -3, -3] and skill(truth / 2, factual, truth).tolist() == [0.75] * 3
    assert np.isnan(skill(truth, truth, truth)).all(), "where nothing was to be done there is no skill"


def test_soundness_pools_over_images_with_an_interval():
    twin = twin_of()
    truth = moved(2 * twin.delta).edited
    exact = twin.against(twin.edited).frame().set_index("measure")
    assert exact["value"].tolist() == [1, 1] and exact["low"].tolist() == [1, 1] and exact["n"].tolist() == [16, 16]
    half = twin.against(truth).frame().set_index("measure")
    wrong, wanted = (twin.edited.images.tensor() - truth.images.tensor()).square().sum(), (COHORT.images.tensor() - truth.images.tensor()).square().sum()
    pooled = half.loc["pooled R2_delta"]
    assert pooled["value"] == pytest.approx(float(1 - wrong / wanted), abs=1e-4) and 0 < pooled["low"] <= pooled["value"] <= pooled["high"] < 1
    nothing = twin_of(0.0).against(truth).frame()
    assert nothing["value"].tolist() == [0, 0] and (nothing["doing_nothing"] == 0).all()
    with pytest.raises(DataError, match="truth has 3 images .* the edit 16"):
        twin.against(truth[:3])


def test_a_perfect_generator_is_sound_and_a_deaf_one_does_nothing():
    ill = toy_cohort(12, seed=4).where("lesion == 'present'")
    ill = ill[np.flatnonzero(ill.images.tensor().flatten(1).amax(1) < 1)]
    truth = Cohort.of(ill.space.to_raw(ill.images.tensor() - 1), ill.table, schema=SCHEMA, space=ill.space, provenance=ill.provenance)
    for strength, expected in ((1.0, 1.0), (0.0, 0.0), (-1.0, -3.0)):
        twin = counterfactual(exact_generator(ill, strength=strength), ill, {"lesion": "absent"})
        value = twin.against(truth).frame()["value"][0]
        assert value == pytest.approx(expected, abs=1e-3) if strength >= 0 else value < -0.5


def test_a_counterfactual_says_what_it_did_and_how_good_the_inversion_is():
    twin = counterfactual(exact_generator(COHORT), COHORT, {"lesion": "absent"})
    frame = twin.frame()
    assert frame["lesion before"].tolist() == COHORT.table["lesion"].tolist() and frame["lesion after"].eq("absent").all()
    ill = COHORT.table["lesion"].eq("present").to_numpy()
    assert frame["mean_change"][ill].min() > 100 and frame["mean_change"][~ill].max() < 0.01 and frame["round_trip"].max() < 0.01
    assert np.allclose(frame["max_change"], twin.delta.abs().flatten(1).amax(1) * 127.5)
    assert torch.allclose(twin.reconstruction.images.tensor(), COHORT.images.tensor(), atol=1e-4)
    said = "\n".join(twin.caveats())
    assert twin.title == "Counterfactual: lesion → absent" and "held" in said and "n = 16" in said
    assert "its reconstruction is exact whatever was learnt" in said and "Inversion is approximate" not in said
    rough = Counterfactual(twin.factual, twin.reconstruction, replace(twin.edited, table=twin.edited.table.assign(round_trip=0.5)), twin.do)
    assert "differs from the original by 0.50/255 on average (n = 16)" in "\n".join(rough.caveats())
    assert "Counterfactual" in twin._repr_mimebundle_()["text/html"]


def ageing(threshold: float = 60) -> SCM:
    """A causal model in which everybody older than this has a lesion, whatever the noise, and nobody else."""
    graph = CausalGraph(SCHEMA, {"lesion": ["age"], "diameter": ["lesion"]})
    free = Equation(lambda noise: noise < 0.5, noise="uniform")
    lesion = Equation(lambda noise, age: np.where(age > threshold, noise < 2, noise < -1), noise="uniform")
    diameter, age = Equation(lambda noise, lesion: 2 + 6 * noise, noise="uniform"), Equation(lambda noise: 100 * noise, noise="uniform")
    return SCM(graph, {"age": age, "sex": free, "lesion": lesion, "diameter": diameter})


def test_a_causal_model_moves_what_the_change_causes():
    healthy = COHORT.where("lesion == 'absent'")
    young = Cohort(healthy.images, healthy.table.assign(age=30.0), SCHEMA, healthy.provenance)
    gen = exact_generator(COHORT)
    twin = counterfactual(gen, young, {"age": 80}, scm=ageing())
    assert set(twin.moved) == {"lesion", "diameter"} and twin.edited.table["lesion"].eq("present").all() and twin.edited.table["diameter"].notna().all()
    by_hand = counterfactual(gen, young, {"age": 80, "lesion": "present"})
    assert np.array_equal(twin.edited.images.raw(), by_hand.edited.images.raw()) and twin.delta.mean() > 0.9
    assert "moved with it in the causal model: lesion, diameter" in twin.caveats()[0] and len(twin.caveats()) > len(by_hand.caveats())
    direct = counterfactual(gen, young, {"age": 80}, scm=ageing(), effect="direct")
    assert direct.moved == () and direct.delta.abs().max() == 0 and set(direct.edited.table["image_id"]).isdisjoint(twin.edited.table["image_id"])


def test_a_causal_model_may_not_move_what_the_generator_cannot_show():
    known = Schema(tuple(factor for factor in SCHEMA.factors if factor.name in ("sex", "age")))
    blind = Cohort(COHORT.images, COHORT.table, known, COHORT.provenance)
    with pytest.raises(SchemaError, match="moves 'lesion', which the generator does not know"):
        counterfactual(exact_generator(blind), COHORT, {"age": 1}, scm=ageing())


@pytest.mark.parametrize(
    ("cohort", "do", "kind", "message"),
    [
        (COHORT[:0], {"lesion": "absent"}, DataError, "the cohort is empty: there is no image to edit"),
        (COHORT, {"ward": "A"}, SchemaError, "unknown factor 'ward'"),
        (COHORT, {"lesion": "maybe"}, SchemaError, "'maybe' is not one of absent, present"),
        (toy_cohort(4, size=(8, 8)), {"lesion": "absent"}, DataError, "load the cohort with size=16"),
    ],
)
def test_impossible_edits_are_refused(cohort, do, kind, message):
    with pytest.raises(kind, match=message):
        counterfactual(exact_generator(COHORT), cohort, do)


def test_the_figure_shows_each_row_its_own_change(monkeypatch):
    """Rows of different images must show different changes, and the truth's column the true ones."""
    shown = {}
    monkeypatch.setattr("synthkit.explanation.exactness.picture_figure", lambda rows, **names: shown.update(rows=rows))
    phantom = ChestPhantom(size=32)
    ill = phantom.cohort(60, seed=4).where("effusion == 'present'")[:3]
    truth = phantom.counterfactual(ill, do={"effusion": "absent"})
    Counterfactual(ill, ill, ill, {"effusion": "absent"}).against(truth).figure()
    rows = shown["rows"]
    assert len(rows) == 3 and not np.array_equal(rows[0][4], rows[1][4]) and not np.array_equal(rows[1][4], rows[2][4])
    assert all((row[3] == 255).all() and not (row[4] == 255).all() for row in rows)
