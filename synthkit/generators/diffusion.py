"""Conditional diffusion by flow matching: one straight path from noise to image, factors as condition."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn

from synthkit.core.imports import class_at
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.flow import integrate, interpolate, stratified_times
from synthkit.generators.stages import Stage
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, EditableNetwork, Network, Trainable


@dataclass(frozen=True)
class Diffusion(Recipe):
    """Flow-matching diffusion model (Lipman et al. 2023) on pixels, 2D or 3D, editable by inversion.

    Args:
        steps: midpoint steps of sampling and of inversion (two network evaluations each).
        drop: share of training images that hide factors from the network, a random subset each; so any subset may be asked for.
        backbone: "module:Class" of the velocity network v(x, t, c), called with channels, size and condition_width.
        options: further keyword arguments of that class.
        batch_size, learning_rate: of the training.

    Example:
        gen = sk.Diffusion().fit(train, budget="lesson", seed=0)
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps",)
    steps: int = 12
    drop: float = 0.3
    backbone: str = "synthkit.nets.unet:UNet"
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 <= self.drop < 1:
            raise FitError(f"Diffusion(steps={self.steps}, drop={self.drop}): steps must be 1 or more and drop in 0..1")

    def network(self, schema: Schema, space: Space) -> "FlowNetwork":
        velocity = class_at(self.backbone, nn.Module)(channels=len(space.channels), size=space.size, condition_width=schema.width, **self.options)
        return FlowNetwork(velocity, shape=space.shape, hiding=Hiding(tuple(schema.blocks()), self.drop), steps=self.steps)

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        return (Stage("flow", network),)


class FlowNetwork(EditableNetwork, Trainable):
    """A velocity network with its loss and its ordinary differential equation in both directions."""

    def __init__(self, velocity: nn.Module, *, shape: tuple[int, ...], hiding: Hiding, steps: int):
        super().__init__()
        self.velocity, self.shape, self.hiding, self.steps = velocity, shape, hiding, steps
        self.evaluations = 2 * steps

    def training_step(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of the velocity at stratified times, factors hidden now and then."""
        noise = batch.normal_like()
        t = stratified_times(len(batch.x), batch.uniform(1))
        predicted = self.velocity(interpolate(noise, batch.x, t), t, self.hiding(batch))
        return (predicted.float() - (batch.x - noise)).square().mean()

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return integrate(lambda x, t: self.velocity(x, t, c), z, steps=self.steps)

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return integrate(lambda y, t: self.velocity(y, t, c), x, steps=self.steps, backwards=True)
