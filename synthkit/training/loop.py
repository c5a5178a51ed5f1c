"""One step after another: the data of a step, its learning rate, its loss."""
import math
import time

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from synthkit.core.budget import Steps
from synthkit.core.randomness import torch_generator
from synthkit.nets.network import Batch, Trainable
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.private import each_gradient
from synthkit.training.state import State, restore_optimizer

ENDLESS = 10**9
WARM_UP = 0.05


def rate(progress: float) -> float:
    """Share of the peak learning rate: a short rise, then half a cosine down to zero at progress 1."""
    return min(1.0, progress / WARM_UP) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


class Loop(pl.LightningModule):
    """A network with its data and plan; a "batch" from the loader is only the number of the step."""

    def __init__(self, network: Trainable, data: TrainingData, plan: Plan, start: State):
        super().__init__()
        self.network, self.data, self.plan, self.start = network, data, plan, start
        self.began, self.apart = time.monotonic(), None

    @property
    def seconds(self) -> float:
        return self.start.seconds + time.monotonic() - self.began

    def progress(self, step: int) -> float:
        budget = self.plan.budget
        return step / budget.count if isinstance(budget, Steps) else self.seconds / (60 * budget.count)

    def train_dataloader(self) -> DataLoader:
        last = self.plan.stop or (self.plan.budget.count if isinstance(self.plan.budget, Steps) else ENDLESS)
        # A generator of its own: the loader would draw from torch's global one.
        return DataLoader(range(self.start.step, last), batch_size=None, generator=torch.Generator())

    def training_step(self, step: torch.Tensor | int, batch_idx: int) -> torch.Tensor:
        step = int(step)
        rank, world = self.trainer.global_rank, self.trainer.world_size
        x, c = self.data.take(self.data.rows(step)[rank::world], self.device)
        x = x.contiguous() if self.plan.private else x
        draws = torch_generator(self.device, seed=self.plan.seed, identity=f"{step}/{rank}", stream="training")
        for group in self.optimizers().param_groups:
            group["lr"] = self.plan.learning_rate * rate(self.progress(step + 1))
        return self.network.training_step(Batch(x, c, draws))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.plan.private:
            return
        # Lightning's own clipping refuses a fused AdamW, though without a gradient scaler nothing stands against it.
        for player in self.network.players():
            torch.nn.utils.clip_grad_norm_(player.parameters(), 1.0)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        plan, settings = self.plan, {"lr": self.plan.learning_rate, "weight_decay": self.plan.weight_decay, "betas": self.network.betas}
        # The fused one walks in memory order, which gradients that were summed image by image do not have.
        optimizer = torch.optim.AdamW(self.network.parameters(), **settings, fused=not plan.private)
        restore_optimizer(optimizer, self.start.part("optimizer"))
        if plan.private:
            self.apart = each_gradient(self.network)
            return plan.private.optimizer(optimizer, self.device)
        return optimizer

    def release(self) -> None:
        """Leave the network as it was before."""
        if self.apart is not None:
            self.apart.cleanup()
