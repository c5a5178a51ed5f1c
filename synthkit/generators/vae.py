"""Conditional hierarchical VAE: latents at every resolution, one pass to sample, to encode and to edit."""
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.stages import Stage
from synthkit.nets.hiding import Hiding
from synthkit.nets.ladder import FINEST, Ground, Ladder
from synthkit.nets.network import Batch, EditableNetwork, KnowingNetwork, Network, Trainable


@dataclass(frozen=True)
class VAE(Recipe):
    """Top-down hierarchical VAE (Vahdat & Kautz 2020; Child 2021), 2D or 3D, editable as a deep causal mechanism (Ribeiro et al. 2023).

    What the latents leave over of an image is kept as the noise of its pixels, so that any image comes back exactly: a small
    round-trip error is a property of the family and says nothing about how well it learnt.

    Args:
        temperature: spread of the latents at sampling; below 1 keeps to what is usual, above 1 strays.
        grain: how much of the pixels' own noise a sample shows; it is found exactly when an image is encoded.
        kl_weight: bits of the latents count this much beside bits of the image; 1 is the evidence lower bound, less puts more into the latents.
        cut: share of training images whose ladder ends at a random rung, the others below at the prior's mean: so the coarse latents,
            and the factors alone, must explain all that they can, and the fine ones only add to it.
        drop: share of training images that hide factors from the network, a random subset each; so any subset may be asked for.
        options: further keyword arguments of the `Ladder` (widths, latents, rungs, patch, embedding).
        batch_size, learning_rate: of the training.

    Example:
        gen = sk.VAE().fit(train, budget="lesson", seed=0)
    """

    sampling: ClassVar[tuple[str, ...]] = ("temperature", "grain")
    temperature: float = 1.0
    grain: float = 1.0
    kl_weight: float = 1.0
    cut: float = 0.5
    drop: float = 0.3
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 16
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if not (0 < self.temperature < math.inf and 0 < self.grain < math.inf and 0 < self.kl_weight < math.inf and 0 <= self.cut < 1 and 0 <= self.drop < 1):
            given = f"temperature={self.temperature}, grain={self.grain}, kl_weight={self.kl_weight}, cut={self.cut}, drop={self.drop}"
            raise FitError(f"VAE({given}): temperature, grain and kl_weight must be above 0, cut and drop 0 or more and under 1")

    def network(self, schema: Schema, space: Space) -> "LadderNetwork":
        ladder = Ladder(channels=len(space.channels), size=space.size, condition_width=schema.width, **self.options)
        hiding = Hiding(tuple(schema.blocks()), self.drop)
        settings = {"temperature": self.temperature, "grain": self.grain, "kl_weight": self.kl_weight, "cut": self.cut}
        return LadderNetwork(ladder, shape=space.shape, hiding=hiding, **settings)

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        return (Stage("ladder", network),)


class LadderNetwork(EditableNetwork, KnowingNetwork, Trainable):
    """A ladder with its loss; z is the standard normal noise of all its rungs, coarsest first, and then that of the pixels."""

    def __init__(self, ladder: Ladder, *, shape: tuple[int, ...], hiding: Hiding, temperature: float, grain: float, kl_weight: float, cut: float):
        super().__init__()
        self.ladder, self.shape, self.hiding = ladder, shape, hiding
        self.temperature, self.grain, self.kl_weight, self.cut = temperature, grain, kl_weight, cut
        self.split = (sum(math.prod(rung) for rung in ladder.shapes), math.prod(shape))

    def training_step(self, batch: Batch) -> torch.Tensor:
        """Negative evidence lower bound in bits per pixel and channel, factors hidden and ladders cut now and then."""
        rungs, count = len(self.ladder.shapes), int(self.cut * len(batch.x)) if self.training else 0
        depth = torch.full((len(batch.x),), rungs, device=batch.x.device)
        depth[:count] = (batch.uniform(count) * rungs).long()
        ground, nats = self.ladder(batch.x, self.hiding(batch), batch.normal, depth)
        return self.kl_weight * nats.mean() / self.split[1] / math.log(2) + self._image_bits(batch.x, ground, count)

    def _image_bits(self, x: torch.Tensor, ground: Ground, count: int) -> torch.Tensor:
        """Bits of the images, the first `count` of which come from cut ladders."""
        cut, whole, share = slice(0, count), slice(count, None), count / len(x)
        alike = bits(x[whole], ground.mean[whole], best_scale(x[whole], ground.mean[whole])).mean()
        # The means learn with one scale per channel, since with a scale per pixel they give up where it is hard (Seitzer et al. 2022);
        # the scales learn from what is left. The value is the bound with the scale of each pixel.
        apart = bits(x[whole], ground.mean[whole].detach(), ground.scale[whole]).mean()
        loss = (1 - share) * (alike - alike.detach() + apart)
        # What a cut ladder can know differs from image to image, so each has its own best scale.
        return loss + share * bits(x[cut], ground.mean[cut], best_scale(x[cut], ground.mean[cut], each=True)).mean() if count else loss

    def misfit(self, x: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Negative evidence lower bound in bits per pixel and channel; there is no time in it."""
        rungs = iter(noise[:, : self.split[0]].split([math.prod(shape) for shape in self.ladder.shapes], 1))
        depth = torch.full((len(x),), len(self.ladder.shapes), device=x.device)
        ground, nats = self.ladder(x, c, lambda *shape: next(rungs).reshape(shape), depth)
        return nats / self.split[1] / math.log(2) + bits(x, ground.mean, ground.scale)

    def latent_shape(self) -> tuple[int, ...]:
        return (sum(self.split),)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        rungs, pixels = z.split(self.split, 1)
        ground = self.ladder.decode(self.temperature * rungs, c)
        return ground.mean + self.grain * ground.scale * pixels.reshape(-1, *self.shape)

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        rungs, ground = self.ladder.encode(x, c)
        pixels = (x - ground.mean) / (self.grain * ground.scale)
        return torch.cat([rungs / self.temperature, pixels.flatten(1)], 1)


def best_scale(x: torch.Tensor, mean: torch.Tensor, *, each: bool = False) -> torch.Tensor:
    """The scale that describes images best, one per channel for the batch or for `each` image (the optimal sigma of Rybkin et al. 2021)."""
    error = (x - mean).square().mean(tuple(range(2, x.ndim)), keepdim=True)
    return ((error if each else error.mean(0, keepdim=True)) + FINEST**2).sqrt()


def bits(x: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(N,) bits per pixel and channel that describe x in [-1, 1] to one of 255 grey levels, by Gaussians of this mean and scale.

    The images count with the rounding noise of such a level added, so this is never below ½ log2(2πe/12) = 0.25.
    """
    level = FINEST * math.sqrt(12)
    error = (x - mean).square() + FINEST**2
    return (0.5 * (2 * math.pi * (scale / level).square()).log2() + error / (2 * math.log(2) * scale.square())).flatten(1).mean(1)
