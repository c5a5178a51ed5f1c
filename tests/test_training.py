"""Training: the schedule, the average, resuming, and what is refused."""
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import SMALL_NET, Interrupted, Line, PowerCut, toy_cohort

from synthkit.core.budget import Minutes, Steps, resolve
from synthkit.core.space import Channel, Space
from synthkit.errors import FitError, LeakageError, SchemaError, StoreError
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.gan import GAN
from synthkit.generators.latent import LatentDiffusion
from synthkit.generators.vae import VAE
from synthkit.nets.network import Batch, Trainable
from synthkit.tasks.classifier import Classifier
from synthkit.training import memory
from synthkit.training.data import TrainingData, balance_weights
from synthkit.training.loop import WARM_UP, rate
from synthkit.training.plan import Plan
from synthkit.training.stopping import Watch
from synthkit.training.trainer import train

ROOT = Path(__file__).parents[1]
SMALL = Diffusion(steps=2, options=SMALL_NET, batch_size=8)


def data_of(count: int = 12, *, batch_size: int = 4, seed: int = 0) -> TrainingData:
    cohort = toy_cohort(count)
    return TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=batch_size, seed=seed)


def plan_of(steps: int = 10, **settings: object) -> Plan:
    return Plan(Steps(steps), batch_size=4, learning_rate=0.05, **settings)


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_learning_rate_rises_falls_and_ends_at_zero():
    assert rate(0) == 0 and rate(1) == 0 and rate(2) == 0
    rates = [rate(p) for p in np.linspace(0, 1, 401)]
    peak = int(np.argmax(rates))
    assert peak == round(400 * WARM_UP) and 0.99 < rates[peak] <= 1
    assert (np.diff(rates[: peak + 1]) > 0).all() and (np.diff(rates[peak:]) < 0).all()
    assert rate(0.5) == pytest.approx(0.5)


def test_the_last_step_moves_nothing_for_its_rate_is_zero():
    network = Line()
    train(network, data_of(), plan_of(6, average=0.0))
    walk = network.walk[-6:]
    assert walk[0] == 2.0 and float(network.weight) == pytest.approx(walk[-1], abs=1e-7) and walk[4] != walk[5]


def test_what_is_kept_is_the_moving_average_in_closed_form():
    network = Line()
    train(network, data_of(), plan_of(30, average=0.8))
    walk = network.walk[-30:]
    average = walk[0]
    # The weight after step s is where it stands before step s + 1; the last step does not move it.
    for step, weight in enumerate([*walk[1:], walk[-1]], start=1):
        decay = min(0.8, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
    assert float(network.weight) == pytest.approx(average, abs=1e-5) and abs(average - walk[-1]) > 1e-3


def test_a_run_that_broke_off_goes_on_to_the_very_same_weights(tmp_path):
    cohort = toy_cohort(4)

    def network(fail_at: int | None = None) -> Interrupted:
        torch.manual_seed(0)
        return Interrupted(SMALL.network(cohort.schema, cohort.space), fail_at=fail_at)

    undisturbed = train(network(), data_of(), plan_of(45))
    plan = plan_of(45, run=tmp_path / "run", checkpoint_seconds=-1.0, identity={"who": "me"})
    for fail_at in (8, 30):
        with pytest.raises(PowerCut):
            train(network(fail_at), data_of(), plan)
    resumed = train(network(), data_of(), plan)
    assert resumed.steps == 45 and same_weights(resumed.weights, undisturbed.weights)
    assert [step for step, _ in resumed.losses] == [step for step, _ in undisturbed.losses] == [20, 40, 45]
    assert [loss for _, loss in resumed.losses] == pytest.approx([loss for _, loss in undisturbed.losses], rel=1e-6)


def test_a_finished_run_is_read_back_not_repeated(tmp_path):
    plan = plan_of(run=tmp_path, identity={"who": "me"})
    first = train(Line(), data_of(), plan)
    network = Line(fail_at=1)
    assert same_weights(train(network, data_of(), plan).weights, first.weights) and not network.walk


def test_the_folder_of_another_run_is_refused_and_says_what_differs(tmp_path):
    cohort = toy_cohort(12)
    SMALL.fit(cohort, budget=Steps(2), run=tmp_path)
    for change, word in (({"seed": 1}, "seed"), ({"budget": Steps(3)}, "budget"), ({"balance": "sex"}, "balance")):
        with pytest.raises(FitError, match=f"another run \\(other .*{word}"):
            SMALL.fit(cohort, run=tmp_path, **{"budget": Steps(2), **change})
    with pytest.raises(FitError, match="other data"):
        SMALL.fit(toy_cohort(12, seed=1), budget=Steps(2), run=tmp_path)
    with pytest.raises(FitError, match="other recipe"):
        Diffusion(steps=3, options=SMALL_NET, batch_size=8).fit(cohort, budget=Steps(2), run=tmp_path)


@pytest.mark.parametrize("kind", ["state-*.safetensors", "run.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_refused(tmp_path, kind, harm):
    plan = plan_of(3, run=tmp_path)
    train(Line(), data_of(), plan)
    (path,) = tmp_path.glob(kind)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if harm == "flip" else data[:-3])
    if harm == "remove":
        path.unlink()
    if (kind, harm) == ("run.json", "remove"):
        assert train(Line(), data_of(), plan).steps == 3, "without a manifest no run began"
        return
    with pytest.raises(StoreError, match="damaged|missing"):
        train(Line(), data_of(), plan)


def test_each_epoch_shows_every_image_once_and_steps_do_not_depend_on_the_past():
    data = data_of(12, batch_size=4, seed=3)
    epochs = [np.concatenate([data.rows(step) for step in range(start, start + 3)]) for start in (0, 3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs) and not np.array_equal(*epochs)
    assert np.array_equal(data.rows(4), data_of(12, batch_size=4, seed=3).rows(4))
    odd = data_of(10, batch_size=4)
    assert sorted(np.concatenate([odd.rows(step) for step in range(5)])) == sorted([*range(10)] * 2)
    assert len(data_of(5, batch_size=16).rows(0)) == 16


@pytest.mark.parametrize("factor", ["lesion", "age"])
def test_balance_draws_every_level_and_group_equally_often(factor):
    cohort = toy_cohort(60)
    cohort = cohort[np.flatnonzero((cohort.table["lesion"] == "present") | (np.arange(60) % 6 == 0))]
    data = TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=50, seed=0, weights=balance_weights(cohort, factor))
    groups = cohort.schema.groups(cohort.table, factor).to_numpy(object)
    drawn = groups[np.concatenate([data.rows(step) for step in range(80)])]
    shares = [np.mean(drawn == group) for group in set(groups)]
    assert len(shares) >= 2 and shares == pytest.approx([1 / len(shares)] * len(shares), abs=0.03)
    with pytest.raises(SchemaError, match="unknown factor 'ward'"):
        balance_weights(cohort, "ward")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: SMALL.fit(toy_cohort(3), budget=Steps(1)), FitError, "3 images are too few to fit on; give at least 4"),
        (lambda: SMALL.fit(toy_cohort(8), valid=toy_cohort(8), budget=Steps(1)), LeakageError, "both train and valid"),
        (lambda: SMALL.fit(toy_cohort(8), budget="forever"), FitError, "budget 'forever' is not one of smoke, lesson, full"),
        (lambda: Steps(0), FitError, "a whole number of steps, 1 or more"),
        (lambda: Minutes(0), FitError, "a number of minutes above 0"),
        (lambda: Diffusion(steps=0), FitError, "whole number, 1 or more"),
        (lambda: Diffusion(batch_size=1).fit(toy_cohort(8), budget=Steps(1), devices=2), FitError, "batch_size=1 cannot be shared by devices=2"),
    ],
)
def test_runs_that_cannot_start_are_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_budgets_in_words():
    named = {"smoke": 20}
    assert resolve("smoke", named) == Steps(20) and resolve("500 steps", named) == Steps(500) and resolve(Steps(3), named) == Steps(3)
    assert resolve("10 min", named) == Minutes(10) and resolve(" 0.5 minutes ", named) == Minutes(0.5)


class Broken(Trainable):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self.weight.sum() * float("nan")


def test_a_loss_that_is_no_number_stops_the_run_and_is_not_kept(tmp_path):
    with pytest.raises(FitError, match="the loss became nan by step 5; lower learning_rate"):
        train(Broken(), data_of(), plan_of(5, run=tmp_path))
    assert not (tmp_path / "run.json").exists()


def test_too_little_memory_names_the_batch_size_that_fits(monkeypatch):
    cohort, free = toy_cohort(12), 60_000_000
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    greedy = Diffusion(steps=2, options=SMALL_NET, batch_size=100_000)
    with pytest.raises(FitError, match=r"16 × 16 images with batch_size=100000 needs .* batch_size=\d+ would fit") as caught:
        greedy.fit(cohort, budget=Steps(1))
    fits = int(str(caught.value).rsplit("batch_size=", 1)[1].split()[0])
    network, data = greedy.network(cohort.schema, cohort.space), TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=2, seed=0)
    x, c = data.take(np.arange(2), torch.device("cpu"))
    memory.require_room(network, x, c, batch_size=fits)
    with pytest.raises(FitError):
        memory.require_room(network, x, c, batch_size=fits + 1)
    free = 1000
    with pytest.raises(FitError, match="take a machine with more memory"):
        greedy.fit(cohort, budget=Steps(1))


def test_a_volume_that_would_never_fit_is_refused_before_it_is_tried(monkeypatch):
    """512³ on 24 GB: nothing of that size is made, and the size that is named fits."""
    monkeypatch.setattr(memory, "free_bytes", lambda device: 24 * 2**30)
    schema = toy_cohort(4).schema

    def ask(size: int) -> None:
        recipe, space = LatentDiffusion(), Space((size,) * 3, (Channel("CT"),))
        codec = recipe.stages(recipe.network(schema, space), schema, space)[0].trainable
        memory.require_room(codec, torch.empty(1).expand(2, 1, size, size, size), torch.empty(2, schema.width), batch_size=4)

    with pytest.raises(FitError, match=r"512 × 512 × 512 images with batch_size=4 needs about \d+.\d GB.*size=\d+") as caught:
        ask(512)
    fits = int(str(caught.value).rsplit("size=", 1)[1])
    assert 128 <= fits < 512
    with pytest.raises(FitError, match="batch_size=1 would fit$"):
        ask(fits)


@pytest.mark.parametrize("recipe", [Diffusion(options=SMALL_NET), VAE(options={"widths": (8, 16), "embedding": 32}), GAN()], ids=lambda r: type(r).__name__)
def test_counting_without_content_is_counting(recipe):
    cohort = toy_cohort(4)
    network = recipe.network(cohort.schema, cohort.space)
    trainable = recipe.stages(network, cohort.schema, cohort.space)[0].trainable
    x, c = cohort.images.tensor([0, 1]), torch.from_numpy(cohort.schema.encode(cohort.table))[:2]
    run = memory._kept(trainable, Batch(x, c, torch.Generator().manual_seed(0)))
    assert memory.bytes_per_image(trainable, x, c) == run > 0


class ThreeKept(Line):
    """Keeps x, exp(wx) and exp(exp(wx)) for the backward pass; the weight itself is no activation."""

    def training_step(self, batch: Batch) -> torch.Tensor:
        return (batch.x * self.weight).exp().exp().mean()


@pytest.mark.parametrize("size", [(16, 16), (4, 8, 32)])
def test_activations_are_counted_to_the_byte(size):
    x = torch.zeros(2, 1, *size)
    assert memory.bytes_per_image(ThreeKept(), x, torch.zeros(2, 1)) == 3 * 4 * int(np.prod(size))


def test_early_stopping_keeps_the_best_weights_seen():
    looks = iter([3.0, 1.0, 2.0, 2.0, 2.0])
    network, seen = Line(), []
    watch = Watch(lambda probe: seen.append(float(probe.weight)) or next(looks), every=5, patience=2)
    outcome = train(network, data_of(), plan_of(100, watch=watch))
    assert outcome.steps == 20 and len(seen) == 4 and float(network.weight) == seen[1]


def test_minutes_end_in_time_and_with_a_small_rate():
    began = time.monotonic()
    outcome = train(Line(), data_of(), Plan(Minutes(2 / 60), batch_size=4))
    assert 2 <= outcome.seconds < 3.5 and time.monotonic() - began < 6 and outcome.steps > 5


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_stream_alone():
    torch.manual_seed(4)
    before = torch.get_rng_state()
    runs = [SMALL.fit(toy_cohort(12), budget=Steps(4), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert runs[0].weights_digest() == runs[1].weights_digest() != runs[2].weights_digest()
    assert runs[0].card.training["losses"] == runs[1].card.training["losses"]


def test_volumes_that_shrink_to_two_slices_train_the_same_every_time():
    """Weight gradients must never be read from memory that nobody wrote: here it is filled with NaN beforehand."""
    cohort, runs = toy_cohort(16, size=(4, 8, 8)), []
    for _ in range(6):
        for numbers in (512, 2048, 4096, 8192, 20_000, 100_000):
            torch.full((numbers,), float("nan"))
        fitted = Classifier(target="lesion", options={"widths": (8, 16)}).fit(cohort, budget=Steps(2), progress=False)
        runs.append(fitted.outputs(cohort.images.tensor()))
    assert all(torch.equal(run, runs[0]) for run in runs) and runs[0].isfinite().all()


LONG = """
import sys
from pathlib import Path
from toys import SMALL_NET, toy_cohort
from synthkit.core.budget import Steps
from synthkit.generators.diffusion import Diffusion
from synthkit.training.plan import Plan
from synthkit.training.trainer import train
from synthkit.training.data import TrainingData
import torch
torch.set_num_threads(1)
cohort = toy_cohort(24)
data = TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=8, seed=0)
torch.manual_seed(0)
network = Diffusion(steps=2, options=SMALL_NET).network(cohort.schema, cohort.space)
run = Path(sys.argv[1])
outcome = train(network, data, Plan(Steps(300), batch_size=8, run=run, checkpoint_seconds=0.05, identity={"toy": 1}))
print("finished", outcome.steps)
"""


def start(folder: Path) -> subprocess.Popen:
    path = f"{ROOT}:{ROOT / 'tests'}"
    return subprocess.Popen([sys.executable, "-c", LONG, str(folder)], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_very_same_weights(tmp_path):
    from safetensors.torch import load_file

    assert b"finished 300" in start(tmp_path / "whole").communicate(timeout=300)[0]
    kills = 0
    for moment in (0.4, 0.9):
        program, manifest = start(tmp_path / "killed"), tmp_path / "killed" / "run.json"
        before, waited = manifest.read_bytes() if manifest.exists() else b"", time.monotonic()
        while time.monotonic() - waited < 120 and program.poll() is None and (manifest.read_bytes() if manifest.exists() else b"") == before:
            time.sleep(0.02)
        time.sleep(moment)
        if program.poll() is None:
            program.send_signal(signal.SIGKILL)
            kills += 1
        program.communicate()
        assert b'"finished": false' in manifest.read_bytes()
    assert kills == 2 and b"finished 300" in start(tmp_path / "killed").communicate(timeout=300)[0]
    whole, killed = (load_file(next((tmp_path / name).glob("state-*.safetensors"))) for name in ("whole", "killed"))
    assert whole.keys() == killed.keys() and all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.slow
def test_two_processes_share_the_batch_and_repeat_themselves():
    cohort = toy_cohort(16)
    pair = [SMALL.fit(cohort, budget=Steps(6), seed=0, devices=2) for _ in range(2)]
    assert all(torch.isfinite(t).all() for t in pair[0].trained.state_dict().values())
    assert pair[0].card.training["losses"] == pair[1].card.training["losses"] and pair[0].weights_digest() == pair[1].weights_digest()
    # The mean gradient of two halves, of two rows each, is that of the whole of four: without noise both ways lead to one weight.
    one, two = (train(Line(grain=0, rows=4 // devices), data_of(), plan_of(8, devices=devices)).weights["weight"] for devices in (1, 2))
    assert torch.allclose(one, two, atol=1e-6) and float(one) < 1.9


def test_a_finished_run_that_is_read_back_makes_the_same_bytes(tmp_path):
    cohort = toy_cohort(12, size=(32, 32))
    recipe = Diffusion(steps=4, options={"widths": (32, 48), "embedding": 32}, batch_size=8)
    first, again = (recipe.fit(cohort, budget=Steps(3), run=tmp_path) for _ in range(2))
    one, other = (gen.sample(cohort.table.drop(columns="patient_id"), seed=1).images.raw() for gen in (first, again))
    assert first.weights_digest() == again.weights_digest() and np.array_equal(one, other)
