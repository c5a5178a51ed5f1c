"""A plain, fast U-Net for flow matching: pixels are folded into channels first, attention stands at the bottom only."""
import torch
from torch import nn
from torch.nn import functional as F

from synthkit.nets.blocks import CONV, Attention, Block, ConditionEmbedding, TimeEmbedding, coordinates, cropped, multiple_of, padded, shuffle, unshuffle


def default_patch(size: tuple[int, ...]) -> int:
    """Pixels folded per side: 1 up to 40 pixels, 2 up to 128, 4 up to 256, 8 beyond."""
    side = max(size)
    return 1 if side <= 40 else 2 if side <= 128 else 4 if side <= 256 else 8


def default_widths(size: tuple[int, ...]) -> tuple[int, ...]:
    """Channels per level, one more level when the folded image is larger than 40."""
    widths = (32, 64, 96, 128)
    return widths if max(size) / default_patch(size) <= 40 else (32, *widths)


def linear_gain(t: torch.Tensor, sigma: float = 0.2) -> torch.Tensor:
    """(N,) the factor that predicts a velocity best from x_t alone, were pixels independent with this standard deviation around what is known of them."""
    return (t * sigma**2 - (1 - t)) / (t.square() * sigma**2 + (1 - t).square())


class UNet(nn.Module):
    """Velocity network v(x, t, c) with adaptive normalisation (Ronneberger et al. 2015; Lipman et al. 2023).

    Args:
        channels: image channels in and out.
        size: (H, W) or (D, H, W); any size, padded inside to what the levels need.
        condition_width: length of the condition code c.
        widths: channels per level, finest first; None picks by size.
        patch: pixels folded into channels per side; None picks by size.
        embedding: width of the time and condition embedding.
        straight: whether the folded image also goes straight to the output, scaled by time (as c_skip of Karras et al. 2022). A velocity holds
            the noise of every voxel, and folded volumes have as many channels as the finest level is wide: the noise would not fit through.
            None does so in 3D.
    """

    def __init__(
        self, *, channels: int, size: tuple[int, ...], condition_width: int,
        widths: tuple[int, ...] | None = None, patch: int | None = None, embedding: int = 256, straight: bool | None = None,
    ):  # fmt: skip
        super().__init__()
        dims = len(size)
        widths = tuple(widths or default_widths(size))
        self.patch = patch or default_patch(size)
        self.multiple = self.patch * 2 ** (len(widths) - 1)
        folded = channels * self.patch**dims
        self.time = nn.Sequential(TimeEmbedding(64), nn.Linear(64, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.condition = ConditionEmbedding(condition_width, embedding)
        self.stem = CONV[dims](folded + dims, widths[0], 3, padding=1)
        below = (widths[0], *widths[:-1])
        self.down = nn.ModuleList(Block(a, b, embedding, dims) for a, b in zip(below, widths))
        self.shrink = nn.ModuleList(CONV[dims](w, w, 3, stride=2, padding=1) for w in widths[:-1])
        self.middle = nn.ModuleList([Block(widths[-1], widths[-1], embedding, dims), Block(widths[-1], widths[-1], embedding, dims)])
        self.attention = Attention(widths[-1], dims)
        above = (*widths[1:], widths[-1])
        self.up = nn.ModuleList(Block(a + b, b, embedding, dims) for a, b in zip(above, widths))
        self.out = nn.Sequential(nn.GroupNorm(8, widths[0]), nn.SiLU(), CONV[dims](widths[0], folded, 3, padding=1))
        nn.init.zeros_(self.out[-1].weight)
        nn.init.zeros_(self.out[-1].bias)
        self.straight = nn.Linear(embedding, folded) if (dims == 3 if straight is None else straight) else None
        if self.straight is not None:
            nn.init.zeros_(self.straight.weight)
            nn.init.zeros_(self.straight.bias)

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        """x (N, C, [D,] H, W), t (N,) in [0, 1], c (N, width) to a velocity shaped like x."""
        size = x.shape[2:]
        folded = unshuffle(padded(x, multiple_of(self.multiple, size)), self.patch)
        place = coordinates(tuple(folded.shape[2:]), folded).expand(len(x), *[-1] * (folded.ndim - 1))
        embedding = F.silu(self.time(t) + self.condition(c))
        h, kept = self.stem(torch.cat([folded, place], 1)), []
        for level, block in enumerate(self.down):
            h = block(h, embedding)
            kept.append(h)
            h = self.shrink[level](h) if level < len(self.shrink) else h
        h = self.middle[1](self.attention(self.middle[0](h, embedding)), embedding)
        for level in reversed(range(len(self.up))):
            h = self.up[level](torch.cat([h, kept[level]], 1), embedding)
            h = F.interpolate(h, scale_factor=2.0, mode="nearest") if level else h
        h = self.out(h)
        if self.straight is not None:
            gain = linear_gain(t)[:, None] + self.straight(embedding)
            h = h + gain.reshape(*gain.shape, *(1,) * (x.ndim - 2)) * folded
        return cropped(shuffle(h, self.patch), size)
