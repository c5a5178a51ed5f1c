"""Maps of known quality, and a classifier whose reliance is known by construction."""
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import synthkit as sk
from synthkit.explanation.log_odds import LogOdds
from synthkit.explanation.maps import POINTING, auprc, likeness, mass, pointing_game, rank_accuracy
from synthkit.explanation.scorecard import BLIND, NO_BETTER, POINTS, Scorecard, scorecard, shuffled
from synthkit.explanation.shapley import AGREES, Agreement, agreement, shapley

CHEST = sk.ChestPhantom(size=32)
FILMS = CHEST.cohort(160, seed=77).where("marker == 'present' and effusion == 'present'")
DO = {"marker": "absent", "effusion": "absent"}
# At this size the marker stands in these rows and columns.
PLACE = CHEST.change_mask(FILMS, {"marker": "absent"}).any(0)
STRENGTH = np.array([[0.9, 0.8, 0.1, 0.0], [0.0, 0.0, 0.3, 0.1]])
REGION = np.array([[True, True, False, False], [True, False, True, False]])


class Corner(torch.nn.Module):
    """Calls films ill whose marker's place is bright; with a layer of weights, whether they matter or not."""

    def __init__(self, weights: bool = False):
        super().__init__()
        self.unused = torch.nn.Linear(2, 2) if weights else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = 20 * ((x * PLACE).flatten(1).sum(1) / PLACE.sum() + 0.5)
        return torch.stack([torch.zeros_like(bright), bright], 1)


EYE = sk.Predictor.of(Corner(), FILMS.schema["effusion"], FILMS)


@pytest.fixture(scope="module")
def told() -> Scorecard:
    return scorecard(EYE, FILMS, do=DO, relies_on="marker", truth=CHEST, methods=["IntegratedGradients", "Saliency", "FeatureAblation"])


@pytest.fixture(scope="module")
def contributions() -> Agreement:
    return agreement(EYE, FILMS[:24], do={**DO, "heart_ratio": 0.4}, truth=CHEST, methods=["IntegratedGradients", "Saliency"])


def test_measures_of_maps_that_are_known():
    assert auprc(STRENGTH, REGION)[0] == 1 and rank_accuracy(STRENGTH, REGION).tolist() == [1, 0.5] and pointing_game(STRENGTH, REGION).tolist() == [1, 1]
    assert mass(STRENGTH, REGION) == pytest.approx([1.7 / 1.8, 0.75]) and POINTING["lift"](STRENGTH, REGION) == pytest.approx([3.4 / 1.8, 1.5])


def test_likeness_is_the_rank_correlation():
    one, other = np.random.default_rng(0).normal(size=(2, 3, 50))
    assert likeness(one, other) == pytest.approx([spearmanr(a, b).statistic for a, b in zip(one, other)])
    assert likeness(one, np.ones_like(one)).tolist() == [0, 0, 0]


def test_a_method_that_sees_the_reliance_passes_and_one_that_cannot_does_not(told):
    rows = told.rows.set_index("method")
    assert told.passing() == ["IntegratedGradients"] and rows.loc["IntegratedGradients", "auprc"] > 0.99
    assert rows.loc["Saliency", "verdict"] == NO_BETTER and rows.loc["FeatureAblation", "verdict"] == NO_BETTER
    assert (rows.loc[["random", "edges", "the change itself"], "kind"] == "baseline").all()
    assert rows.loc["random", "lift"] == pytest.approx(1, abs=0.3) and rows.loc["IntegratedGradients", "against"] == "the change itself"


def test_every_figure_has_its_interval_and_n(told):
    for name in POINTING:
        assert (told.rows[f"{name}_low"] <= told.rows[name] + 1e-9).all() and (told.rows[name] <= told.rows[f"{name}_high"] + 1e-9).all()
    assert (told.rows["n"] == len(FILMS)).all() and told.figure().data and "no weights" in "\n".join(told.caveats())


def test_a_map_that_stays_when_the_weights_are_shuffled_fails():
    eye = sk.Predictor.of(Corner(weights=True), FILMS.schema["effusion"], FILMS)
    rows = scorecard(eye, FILMS, do=DO, relies_on="marker", truth=CHEST, methods=["IntegratedGradients"]).rows
    assert rows["verdict"][0] == BLIND != POINTS and rows["like_shuffled"][0] == pytest.approx(1) and rows["over_shuffled"][0] == 0


def test_a_method_passes_on_a_network_whose_weights_are_what_matters():
    weighing = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 2))
    with torch.no_grad():
        weighing[1].weight.copy_(torch.stack([torch.zeros(1024), 20 * PLACE.flatten() / PLACE.sum()]))
    eye = sk.Predictor.of(weighing, FILMS.schema["effusion"], FILMS)
    row = scorecard(eye, FILMS, do=DO, relies_on="marker", truth=CHEST, methods=["IntegratedGradients"]).rows.iloc[0]
    assert row["verdict"] == POINTS and row["over_shuffled_low"] > 0.3 and row["auprc"] > 0.99


def test_shuffled_weights_are_the_same_numbers_in_other_places_and_the_classifier_keeps_its_own():
    module = LogOdds(torch.nn.Linear(6, 2), slice(0, 2), 1)
    kept = module.module.weight.clone()
    other, again = shuffled(module, seed=1), shuffled(module, seed=1)
    assert torch.equal(module.module.weight, kept) and torch.equal(other.module.weight, again.module.weight)
    assert not torch.equal(other.module.weight, kept) and torch.equal(other.module.weight.flatten().sort().values, kept.flatten().sort().values)


@pytest.mark.parametrize(("given", "error", "words"), [
    (dict(do={"marker": "absent"}), sk.SchemaError, "at least one factor more"), (dict(relies_on="sex"), sk.SchemaError, "must set 'sex'"),
    (dict(methods=["Guess"]), sk.AbilityError, "Guess"), (dict(patients=FILMS[:3]), sk.DataError, "10 are needed"),
    (dict(do={**DO, "ghost": 1}), sk.SchemaError, "ghost"), (dict(truth=None), sk.DataError, "phantom"),
    (dict(methods="Saliency"), sk.AbilityError, "list of names"),
    (dict(classifier=sk.Predictor.of(Corner(), FILMS.schema["effusion"], sk.ChestPhantom(size=64).cohort(1))), sk.DataError, "other images"),
])  # fmt: skip
def test_what_cannot_be_scored_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        scorecard(**{"classifier": EYE, "patients": FILMS, "do": DO, "relies_on": "marker", "truth": CHEST, **given})


def test_shapley_values_are_the_means_over_all_orders():
    do, rng = {"a": 1, "b": 1, "c": 1}, np.random.default_rng(0)
    table = {}

    def score(part):
        return table.setdefault(tuple(sorted(part)), rng.normal(size=4))

    found = shapley(score, do)
    by_hand = np.zeros((4, 3))
    for order in permutations(do):
        for place, name in enumerate(order):
            before, after = order[:place], order[: place + 1]
            by_hand[:, list(do).index(name)] += (score(dict.fromkeys(before)) - score(dict.fromkeys(after))) / 6
    assert found == pytest.approx(by_hand) and found.sum(1) == pytest.approx(score({}) - score(do))


def test_contributions_name_what_the_classifier_relies_on_and_maps_agree(contributions):
    rows = contributions.rows.set_index("name")
    assert rows.loc["marker", "value"] > 20 * abs(rows.loc["heart_ratio", "value"]) and rows.loc["IntegratedGradients", "verdict"] == AGREES
    assert rows.loc["random", "verdict"] == "" and contributions.contributions.shape == (rows.loc["marker", "n"], 3)
    assert contributions.figure().data and "8 subsets" in "\n".join(contributions.caveats())


@pytest.mark.parametrize("do", [{"marker": "absent"}, dict.fromkeys("abcdefg", 1)])
def test_too_few_or_too_many_factors_are_refused(do):
    with pytest.raises(sk.SchemaError, match="2 to 6|unknown factor"):
        agreement(EYE, FILMS, do=do, truth=CHEST)
