"""What every trainable network offers to the trainer, and every network to the generators."""
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Batch:
    """One training batch: images x (N, C, [D,] H, W) in [-1, 1], condition code c (N, width), and its random stream."""

    x: torch.Tensor
    c: torch.Tensor
    generator: torch.Generator

    def uniform(self, *shape: int) -> torch.Tensor:
        """Uniform numbers in [0, 1) on the batch's device."""
        return torch.rand(shape, generator=self.generator, device=self.x.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers on the batch's device."""
        return torch.randn(shape, generator=self.generator, device=self.x.device)

    def normal_like(self) -> torch.Tensor:
        """Standard normal numbers shaped like x."""
        return self.normal(*self.x.shape)


class Trainable(nn.Module, ABC):
    """A module with a loss: all that `training.train` needs.

    Attributes:
        betas: decay of AdamW's two moments.
    """

    betas: tuple[float, float] = (0.9, 0.99)

    @abstractmethod
    def training_step(self, batch: Batch) -> torch.Tensor:
        """The loss of one batch, a scalar."""

    def players(self) -> Sequence[nn.Module]:
        """The parts whose gradients are clipped each by itself: the whole, unless parts play against each other."""
        return (self,)


class Network(nn.Module, ABC):
    """A generator's network. Its one map is decode: latent z and condition c to image x.

    Attributes:
        evaluations: how often decode runs the network per image.
    """

    evaluations: int = 1

    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one z."""

    @abstractmethod
    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """z (N, *latent_shape), c (N, width) to images x (N, C, [D,] H, W), about [-1, 1]."""


class KnowingNetwork(Network):
    """A network that says how well it knows a given image; what it was trained on, it knows better.

    Attributes:
        looks: times 0..1 at which it is worth asking.
    """

    looks: tuple[float, ...] = (0.0,)

    @abstractmethod
    def misfit(self, x: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(N,) its training loss of each image x under condition c, for given noise (N, *latent_shape) and time t (N,); lower is better known."""


class EditableNetwork(Network):
    """A network that also finds the latent of a given image."""

    @abstractmethod
    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """Images x and their condition c to z with decode(z, c) close to x."""


class LockableNetwork(EditableNetwork):
    """A network that can change one region and hold all the rest."""

    @abstractmethod
    def edit_inside(self, x: torch.Tensor, c: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Images x of condition c under the condition `wanted`, changed where mask (N, 1, [D,] H, W) is true and nowhere else."""
