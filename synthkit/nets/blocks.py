"""Building blocks of convolutional networks, in two or three dimensions by one argument."""
import math

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

CONV = {2: nn.Conv2d, 3: nn.Conv3d}


def groups_of(width: int) -> int:
    """Largest number of groups up to 8 that divides a channel count."""
    return next(count for count in range(min(8, width), 0, -1) if width % count == 0)


class TimeEmbedding(nn.Module):
    """Sinusoidal features of the flow time t in [0, 1]: (N,) to (N, width) (Vaswani et al. 2017)."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("rates", 1000 * torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2)), persistent=False)

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        angles = t.float()[:, None] * self.rates
        return torch.cat([angles.sin(), angles.cos()], 1)


class ConditionEmbedding(nn.Module):
    """A condition code (N, inner) with waves of its entries, to (N, width); a plain linear map of one number resolves no place or size.

    The entries lie in [-1, 1]; the waves are Fourier features of them (Tancik et al. 2020).
    """

    def __init__(self, inner: int, width: int, octaves: int = 2):
        super().__init__()
        self.octaves = octaves
        self.mix = nn.Sequential(nn.Linear(max(1, inner) * (1 + 2 * octaves), width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, c: torch.Tensor) -> torch.Tensor:
        c = c if c.shape[1] else c.new_zeros(len(c), 1)
        angles = [math.pi / 2 * 2**octave * c for octave in range(self.octaves)]
        return self.mix(torch.cat([c, *(wave(angle) for angle in angles for wave in (torch.sin, torch.cos))], 1))


class Block(nn.Module):
    """Residual block whose second normalisation is scaled and shifted by an embedding (FiLM, Perez et al. 2018)."""

    def __init__(self, inner: int, width: int, embedding: int, dims: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(groups_of(inner), inner)
        self.conv1 = CONV[dims](inner, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups_of(width), width)
        self.modulate = nn.Linear(embedding, 2 * width)
        self.conv2 = CONV[dims](width, width, 3, padding=1)
        self.skip = CONV[dims](inner, width, 1) if inner != width else nn.Identity()
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(embedding).reshape(len(x), -1, *(1,) * (x.ndim - 2)).chunk(2, 1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.skip(x) + self.conv2(h)


class Attention(nn.Module):
    """Self-attention over all positions, for the coarsest level only."""

    def __init__(self, width: int, dims: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups_of(width), width)
        self.qkv = CONV[dims](width, 3 * width, 1)
        self.out = CONV[dims](width, width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = rearrange(self.qkv(self.norm(x)).flatten(2), "n (three heads c) p -> three n heads p c", three=3, heads=self.heads)
        mixed = rearrange(F.scaled_dot_product_attention(q, k, v), "n heads p c -> n (heads c) p")
        return x + self.out(mixed.reshape(x.shape))


def unshuffle(x: torch.Tensor, patch: int) -> torch.Tensor:
    """Move patch × patch (× patch) pixels into channels; works in 2D and 3D."""
    if patch == 1:
        return x
    if x.ndim == 4:
        return F.pixel_unshuffle(x, patch)
    return rearrange(x, "n c (d p) (h q) (w r) -> n (c p q r) d h w", p=patch, q=patch, r=patch)


def shuffle(x: torch.Tensor, patch: int) -> torch.Tensor:
    """The inverse of `unshuffle`."""
    if patch == 1:
        return x
    if x.ndim == 4:
        return F.pixel_shuffle(x, patch)
    return rearrange(x, "n (c p q r) d h w -> n c (d p) (h q) (w r)", p=patch, q=patch, r=patch)


def padded(x: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """Images brought to a size at least as large, their last rows repeated."""
    room = [wanted - n for n, wanted in zip(x.shape[2:], size)]
    return F.pad(x, [side for extra in reversed(room) for side in (0, extra)], mode="replicate") if any(room) else x


def multiple_of(multiple: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """The next size whose sides are multiples of a number."""
    return tuple(n + (-n) % multiple for n in size)


def cropped(x: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """What `padded` added, cut off."""
    return x[(..., *(slice(0, n) for n in size))]


def coordinates(size: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """(1, dims, *size) positions in [-1, 1], so that a network can place things where a factor says."""
    axes = [torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in size]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
