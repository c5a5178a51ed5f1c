"""The two players of a generative adversarial network: one draws images from latents, one tells drawn from real.

Residual blocks without normalisation, bilinear resampling and no style modulation, as in R3GAN (Huang et al. 2024).
"""
import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from synthkit.nets.blocks import CONV, ConditionEmbedding, cropped, multiple_of, padded, shuffle, unshuffle
from synthkit.nets.network import Network
from synthkit.nets.unet import default_patch

COARSEST = 5  # no side of the coarsest grid is longer
FINEST_WIDTH, WIDEST = 32, 256
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky ReLU (He et al. 2015)


def default_widths(size: tuple[int, ...]) -> tuple[int, ...]:
    """Channels per level, coarsest first: twice as many with each halving, so that every level costs about the same."""
    halvings = max(0, math.ceil(math.log2(max(size) / default_patch(size) / COARSEST)))
    return tuple(min(WIDEST, FINEST_WIDTH * 2**level) for level in reversed(range(halvings + 1)))


class Residual(nn.Module):
    """Two convolutions beside the identity, with fix-up start (Zhang et al. 2019): the second at zero, the first scaled by the depth."""

    def __init__(self, width: int, dims: int, *, depth: int):
        super().__init__()
        self.conv1, self.conv2 = (CONV[dims](width, width, 3, padding=1) for _ in range(2))
        _start(self.conv1, gain=GAIN * depth**-0.5)
        _start(self.conv2, gain=0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(_rectify(self.conv1(_rectify(x))))


class Synthesis(Network):
    """Latent vectors (N, latent) and condition codes to images: R3GAN's generator, one residual block per level.

    Args:
        channels: image channels.
        size: (H, W) or (D, H, W); any size, cut out of the next one that the levels can make.
        condition_width: length of the condition code c.
        latent: length of z.
        widths: channels per level, coarsest first; None picks by size.
        embedding: width of the condition embedding.
    """

    def __init__(self, *, channels: int, size: tuple[int, ...], condition_width: int, latent: int, widths: Sequence[int] | None = None, embedding: int = 128):
        super().__init__()
        widths, dims = tuple(widths or default_widths(size)), len(size)
        self.size, self.latent, self.patch = tuple(size), latent, default_patch(size)
        self.grid, self.mode = _grid(size, len(widths)), "bilinear" if dims == 2 else "trilinear"
        self.condition = ConditionEmbedding(condition_width, embedding)
        self.root = _start(nn.Linear(latent + embedding, widths[0] * math.prod(self.grid)))
        self.blocks = nn.ModuleList(Residual(width, dims, depth=len(widths)) for width in widths)
        self.changes = nn.ModuleList(_start(CONV[dims](a, b, 1)) for a, b in pairwise(widths))
        self.out = _level(_start(CONV[dims](widths[-1], channels * self.patch**dims, 3, padding=1)), self.patch**dims)

    def latent_shape(self) -> tuple[int, ...]:
        return (self.latent,)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        h = self.root(torch.cat([z, self.condition(c)], 1)).reshape(len(z), -1, *self.grid)
        h = self.blocks[0](h)
        for change, block in zip(self.changes, self.blocks[1:]):
            h = block(F.interpolate(change(h), scale_factor=2.0, mode=self.mode))
        return cropped(shuffle(self.out(_rectify(h)), self.patch), self.size)


class Discriminator(nn.Module):
    """How real an image looks under its condition: a score (N,) without scale (projection discriminator, Miyato & Koyama 2018).

    Args:
        channels, size, condition_width, widths, embedding: as of `Synthesis`, which it mirrors.
    """

    def __init__(self, *, channels: int, size: tuple[int, ...], condition_width: int, widths: Sequence[int] | None = None, embedding: int = 128):
        super().__init__()
        widths, dims = tuple(widths or default_widths(size))[::-1], len(size)
        self.patch = default_patch(size)
        self.multiple = self.patch * 2 ** (len(widths) - 1)
        self.halve = F.avg_pool2d if dims == 2 else F.avg_pool3d
        self.stem = _start(CONV[dims](channels * self.patch**dims, widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(Residual(width, dims, depth=len(widths)) for width in widths)
        self.changes = nn.ModuleList(_start(CONV[dims](a, b, 1)) for a, b in pairwise(widths))
        self.summary = _start(nn.Linear(widths[-1] * math.prod(_grid(size, len(widths))), embedding))
        # No bias: only differences of scores count.
        self.score = _start(nn.Linear(embedding, 1, bias=False))
        self.condition = ConditionEmbedding(condition_width, embedding)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        x = padded(x, multiple_of(self.multiple, tuple(x.shape[2:])))
        h = self.blocks[0](self.stem(unshuffle(x, self.patch)))
        for change, block in zip(self.changes, self.blocks[1:]):
            h = block(change(self.halve(h, 2)))
        seen = _rectify(self.summary(_rectify(h).flatten(1)))
        # The score is a sum of what any image and what an image of this condition should show.
        return self.score(seen)[:, 0] + (seen * self.condition(c)).sum(1) * seen.shape[1] ** -0.5


def _grid(size: tuple[int, ...], levels: int) -> tuple[int, ...]:
    """Sides of the coarsest level, rounded up."""
    return tuple(math.ceil(n / (default_patch(size) * 2 ** (levels - 1))) for n in size)


def _rectify(x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, SLOPE)


def _start(layer: nn.Module, *, gain: float = 1.0) -> nn.Module:
    """The layer with weights of variance gain² / inputs and a bias of zero."""
    nn.init.normal_(layer.weight, std=gain * layer.weight[0].numel() ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _level(layer: nn.Module, pixels: int) -> nn.Module:
    """The layer with equal weights for all pixels of a patch, which would start as a checkerboard otherwise (ICNR, Aitken et al. 2017)."""
    with torch.no_grad():
        layer.weight.copy_(layer.weight[::pixels].repeat_interleave(pixels, 0))
    return layer
