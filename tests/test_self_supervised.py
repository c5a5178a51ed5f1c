"""Pretraining without labels: what it learns, what it hands on, and its arm in a hybrid experiment."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import toy_cohort

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.nets.augment import augment
from synthkit.nets.convnet import ConvNet
from synthkit.nets.network import Batch
from synthkit.studies.hybrid.arms import ARMS, PRETRAINED, SELF_SUPERVISED, Arm
from synthkit.studies.hybrid.fits import fit_key, learn
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.self_supervised import STRONGER, TEMPERATURE, WIDTH, Views, pretrained_body

QUICK = Classifier("lesion", options={"widths": (8, 16, 16)}, batch_size=16)


def bumps(count: int, *, seed: int) -> Cohort:
    """Images that differ in where a bump lies, and how wide it is."""
    cohort, rng, grid = toy_cohort(count, seed=seed, prefix=f"b{seed}"), np.random.default_rng(seed), np.mgrid[0:16, 0:16]
    place, width = rng.uniform(3, 13, (count, 2, 1, 1)), rng.uniform(3, 20, (count, 1, 1))
    images = np.exp(-((grid[None] - place) ** 2).sum(1) / width) * 1.6 - 0.8
    raw = cohort.space.to_raw(torch.from_numpy(images)[:, None])
    return Cohort.of(raw, cohort.table, schema=cohort.schema, space=cohort.space, provenance=cohort.provenance)


def test_the_loss_is_that_of_its_definition():
    """Cross-entropy of finding one's other copy among all others, by cosines over the temperature."""
    views = Views(torch.nn.Identity())
    one, other = torch.randn(6, 5), torch.randn(6, 5)
    both = torch.nn.functional.normalize(torch.cat([one, other]), dim=1)
    logits = (both @ both.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    wanted = torch.nn.functional.cross_entropy(logits, torch.arange(12).roll(6))
    assert views.contrast(one, other).item() == pytest.approx(wanted.item(), rel=1e-4)


def test_both_copies_are_changed_each_in_its_own_way():
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.flatten(1)

    x = torch.randn(4, 1, 16, 16).clamp(-1, 1)
    Views(Spy()).training_step(Batch(x, torch.empty(4, 0), torch.Generator().manual_seed(0)))
    assert len(seen) == 2 and not torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], x)


def test_without_labels_it_learns_to_know_new_images_again_after_changes():
    train, shuffled = bumps(160, seed=1), bumps(160, seed=1)
    shuffled = replace(shuffled, table=shuffled.table.assign(lesion=np.random.default_rng(0).permutation(shuffled.table["lesion"]), diameter=np.nan))
    first, second = (pretrained_body(QUICK, cohort, budget=Steps(200), seed=0) for cohort in (train, shuffled))
    assert all(torch.equal(a, b) for a, b in zip(first.module.state_dict().values(), second.module.state_dict().values())), "labels are never looked at"
    new = Batch(bumps(80, seed=2).images.tensor(), torch.empty(80, 0), torch.Generator().manual_seed(0))
    copies = [augment(new, **STRONGER) for _ in range(2)]

    def known_again(network: ConvNet) -> float:
        network.cpu().head = torch.nn.Identity()
        with torch.no_grad():
            one, other = (torch.nn.functional.normalize(network(copy), dim=1) for copy in copies)
        return float(((one @ other.T).argmax(1) == torch.arange(80)).float().mean())

    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = QUICK.network(train, train.schema.only(("lesion",))).backbone
    assert known_again(first.module) > 1.5 * known_again(fresh)


def test_all_but_the_last_layer_is_handed_on_and_the_fit_goes_on_from_it():
    cohort = toy_cohort(32)
    body = pretrained_body(QUICK, cohort, budget=Steps(4), seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        fresh = QUICK.network(cohort, cohort.schema.only(("lesion",))).backbone.state_dict()
    same = {name for name, tensor in body.module.state_dict().items() if torch.equal(tensor.cpu(), fresh[name])}
    assert same == {"head.weight", "head.bias"} and fresh["head.weight"].shape[0] != WIDTH
    tuned = QUICK.fit(cohort, budget=Steps(1), seed=3, early_stopping=False, progress=False, start=body)
    assert tuned.trained["started from"]["labels"] == "none" and tuned.patients == frozenset(cohort.table["patient_id"])


def test_its_arm_trains_with_and_without_the_added_labels_alike():
    """Pretraining sees no label, so labels of added images change nothing; those of real ones do."""
    real, added = toy_cohort(16, prefix="real"), toy_cohort(24, seed=5, prefix="added")
    turned = replace(added, table=added.table.assign(lesion=added.table["lesion"].map({"absent": "present", "present": "absent"}), diameter=np.nan))
    weights = [learn(QUICK, SELF_SUPERVISED, real=real, added=cohort, steps=6, seed=0).module.state_dict() for cohort in (added, turned)]
    assert all(torch.equal(a, b) for a, b in zip(*(one.values() for one in weights)))
    told = [learn(QUICK, PRETRAINED, real=real, added=cohort, steps=6, seed=0).module.state_dict() for cohort in (added, turned)]
    assert not all(torch.equal(a, b) for a, b in zip(*(one.values() for one in told)))


def test_it_has_to_be_asked_for_and_leaves_the_keys_of_other_arms_alone():
    assert SELF_SUPERVISED not in ARMS
    keys = [fit_key(QUICK, arm, 1.0, seed=0, steps=4, data={}) for arm in (PRETRAINED, SELF_SUPERVISED)]
    assert "labels" not in keys[0]["arm"] and keys[1]["arm"]["labels"] is False
    with pytest.raises(DataError, match="give pretrain=True"):
        Arm("odd", added="sampled", labels=False)
    assert all(arm.labels for arm in ARMS)
