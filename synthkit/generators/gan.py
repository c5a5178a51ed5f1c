"""Conditional generative adversarial network: one evaluation per image, no encoder."""
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar

import torch
from torch.nn import functional as F

from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.stages import Stage
from synthkit.nets.adversary import Discriminator, Synthesis
from synthkit.nets.diff_augment import diff_augment
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, Network, Trainable


@dataclass(frozen=True)
class GAN(Recipe):
    """Conditional GAN after R3GAN (Huang et al. 2024), 2D or 3D: fast to sample, but it has no encoder, so it cannot edit.

    Args:
        latent: length of z.
        widths: channels per level, coarsest first; None picks by size.
        gamma: weight of the zero-centred gradient penalties on real and drawn images; too low, and kinds of images go missing.
        drop: share of training images that hide factors from both networks, a random subset each; so any subset may be asked for.
        augment: chance of each change that the discriminator's images go through; 0 for none.
        batch_size, learning_rate: of the training.

    The loss curve adds both players' losses and the penalties: 2 ln 2 = 1.39 where the players are even, more the farther one is ahead.
    A curve that stays far above tells of a collapse: of two kinds of toy images (16 x 16, 100 steps) gamma 10 and 100 drew both and
    ended at 1.4 to 1.5, gamma 0.1, 1 and 3 drew one kind and ended at 2.4 to 4.1.

    Short trainings are not enough: after 800 steps of 32 phantom films of 64 x 64 (gamma 10, widths 128, 96, 64, 32) the
    240 films drawn were blurred, KID 0.105 (0.087 to 0.122), and of all factors they followed only sex. The one that ships,
    "chest-phantom-64-gan", had 5,703 steps at gamma 2: KID 0.008 (0.004 to 0.011) and recall 0.68 of 0.95 with n = 512; its card tells the rest.

    Example:
        gen = sk.GAN().fit(train, budget="lesson", seed=0)
    """

    budgets: ClassVar[Mapping[str, int]] = {"smoke": 20, "lesson": 2_000, "full": 100_000}
    latent: int = 128
    widths: tuple[int, ...] | None = None
    gamma: float = 10.0
    drop: float = 0.3
    augment: float = 0.2
    batch_size: int = 32
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        if isinstance(self.latent, bool) or not isinstance(self.latent, int) or self.latent < 1 or not 0 <= self.gamma < inf:
            raise FitError(f"GAN(latent={self.latent}, gamma={self.gamma}): latent must be a whole number, 1 or more, and gamma 0 or more")
        if not 0 <= self.drop < 1 or not 0 <= self.augment < 0.8:
            raise FitError(f"GAN(drop={self.drop}, augment={self.augment}): drop must be 0 or more and under 1, and augment under 0.8, "
                           "or the changes leak into the images")  # fmt: skip
        if self.widths is not None and (not self.widths or min(self.widths) < 1):
            raise FitError(f"GAN(widths={self.widths}): give channels per level, coarsest first, for instance (128, 64, 32), or leave it out")

    def network(self, schema: Schema, space: Space) -> Synthesis:
        return Synthesis(channels=len(space.channels), size=space.size, condition_width=schema.width, latent=self.latent, widths=self.widths)

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        judge = Discriminator(channels=len(space.channels), size=space.size, condition_width=schema.width, widths=self.widths)
        hiding = Hiding(tuple(schema.blocks()), self.drop)
        return (Stage("adversaries", Adversaries(network, judge, hiding=hiding, gamma=self.gamma, augment=self.augment)),)


class Adversaries(Trainable):
    """Both players and their common step: relativistic pairing with R1 and R2 (Huang et al. 2024)."""

    betas = (0.0, 0.99)

    def __init__(self, network: Network, discriminator: Discriminator, *, hiding: Hiding, gamma: float, augment: float):
        super().__init__()
        self.network, self.discriminator = network, discriminator
        self.hiding, self.gamma, self.augment = hiding, gamma, augment

    def players(self) -> tuple[torch.nn.Module, ...]:
        return self.network, self.discriminator

    def training_step(self, batch: Batch) -> torch.Tensor:
        """Both losses on one set of drawn images, each moving only its own player."""
        c = self.hiding(batch)
        drawn = self.network.decode(batch.normal(len(c), *self.network.latent_shape()), c).float()
        shown = diff_augment(drawn, batch, chance=self.augment)
        images = torch.cat([diff_augment(batch.x, batch, chance=self.augment), shown]).detach().requires_grad_()
        scores = self.discriminator(images, torch.cat([c, c])).float()
        slope = torch.autograd.grad(scores.sum(), images, create_graph=True)[0].float()
        lead = torch.sub(*scores.chunk(2))
        penalty = slope.square().flatten(1).sum(1).mean()  # R1 and R2 are its two halves
        return F.softplus(-lead).mean() + self.gamma * penalty + generator_loss(lead.detach(), shown, slope[len(c) :].detach())


def generator_loss(lead: torch.Tensor, drawn: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Mean softplus(real score - drawn score), with the gradient it has through the drawn images.

    The penalty needs the slope of each score by its image anyway; with it the chain rule spares a second pass through the discriminator.

    Args:
        lead: (N,) real score minus drawn score.
        drawn: the drawn images as the discriminator saw them, with their graph.
        slope: of each drawn image's score by its pixels.
    """
    along = -(torch.sigmoid(lead) * (drawn * slope).flatten(1).sum(1)).mean()
    return F.softplus(lead).mean() + along - along.detach()
