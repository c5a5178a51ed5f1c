"""Training with differential privacy: the count, the choice of patients, the clipping, and what is refused."""
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SMALL_NET, toy_cohort

import synthkit as sk
from synthkit.core.provenance import patient_digest
from synthkit.generators.diffusion import Apart
from synthkit.nets.network import Batch
from synthkit.training.private import PoissonPatients, Private, each_gradient

TRAIN = toy_cohort(120, per_patient=2)


def diffusion(**more) -> sk.Diffusion:
    return sk.Diffusion(**{"options": SMALL_NET, "batch_size": 20, "privacy": sk.DP(epsilon=8), **more})


def test_the_accountant_gives_the_published_epsilon():
    """sigma 1.5, q .04, 2,250 steps, delta 1e-5: Rényi epsilon 7.32911117143."""
    told = Private(sk.DP(8), noise=1.5, rate=0.04, expected=4, steps=2250)
    assert told.epsilon(2250) == pytest.approx(7.32911117143, rel=1e-9)


@pytest.mark.parametrize("epsilon", [1, 8])
def test_the_noise_spends_the_bound_and_no_more(epsilon):
    told = Private.of(sk.DP(epsilon), patients=500, batch_size=50, budget=sk.Steps(300))
    assert epsilon - 0.02 < told.epsilon(300) <= epsilon and told.epsilon(100) < told.epsilon(300)
    more = Private.of(sk.DP(epsilon), patients=500, batch_size=50, budget=sk.Steps(3000))
    assert more.noise > told.noise


def test_every_patient_stands_in_a_step_by_chance_and_with_one_image():
    units = np.repeat([f"p{i}" for i in range(40)], 3)
    draw = PoissonPatients(units, 0.25)
    steps = [draw() for _ in range(400)]
    sizes = np.array([len(rows) for rows in steps])
    assert sizes.mean() == pytest.approx(10, abs=0.6) and sizes.var() == pytest.approx(7.5, abs=2)
    assert all(len(set(units[rows])) == len(rows) for rows in steps)
    shown = np.bincount(np.concatenate(steps), minlength=120)
    assert shown.min() > 10 and [list(rows) for rows in steps[:5]] != [list(PoissonPatients(units, 0.25)()) for _ in range(5)]


def each(network: Apart, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """(N, parameters) gradient of every image, scaled as if it stood alone."""
    apart = each_gradient(network)
    network.zero_grad()
    network.training_step(Batch(x, c, torch.Generator().manual_seed(0))).backward()
    found = torch.cat([p.grad_sample.flatten(1) for p in network.parameters()], 1).clone()
    apart.cleanup()
    return found


def test_the_gradient_of_one_image_is_its_own_and_no_other_image_moves_it():
    torch.manual_seed(0)
    network = Apart(diffusion().network(TRAIN.schema, TRAIN.space))
    for parameter in network.parameters():  # the last layer starts at zero and would hide the others
        torch.nn.init.normal_(parameter, std=0.1)
    x, c = TRAIN.images.tensor(range(6)), torch.from_numpy(TRAIN.schema.encode(TRAIN.table[:6]))
    found = each(network, x, c)
    loss = network.training_step(Batch(x, c, torch.Generator().manual_seed(0)))
    grads = torch.autograd.grad(loss, list(network.parameters()))
    torch.testing.assert_close(found.mean(0), torch.cat([g.flatten() for g in grads]), rtol=1e-3, atol=1e-5)
    others = x.clone()
    others[1:] = -1
    torch.testing.assert_close(each(network, others, c)[0], found[0], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(each(network, others, c)[1], found[1], rtol=0.1)


def test_no_patient_moves_the_weights_by_more_than_the_clip(monkeypatch):
    """Without noise and with plain descent, a step moves the weights by at most clip x rate x patients / expected."""
    monkeypatch.setattr(torch.optim, "AdamW", lambda weights, lr, **_: torch.optim.SGD(weights, lr=lr))
    monkeypatch.setattr(Private, "of", staticmethod(lambda bound, patients, batch_size, budget: Private(bound, 0.0, 1.0, batch_size, budget.count)))
    recipe = diffusion(learning_rate=1.0, privacy=sk.DP(clip=0.01))
    before = {}
    inner = Apart.training_step

    def watched(self, batch):
        if not batch.x.is_meta:  # the look at the memory beforehand
            before.setdefault("start", torch.cat([p.detach().clone().flatten() for p in self.parameters()]))
        return inner(self, batch)

    monkeypatch.setattr(Apart, "training_step", watched)
    steps = []
    monkeypatch.setattr("synthkit.training.keeper.Keeper.on_train_end", lambda self, trainer, loop: (
        steps.append(torch.cat([p.detach().flatten() for p in loop.network.parameters()])), self.save(trainer, loop, 2, finished=True)))  # fmt: skip
    recipe.fit(TRAIN, budget=sk.Steps(2), seed=0)  # the second one has a learning rate of zero
    moved = (steps[0] - before["start"]).norm()
    assert 0 < moved <= 0.01 * 60 / 20 * 1.001


def test_it_learns_says_what_it_spent_and_keeps_its_losses_to_itself():
    # A bound that binds nobody, so that something is learnt of so few.
    gen = diffusion(privacy=sk.DP(epsilon=1e5, delta=1e-3), learning_rate=3e-3).fit(TRAIN, budget=sk.Steps(120), seed=0)
    told = gen.card.training["privacy"]
    assert told["epsilon"] <= 1e5 and told["unit"] == "patient" and told["chance of a patient per step"] == pytest.approx(1 / 3)
    assert gen.card.training["losses"] == [] and "does not cover the digests" in gen.card.limits[-1]
    want = TRAIN.schema.grid(lesion=["absent", "present"], each=8)
    bright = gen.sample(want, seed=0).images.tensor().flatten(1).mean(1)
    assert bright[8:].mean() - bright[:8].mean() > 0.2
    assert not hasattr(next(gen.trained.parameters()), "grad_sample") and gen.card.command.startswith("sk.Diffusion(")


def test_saved_and_read_back_it_is_the_same_and_the_seed_does_not_decide_it(tmp_path):
    one, two = (diffusion().fit(TRAIN, budget=sk.Steps(3), seed=0) for _ in range(2))
    assert one.weights_digest() != two.weights_digest()
    one.save(tmp_path / "g")
    back = sk.Generator.load(tmp_path / "g")
    assert repr(back.recipe.privacy) == repr(one.recipe.privacy) and back.recipe.privacy == sk.DP(epsilon=8) and back.identity() == one.identity()


@pytest.mark.parametrize(
    ("change", "fit", "message"),
    [
        ({}, {"budget": sk.Minutes(1)}, "privacy is counted in steps"), ({"privacy": sk.DP(delta=0.1)}, {}, "delta=0.1 promises nothing to one of 60"),
        ({"batch_size": 64}, {}, "batch_size=64, but there are 60 patients"), ({}, {"balance": "lesion"}, "balance='lesion' draws some patients more often"),
        ({"batch_size": 2}, {}, "leaves some steps without any patient"), ({}, {"devices": 2}, "runs on one device"),
    ],
)  # fmt: skip
def test_where_the_bound_would_not_hold_it_is_refused(change, fit, message):
    with pytest.raises(sk.FitError, match=message):
        diffusion(**change).fit(TRAIN, **{"budget": sk.Steps(5), **fit})


def test_a_start_that_knows_the_patients_is_refused_and_another_taken():
    start = sk.Diffusion(options=SMALL_NET).fit(toy_cohort(20, prefix="o"), budget=sk.Steps(2), seed=0)
    assert diffusion().fit(TRAIN, budget=sk.Steps(2), start=start).card.training["privacy"]["epsilon"] <= 8
    with pytest.raises(sk.FitError, match="learnt from 1 of these patients without a bound"):
        diffusion().fit(TRAIN, budget=sk.Steps(2), start=replace(start, patients=frozenset([patient_digest(TRAIN.table["patient_id"][0])])))


def test_impossible_bounds_are_refused():
    for given in ({"epsilon": 0}, {"delta": 1}, {"clip": -1}):
        with pytest.raises(sk.FitError, match="all lie above 0"):
            sk.DP(**given)
    with pytest.raises(sk.DataError, match="epsilon='8': give a number"):
        sk.DP(epsilon="8")
    with pytest.raises(sk.DataError, match="privacy: got 8"):
        sk.Diffusion(privacy=8)


PROGRAM = """
import sys; sys.path.insert(0, {tests!r})
import synthkit as sk
from synthkit.training.plan import Plan
from test_dp import TRAIN, diffusion
Plan.__init__.__defaults__ = tuple(1.0 if value == 60.0 else value for value in Plan.__init__.__defaults__)  # seconds between checkpoints
diffusion().fit(TRAIN, budget=sk.Steps(400), seed=0, run={run!r})
"""


@pytest.mark.slow
def test_a_killed_training_goes_on(tmp_path):
    program = PROGRAM.format(tests=os.path.dirname(__file__), run=str(tmp_path / "run"))
    started = subprocess.Popen([sys.executable, "-c", program])
    for _ in range(240):
        time.sleep(0.5)
        if (tmp_path / "run" / "run.json").exists():
            break
    started.send_signal(signal.SIGKILL)
    started.wait()
    gen = diffusion().fit(TRAIN, budget=sk.Steps(400), seed=0, run=tmp_path / "run")
    assert gen.card.training["steps"] == 400 and gen.card.training["privacy"]["epsilon"] <= 8
