"""A ladder of latents: a deterministic way up from the image, and a way down that draws at every resolution."""
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from synthkit.errors import FitError
from synthkit.nets.blocks import CONV, Attention, Block, ConditionEmbedding, coordinates, cropped, multiple_of, padded, shuffle, unshuffle
from synthkit.nets.rung import Rung
from synthkit.nets.unet import default_patch

FINEST = 2 / 255 / math.sqrt(12)  # the rounding of one grey level of 8 bits: no image in [-1, 1] is known better
Chooser = Callable[[Rung, torch.Tensor, int], torch.Tensor]


@dataclass(frozen=True)
class Ground:
    """What stands at the foot of the ladder: a Gaussian per pixel, mean and scale (N, C, [D,] H, W)."""

    mean: torch.Tensor
    scale: torch.Tensor


class Ladder(nn.Module):
    """Encoder and decoder of a top-down hierarchical VAE (Sønderby et al. 2016; Vahdat & Kautz 2020; Child 2021).

    Args:
        channels: of the image.
        size: (H, W) or (D, H, W); any size, padded inside to what the levels need.
        condition_width: length of the condition code c.
        widths: channels per level, finest first; None picks by size.
        latents: latent channels per level, finest first; None gives the finest one per folded pixel (16 at most), the others an eighth of their width.
        rungs: stochastic layers per level, finest first; None gives two to the coarsest level and one to the others.
        patch: pixels folded into channels per side; None picks by size: 2 up to 40 pixels, 4 up to 128, 8 up to 256, 16 beyond.
        embedding: width of the condition embedding.
    """

    def __init__(
        self, *, channels: int, size: tuple[int, ...], condition_width: int, widths: Sequence[int] | None = None,
        latents: Sequence[int] | None = None, rungs: Sequence[int] | None = None, patch: int | None = None, embedding: int = 256,
    ):  # fmt: skip
        super().__init__()
        dims, self.size = len(size), tuple(size)
        self.patch = patch or 2 * default_patch(size)
        widths = tuple(widths or default_widths(size, self.patch))
        folded = channels * self.patch**dims
        latents = tuple(latents or (min(folded, 16), *(max(1, width // 8) for width in widths[1:])))
        rungs = tuple(rungs or (*(1,) * (len(widths) - 1), 2))
        _require_levels(widths, latents, rungs)
        self.multiple = self.patch * 2 ** (len(widths) - 1)
        finest = [math.ceil(n / self.multiple) * self.multiple // self.patch for n in size]
        self.sizes = [tuple(n // 2**level for n in finest) for level in range(len(widths))]
        self.shapes = [(latents[level], *self.sizes[level]) for level in reversed(range(len(widths))) for _ in range(rungs[level])]
        self.condition = ConditionEmbedding(condition_width, embedding)
        self.stem = CONV[dims](folded, widths[0], 3, padding=1)
        self.up = nn.ModuleList(Block(width, width, embedding, dims) for width in widths)
        self.shrink = nn.ModuleList(CONV[dims](a, b, 3, stride=2, padding=1) for a, b in zip(widths, widths[1:]))
        self.place = nn.ModuleList(Place(side, width) for side, width in zip(self.sizes, widths))
        self.grow = nn.ModuleList(CONV[dims](b, a, 1) for a, b in zip(widths, widths[1:]))
        self.down = nn.ModuleList(Block(width, width, embedding, dims) for width in widths)
        self.attention = Attention(widths[-1], dims)
        self.rungs = nn.ModuleList(nn.ModuleList(Rung(width, latent, embedding, dims) for _ in range(n)) for width, latent, n in zip(widths, latents, rungs))
        self.mean = nn.Sequential(nn.SiLU(), CONV[dims](widths[0], folded, 3, padding=1))
        self.scale = Scale(widths[0], self.sizes[0], folded)

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> tuple[torch.Tensor, Ground]:
        """The posterior's mean of every rung, each given the means above it, as noise (N, total), and the reconstruction from it."""
        embedding, chosen = self._embed(c), []
        features = self._features(x, embedding)

        def mean(rung: Rung, h: torch.Tensor, level: int) -> torch.Tensor:
            chosen.append(rung.posterior(h, features[level]).mean)
            return chosen[-1]

        ground = self._descend(len(x), embedding, mean)
        return torch.cat([noise.flatten(1) for noise in chosen], 1), ground

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> Ground:
        """Noise (N, total), coarsest rung first, to the pixels' means and scales."""
        parts = iter(z.split([math.prod(shape) for shape in self.shapes], 1))
        shapes = iter(self.shapes)
        return self._descend(len(z), self._embed(c), lambda rung, h, level: next(parts).reshape(-1, *next(shapes)))

    def forward(self, x: torch.Tensor, c: torch.Tensor, draw: Callable[..., torch.Tensor], depth: torch.Tensor) -> tuple[Ground, torch.Tensor]:
        """Reconstructions from latents drawn out of the posterior with `draw(*shape)`, and the nats (N,) that they cost.

        Args:
            depth: (N,) how many rungs each image may use, coarsest first; those below stay at the prior's mean and cost nothing.
        """
        embedding, costs = self._embed(c), []
        features = self._features(x, embedding)

        def sample(rung: Rung, h: torch.Tensor, level: int) -> torch.Tensor:
            posterior, used = rung.posterior(h, features[level]), (depth > len(costs)).float()
            costs.append(posterior.divergence() * used)
            return posterior.sample(draw) * used.reshape(-1, *(1,) * (h.ndim - 1))

        return self._descend(len(x), embedding, sample), torch.stack(costs).sum(0)

    def _embed(self, c: torch.Tensor) -> torch.Tensor:
        return F.silu(self.condition(c))

    def _features(self, x: torch.Tensor, embedding: torch.Tensor) -> list[torch.Tensor]:
        """The way up: features of the image per level, finest first."""
        h, kept = self.stem(unshuffle(padded(x, multiple_of(self.multiple, self.size)), self.patch)), []
        for level, block in enumerate(self.up):
            h = block(h, embedding)
            kept.append(h)
            h = self.shrink[level](h) if level < len(self.shrink) else h
        return kept

    def _descend(self, count: int, embedding: torch.Tensor, choose: Chooser) -> Ground:
        """The way down; `choose(rung, h, level)` says which noise each rung takes."""
        h = None
        for level in reversed(range(len(self.down))):
            place = self.place[level]().expand(count, *[-1] * (len(self.size) + 1))
            h = place if h is None else place + F.interpolate(self.grow[level](h), scale_factor=2.0, mode="nearest")
            h = self.down[level](h, embedding)
            h = self.attention(h) if level == len(self.down) - 1 else h
            for rung in self.rungs[level]:
                h = rung(h, embedding, choose(rung, h, level))
        # The scale learns from what the mean leaves over, and may not bend the features to its own ends.
        return Ground(*(cropped(shuffle(head.float(), self.patch), self.size) for head in (self.mean(h), self.scale(h.detach()))))


class Scale(nn.Module):
    """Features (N, width, *size) to a positive scale per folded pixel, with features of the place of its own."""

    def __init__(self, width: int, size: tuple[int, ...], folded: int):
        super().__init__()
        conv = CONV[len(size)]
        self.place = Place(size, width)
        self.mix = nn.Sequential(conv(width, width, 3, padding=1), nn.SiLU(), conv(width, folded, 1))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return FINEST + F.softplus(self.mix(F.silu(h + self.place())).float() - 1)


class Place(nn.Module):
    """Features (1, width, *size) of the position alone: a linear map of waves along every axis."""

    def __init__(self, size: tuple[int, ...], width: int, octaves: int = 3):
        super().__init__()
        at = coordinates(size, torch.empty(0))
        angles = [math.pi / 2 * 2**octave * at for octave in range(octaves)]
        self.register_buffer("waves", torch.cat([at, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))], 1), persistent=False)
        self.mix = CONV[len(size)](self.waves.shape[1], width, 1)

    def forward(self) -> torch.Tensor:
        return self.mix(self.waves)


def default_widths(size: tuple[int, ...], patch: int) -> tuple[int, ...]:
    """Channels per level, one more level when the folded image is larger than 20."""
    return (64, 96, 128) if max(size) / patch <= 20 else (48, 64, 96, 128)


def _require_levels(widths: tuple[int, ...], latents: tuple[int, ...], rungs: tuple[int, ...]) -> None:
    if not len(widths) == len(latents) == len(rungs) or min((*widths, *latents, *rungs)) < 1:
        raise FitError(f"widths={widths}, latents={latents} and rungs={rungs} must name one number of 1 or more for each level")
