"""The weight of what a factor changes: 1 is what was learnt, 0 changes nothing, more exaggerates, and nothing differs where no factor does."""
import pytest
import torch
from toys import SMALL_NET, exact_generator, toy_cohort

import synthkit as sk
from synthkit.explanation.counterfactual import counterfactual

COHORT = toy_cohort(6, seed=2)
GONE = {"lesion": "absent"}


@pytest.fixture(scope="module")
def flow():
    return sk.Diffusion(options=SMALL_NET, steps=4).fit(toy_cohort(40, prefix="t"), budget=sk.Steps(80))


def test_more_weight_changes_more_and_none_nothing(flow):
    change = {weight: counterfactual(flow, COHORT, GONE, weight=weight).delta for weight in (0, 0.5, 1, 1.5)}
    ill = torch.tensor(COHORT.table["lesion"].eq("present").tolist())
    sizes = {weight: float(-delta[ill].mean()) for weight, delta in change.items()}
    assert abs(sizes[0]) < 1e-4 < sizes[0.5] < sizes[1] < sizes[1.5]
    assert torch.equal(change[1], counterfactual(flow, COHORT, GONE).delta) and all((delta[~ill] == 0).all() for delta in change.values())


def test_the_weight_is_told_by_the_lineage(flow):
    plain, led = (counterfactual(flow, COHORT[:1], GONE, weight=weight).edited for weight in (1, 1.5))
    assert led.provenance.recipe["weight"] == 1.5 and "weight" not in plain.provenance.recipe
    assert plain.table["image_id"].item() != led.table["image_id"].item()


def test_a_weight_needs_a_flow_on_pixels():
    with pytest.raises(sk.AbilityError, match="leave weight=1"):
        counterfactual(exact_generator(COHORT), COHORT, GONE, weight=2)
    with pytest.raises(sk.DataError, match="weight='much'"):
        counterfactual(exact_generator(COHORT), COHORT, GONE, weight="much")
