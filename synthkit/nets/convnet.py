"""A small residual convolutional network for classification, regression and features, 2D or 3D."""
import torch
from torch import nn
from torch.nn import functional as F

from synthkit.nets.blocks import CONV, groups_of, unshuffle


class Residual(nn.Module):
    """Two normalised convolutions beside a shortcut, halving the image (He et al. 2016; group norm, Wu & He 2018)."""

    def __init__(self, inner: int, width: int, dims: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(groups_of(inner), inner), nn.GroupNorm(groups_of(width), width)
        self.conv1 = CONV[dims](inner, width, 3, stride=2, padding=1)
        self.conv2 = CONV[dims](width, width, 3, padding=1)
        self.skip = CONV[dims](inner, width, 1, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return self.skip(x) + self.conv2(F.silu(self.norm2(h)))


class ConvNet(nn.Module):
    """Images (N, C, [D,] H, W) to (N, outputs).

    Args:
        channels: image channels.
        size: (H, W) or (D, H, W).
        outputs: numbers to predict.
        widths: channels of the stem and of each halving.

    `levels` holds the convolutional stages in order, the last being the layer that Grad-CAM looks at.
    """

    def __init__(self, *, channels: int, size: tuple[int, ...], outputs: int, widths: tuple[int, ...] = (32, 48, 96, 128)):
        super().__init__()
        dims = len(size)
        self.fold = 2 if min(size) >= 48 else 1
        self.stem = CONV[dims](channels * self.fold**dims, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(Residual(a, b, dims) for a, b in zip(widths, widths[1:]))
        self.norm = nn.GroupNorm(groups_of(widths[-1]), widths[-1])
        self.head = nn.Linear(widths[-1], outputs)
        self.feature_width = sum(widths[-2:])

    def _stages(self, x: torch.Tensor) -> list[torch.Tensor]:
        room = [(-n) % self.fold for n in x.shape[2:]]
        x = F.pad(x, [side for extra in reversed(room) for side in (0, extra)], mode="replicate") if any(room) else x
        h, stages = self.stem(unshuffle(x, self.fold)), []
        for level in self.levels:
            h = level(h)
            stages.append(h)
        return stages

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, outputs)."""
        last = F.silu(self.norm(self._stages(x)[-1]))
        return self.head(last.flatten(2).mean(2))

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(N, feature_width): the last two stages averaged over positions, texture beside shape."""
        return torch.cat([stage.flatten(2).mean(2) for stage in self._stages(x)[-2:]], 1)
