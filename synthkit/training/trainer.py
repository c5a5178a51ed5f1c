"""Run a training plan: Lightning drives the steps, callbacks keep the average, the checkpoints and the progress bar."""
import logging
import math
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from synthkit.core.budget import Minutes, Steps
from synthkit.core.randomness import torch_generator
from synthkit.errors import FitError
from synthkit.nets.network import Batch, Trainable
from synthkit.training.data import TrainingData
from synthkit.training.memory import require_room
from synthkit.training.plan import Outcome, Plan, accelerator, precision
from synthkit.training.stopping import Best
from synthkit.training.state import State, load_state, optimizer_tensors, restore_optimizer, save_state

ENDLESS = 10**9
WARM_UP = 0.05


def rate(progress: float) -> float:
    """Share of the peak learning rate: a short rise, then half a cosine down to zero at progress 1."""
    return min(1.0, progress / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class _Loop(pl.LightningModule):
    """A network with its data and plan; a "batch" from the loader is only the number of the step."""

    def __init__(self, network: Trainable, data: TrainingData, plan: Plan, start: State):
        super().__init__()
        self.network, self.data, self.plan, self.start = network, data, plan, start
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.start.seconds + time.monotonic() - self.began

    def progress(self, step: int) -> float:
        budget = self.plan.budget
        return step / budget.count if isinstance(budget, Steps) else self.seconds / (60 * budget.count)

    def train_dataloader(self) -> DataLoader:
        last = self.plan.budget.count if isinstance(self.plan.budget, Steps) else ENDLESS
        # A generator of its own: the loader would draw from torch's global one.
        return DataLoader(range(self.start.step, last), batch_size=None, generator=torch.Generator())

    def training_step(self, step: torch.Tensor | int, batch_idx: int) -> torch.Tensor:
        step = int(step)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        x, c = self.data.take(self.data.rows(step)[rank::world], self.device)
        draws = torch_generator(self.device, seed=self.plan.seed, identity=f"{step}/{rank}", stream="training")
        for group in self.optimizers().param_groups:
            group["lr"] = self.plan.learning_rate * rate(self.progress(step + 1))
        return self.network.training_step(Batch(x, c, draws))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        # Lightning's own clipping refuses a fused AdamW, though without a gradient scaler nothing stands against it.
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        plan = self.plan
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, betas=(0.9, 0.99), fused=True)
        restore_optimizer(optimizer, self.start.part("optimizer"))
        return optimizer


class _Keeper(pl.Callback):
    """Moving average, loss curve, progress bar and checkpoints."""

    def __init__(self, plan: Plan, folder: Path, start: State):
        self.plan, self.folder = plan, folder
        self.average = start.part("average")
        self.losses, self.recent = list(start.losses), []
        self.saved_at, self.bar, self.best = time.monotonic(), None, None

    def on_train_start(self, trainer: pl.Trainer, loop: _Loop) -> None:
        weights = loop.network.state_dict()
        self.average = {name: self.average.get(name, tensor).detach().clone().to(tensor.device) for name, tensor in weights.items()}
        self.recent = list(loop.start.part("recent").get("losses", torch.empty(0)).to(loop.device))
        self.best = Best(self.plan.watch, loop.network) if self.plan.watch else None
        if trainer.is_global_zero and self.plan.title:
            from tqdm.auto import tqdm

            steps = self.plan.budget.count if isinstance(self.plan.budget, Steps) else None
            self.bar = tqdm(total=steps, initial=loop.start.step, desc=self.plan.title, unit="step", mininterval=1.0)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, loop: _Loop, outputs: Any, batch: Any, batch_idx: int) -> None:
        step = loop.start.step + batch_idx + 1
        decay = min(self.plan.average, (1 + step) / (10 + step))
        weights = loop.network.state_dict()
        moving = [name for name, tensor in weights.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.average[n] for n in moving], [weights[n] for n in moving], 1 - decay)
        self.recent.append(outputs["loss"].detach())
        last = loop.progress(step) >= 1
        if isinstance(self.plan.budget, Minutes):
            trainer.should_stop = trainer.strategy.reduce_boolean_decision(last, all=False)
        if self.best and step % self.plan.watch.every == 0 and self.best.look(self.average):
            trainer.should_stop = True
        if len(self.recent) == 20 or last:
            self._note(step, trainer)
        if self.bar is not None:
            self.bar.update(1)
        if self.plan.run and not last and time.monotonic() - self.saved_at > self.plan.checkpoint_seconds:
            self.save(trainer, loop, step, finished=False)

    def _note(self, step: int, trainer: pl.Trainer) -> None:
        mean = float(torch.stack(self.recent).float().mean())
        self.recent = []
        if not math.isfinite(mean):
            raise FitError(f"the loss became {mean} by step {step}; lower learning_rate, or check the images for broken values")
        self.losses.append((step, mean))
        if self.bar is not None:
            rate_now = self.bar.format_dict["rate"] or 0.0
            self.bar.set_postfix_str(f"{rate_now * self.plan.batch_size:.0f} images/s, loss {mean:.4f}", refresh=False)

    def save(self, trainer: pl.Trainer, loop: _Loop, step: int, *, finished: bool) -> None:
        if trainer.is_global_zero:
            named = {"network": loop.network.state_dict(), "average": self.average, "optimizer": optimizer_tensors(trainer.optimizers[0]),
                     "recent": {"losses": torch.stack(self.recent) if self.recent else torch.empty(0)}}  # fmt: skip
            tensors = {f"{part}.{name}": tensor for part, rows in named.items() for name, tensor in rows.items()}
            save_state(State(tensors, step, loop.seconds, finished, self.losses), self.folder, self.plan.identity)
        self.saved_at = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, loop: _Loop) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.best and self.best.weights:
            self.average = self.best.weights
        self.save(trainer, loop, loop.start.step + trainer.global_step, finished=True)


def _lightning(plan: Plan, keeper: _Keeper) -> pl.Trainer:
    kind = accelerator(plan.device)
    if kind == "cuda" and plan.devices > torch.cuda.device_count():
        raise FitError(f"devices={plan.devices}, but this machine has {torch.cuda.device_count()} GPU(s)")
    if plan.batch_size < plan.devices:
        raise FitError(f"batch_size={plan.batch_size} cannot be shared by devices={plan.devices}")
    # A notebook's kernel cannot be spawned again, only forked.
    several = "ddp_notebook" if "ipykernel" in sys.modules else "ddp_spawn"
    return pl.Trainer(
        accelerator="gpu" if kind == "cuda" else "cpu", devices=plan.devices, strategy=several if plan.devices > 1 else "auto", precision=precision(kind),
        max_steps=-1, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[keeper], num_sanity_val_steps=0, use_distributed_sampler=False, default_root_dir=keeper.folder,
    )  # fmt: skip


def _quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*LeafSpec.*", ".*GPU available but not used.*", ".*max_epochs.*"):
        warnings.filterwarnings("ignore", message=text)


def train(network: Trainable, data: TrainingData, plan: Plan) -> Outcome:
    """Train a network in place and leave it with its averaged weights.

    Raises:
        FitError: no room in memory, a loss that is no number, a run folder of another run.
        StoreError: a damaged checkpoint in the run folder.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(plan.run or scratch)
        state = load_state(folder, plan.identity) if plan.run else None
        if state is None or not state.finished:
            _run(network, data, plan, state or State({}, 0), folder)
            state = load_state(folder, plan.identity)
        network.load_state_dict(state.part("average"))
    network.requires_grad_(False).eval().to("cpu")
    return Outcome(state.part("average"), state.step, state.step * plan.batch_size, state.seconds, state.losses, precision(accelerator(plan.device)))


def _run(network: Trainable, data: TrainingData, plan: Plan, start: State, folder: Path) -> None:
    _quiet()
    device = torch.device(accelerator(plan.device))
    network.to(device).train()
    require_room(network, *data.take(data.rows(0)[:2], device), batch_size=-(-plan.batch_size // plan.devices))
    network.to(memory_format=torch.channels_last if data.pixels.space.dims == 2 else torch.channels_last_3d)
    if start.tensors:
        network.load_state_dict(start.part("network"))
    trainer = _lightning(plan, _Keeper(plan, folder, start))
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(_Loop(network, data, plan, start))
    except SystemExit:
        # Lightning ends the whole process on Ctrl-C and leaves the signal ignored, which would end a notebook's kernel.
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt("training was interrupted; fit again with the same run= folder to go on from its last checkpoint") from None
