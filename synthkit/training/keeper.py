"""Beside the steps: the moving average of the weights, the loss curve, checkpoints and the progress bar."""
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from synthkit.core.budget import Minutes
from synthkit.errors import FitError
from synthkit.training.loop import Loop
from synthkit.training.plan import Plan
from synthkit.training.progress import Progress
from synthkit.training.state import State, optimizer_tensors, save_state
from synthkit.training.stopping import Best


class Keeper(pl.Callback):
    """Moving average, loss curve, progress bar and checkpoints."""

    def __init__(self, plan: Plan, folder: Path, start: State):
        self.plan, self.folder = plan, folder
        self.average = start.part("average")
        self.losses, self.recent = list(start.losses), []
        self.saved_at, self.bar, self.best = time.monotonic(), None, None

    def on_train_start(self, trainer: pl.Trainer, loop: Loop) -> None:
        weights = loop.network.state_dict()
        self.average = {name: self.average.get(name, tensor).detach().clone().to(tensor.device) for name, tensor in weights.items()}
        self.recent = list(loop.start.part("recent").get("losses", torch.empty(0)).to(loop.device))
        self.best = Best(self.plan.watch, loop.network) if self.plan.watch else None
        if trainer.is_global_zero and self.plan.title:
            self.bar = Progress(self.plan, loop.start.step)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: pl.Trainer, loop: Loop, outputs: Any, batch: Any, batch_idx: int) -> None:
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
            self.bar.step(minutes=loop.seconds / 60)
        if self.plan.run and not last and time.monotonic() - self.saved_at > self.plan.checkpoint_seconds:
            self.save(trainer, loop, step, finished=False)

    def _note(self, step: int, trainer: pl.Trainer) -> None:
        mean = float(torch.stack(self.recent).float().mean())
        self.recent = []
        if not math.isfinite(mean):
            raise FitError(f"the loss became {mean} by step {step}; lower learning_rate, or check the images for broken values")
        self.losses.append((step, mean))
        if self.bar is not None:
            self.bar.note(mean)

    def save(self, trainer: pl.Trainer, loop: Loop, step: int, *, finished: bool) -> None:
        if self.recent and not torch.stack(self.recent).isfinite().all():
            raise FitError(f"the loss became no number by step {step}; lower learning_rate, or check the images for broken values")
        if trainer.is_global_zero:
            named = {"network": loop.network.state_dict(), "average": self.average, "optimizer": optimizer_tensors(trainer.optimizers[0]),
                     "recent": {"losses": torch.stack(self.recent) if self.recent else torch.empty(0)}}  # fmt: skip
            tensors = {f"{part}.{name}": tensor for part, rows in named.items() for name, tensor in rows.items()}
            save_state(State(tensors, step, loop.seconds, finished, self.losses), self.folder, self.plan.identity)
        self.saved_at = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, loop: Loop) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.best and self.best.weights:
            self.average = self.best.weights
        self.save(trainer, loop, loop.start.step + trainer.global_step, finished=True)
