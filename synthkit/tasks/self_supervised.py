"""Pretraining without labels: two changed copies of an image shall look alike to the network, and other images shall not."""
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from torch import nn

from synthkit.core.budget import Budget, resolve
from synthkit.core.cohort import Cohort
from synthkit.core.imports import class_at
from synthkit.nets.augment import augment
from synthkit.nets.network import Batch, Trainable

if TYPE_CHECKING:
    from synthkit.tasks.classifier import Classifier
    from synthkit.tasks.predictor import Predictor

WIDTH, TEMPERATURE = 64, 0.2
STRONGER = {"shift": 0.1, "zoom": 0.15, "turn": 0.15, "contrast": 0.4, "noise": 0.05}  # than for labels: else the exposure alone tells images apart


class Views(Trainable):
    """The contrastive loss of SimCLR (Chen et al. 2020); its backbone gives `WIDTH` numbers per image."""

    def __init__(self, backbone: nn.Module):
        from monai.losses import ContrastiveLoss

        super().__init__()
        self.backbone, self.contrast = backbone, ContrastiveLoss(TEMPERATURE)

    def training_step(self, batch: Batch) -> torch.Tensor:
        first, second = (self.backbone(augment(batch, **STRONGER)).float() for _ in range(2))
        return self.contrast(first, second)


def pretrained_body(task: "Classifier", images: Cohort, *, budget: Budget, seed: int) -> "Predictor":
    """A predictor of the task whose body has learnt from images without labels, and whose head is new; `Classifier.fit(start=...)` goes on from it.

    All weights but those of the last layer, which has another width, come from the pretraining.
    """
    from synthkit.tasks.predictor import Predictor
    from synthkit.training.data import TrainingData
    from synthkit.training.plan import Plan
    from synthkit.training.trainer import train as run_plan

    schema = images.schema.only(task.targets)
    data = TrainingData(images, schema.encode(images.table)[:, :0], batch_size=task.batch_size, seed=seed)
    shape = {"channels": len(images.space.channels), "size": images.space.size}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = task.network(images, schema)
        views = Views(class_at(task.backbone, nn.Module)(**shape, outputs=WIDTH, **task.options))
    plan = Plan(resolve(budget, {}), seed=seed, batch_size=task.batch_size, learning_rate=task.learning_rate, average=0.99)
    outcome = run_plan(views, data, plan)
    own = network.backbone.state_dict()
    learnt = {name: tensor for name, tensor in views.backbone.state_dict().items() if tensor.shape == own[name].shape}
    network.backbone.load_state_dict({**own, **learnt})
    trained = {"recipe": asdict(task), "seed": seed, "steps": outcome.steps, "source": images.provenance.source, "labels": "none", "started from": None}
    return Predictor(network.backbone, schema, images.space, frozenset(images.table["patient_id"]), trained)
