"""What a training run is told, and what it answers."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from synthkit.core.budget import Minutes, Steps
from synthkit.training.private import Private
from synthkit.training.stopping import Watch


@dataclass(frozen=True)
class Plan:
    """The settings of one run.

    Args:
        budget: steps or minutes.
        seed: of every random choice in the run.
        batch_size: images per step over all devices.
        learning_rate: peak; it warms up, then falls to zero as the budget ends (half a cosine).
        weight_decay: of AdamW.
        average: decay of the moving average of the weights, which is what is kept.
        run: folder for checkpoints; a run found there goes on where it stopped.
        identity: what the run is (recipe, data); a folder of another run is refused.
        devices: processes, one per GPU, or CPU processes where there is no GPU.
        device: "auto", "cpu" or "cuda".
        checkpoint_seconds: between checkpoints.
        title: of the progress bar; empty for no bar.
        watch: early stopping; not together with `run`, since its best weights are held in memory.
        private: gradients are clipped patient by patient and noise is added.
        stop: step at which to pause; the learning rate still follows the whole budget.
    """

    budget: Steps | Minutes
    seed: int = 0
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    average: float = 0.999
    run: Path | None = None
    identity: dict[str, Any] = field(default_factory=dict)
    devices: int = 1
    device: str = "auto"
    checkpoint_seconds: float = 60.0
    title: str = ""
    watch: Watch | None = None
    private: Private | None = None
    stop: int | None = None


@dataclass(frozen=True)
class Outcome:
    """A finished run: averaged weights, steps and images seen, seconds, and the loss curve (step, mean loss)."""

    weights: dict[str, torch.Tensor]
    steps: int
    images_seen: int
    seconds: float
    losses: list[tuple[int, float]]
    precision: str
