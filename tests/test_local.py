"""Edits of one region: the region changes, the rest is the original's bit for bit."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SMALL_NET, exact_generator, toy_cohort

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.space import Channel, Space
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.explanation.counterfactual import counterfactual
from synthkit.explanation.local import local_edit
from synthkit.generators.diffusion import Diffusion

COHORT = toy_cohort(6, seed=2)
LEFT = np.zeros((16, 16), bool)
LEFT[:, :8] = True
GONE = {"lesion": "absent"}


@pytest.fixture(scope="module")
def flow():
    return Diffusion(options=SMALL_NET, steps=4).fit(toy_cohort(40, prefix="t"), budget=Steps(80))


@pytest.mark.parametrize("high", [255, 65535])
def test_outside_the_mask_every_stored_value_is_the_originals(flow, high):
    cohort = toy_cohort(6, seed=2, high=high)
    twin = local_edit(flow, cohort, mask=LEFT, do=GONE)
    before, after = cohort.images.raw(), twin.edited.images.raw()
    assert after.dtype == before.dtype and np.array_equal(after[:, :, ~LEFT], before[:, :, ~LEFT])
    ill = cohort.table["lesion"].eq("present").to_numpy()
    assert (twin.delta[ill][:, :, LEFT].mean((1, 2)) < -0.3).all() and (after[~ill] == before[~ill]).all()
    assert "Only 50.0% of the pixels could change" in "\n".join(twin.caveats()) and twin.edited.table["lesion"].eq("absent").all()


def test_hounsfield_units_outside_a_narrow_window_are_kept(flow):
    """A CT in int16, shown from -100 to 100 HU: air and bone lie outside the window, and stay as stored where the mask is not."""
    rng = np.random.default_rng(3)
    stored = rng.integers(-1000, 2000, (6, 1, 16, 16)).astype(np.int16)
    space = Space((16, 16), (Channel("grey", low=-100, high=100, unit="HU"),))
    ct = Cohort.of(stored, COHORT.table, schema=COHORT.schema, space=space, provenance=COHORT.provenance)
    reader = replace(flow, space=space)
    after = local_edit(reader, ct, mask=LEFT, do=GONE).edited.images.raw()
    assert after.dtype == np.int16 and np.array_equal(after[:, :, ~LEFT], stored[:, :, ~LEFT])
    ill = COHORT.table["lesion"].eq("present").to_numpy()
    assert (after[ill][:, :, LEFT] != stored[ill][:, :, LEFT]).any() and np.array_equal(after[~ill], stored[~ill])


def test_edits_inside_other_regions_have_other_names(flow):
    names = [local_edit(flow, COHORT[:1], mask=mask, do=do).edited.table["image_id"].item() for mask in (LEFT, ~LEFT) for do in (GONE, {})]
    again = local_edit(flow, COHORT[:1], mask=LEFT, do=GONE).edited.table["image_id"].item()
    assert len(set(names)) == 4 and again == names[0]


def test_a_mask_of_everything_is_the_ordinary_edit(flow):
    local = local_edit(flow, COHORT, mask=np.ones((16, 16), bool), do=GONE)
    whole = counterfactual(flow, COHORT, GONE)
    assert torch.allclose(local.delta, whole.delta, atol=2e-4) and whole.delta.abs().max() > 0.3
    assert torch.equal(local.reconstruction.images.tensor(), whole.reconstruction.images.tensor())


def test_the_surrounding_takes_part(flow):
    """The region is not cut out of the ordinary edit: what stands around it held its own."""
    local, whole = local_edit(flow, COHORT, mask=LEFT, do=GONE), counterfactual(flow, COHORT, GONE)
    assert (local.delta - whole.delta)[:, :, LEFT].abs().max() > 1e-3


def test_each_image_may_have_a_region_of_its_own(flow):
    masks = torch.zeros(6, 16, 16, dtype=torch.bool)
    for number in range(6):
        masks[number, 2 * number : 2 * number + 4] = True
    twin = local_edit(flow, COHORT, mask=masks, do={"lesion": "present"})
    assert not ((twin.delta != 0).squeeze(1) & ~masks).any() and (twin.delta != 0).flatten(1).any(1).sum() >= 3
    assert torch.equal(local_edit(flow, COHORT[4:5], mask=masks[4:5], do={"lesion": "present"}).delta, twin.delta[4:5])


def test_doing_nothing_changes_nothing(flow):
    assert local_edit(flow, COHORT, mask=LEFT, do={}).delta.abs().max() == 0


@pytest.mark.parametrize(
    ("mask", "do", "kind", "message"),
    [
        (LEFT[:8], GONE, DataError, r"mask: shape \(8, 16\), and the 6 images of \(16, 16\) need \(16, 16\) or \(6, 16, 16\)"),
        (~LEFT & LEFT, GONE, DataError, "mask: empty for 6 image"),
        (LEFT * 0.5, GONE, DataError, "mask: holds float64 values .* give a bool array"),
        (LEFT * 7, GONE, DataError, "values other than 0 and 1"),
        (LEFT, {"ward": 1}, SchemaError, "unknown factor 'ward'"),
    ],
)
def test_impossible_regions_are_refused(flow, mask, do, kind, message):
    with pytest.raises(kind, match=message):
        local_edit(flow, COHORT, mask=mask, do=do)


def test_a_family_that_cannot_hold_a_region_says_so():
    with pytest.raises(AbilityError, match="cannot hold a region still"):
        local_edit(exact_generator(COHORT), COHORT, mask=LEFT, do=GONE)
    with pytest.raises(DataError, match="the cohort is empty"):
        local_edit(exact_generator(COHORT), COHORT[:0], mask=LEFT, do=GONE)


@pytest.mark.parametrize(("do", "message"), [
    ({"age": float("nan")}, "age → nan: an edit needs a value that is known; leave age out to hold it"), ({"lesion": None}, "lesion → None"),
    ({"age": [80, 81]}, "age: got 2 values for 6 images; give one value, or one per image"),
])  # fmt: skip
def test_an_edit_sets_known_values(flow, do, message):
    with pytest.raises(SchemaError, match=message):
        counterfactual(flow, COHORT, do)


def test_every_image_may_be_given_a_value_of_its_own(flow):
    ages = [20.0, 30.0, 40.0, 50.0, 60.0, 70.0]
    assert counterfactual(flow, COHORT, {"age": ages}).edited.table["age"].tolist() == ages
    with pytest.raises(DataError, match="scm: got 'chest'; give a causal model"):
        counterfactual(flow, COHORT, GONE, scm="chest")
