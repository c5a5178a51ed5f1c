"""A network that outlines organs: MONAI's residual U-Net with one yes/no map per organ, 2D or 3D."""
import torch
from torch.nn import functional as F

from synthkit.nets.augment import augment
from synthkit.nets.blocks import CONV, shuffle, unshuffle
from synthkit.nets.network import Batch, Trainable

SMALLEST = 8  # pixels per side that are not halved further


def halvings(size: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Strides per level and axis: an axis is halved while 16 pixels or more are left of it."""
    strides, left = [], list(size)
    while max(left) >= 2 * SMALLEST:
        step = tuple(2 if n >= 2 * SMALLEST else 1 for n in left)
        left = [-(-n // s) for n, s in zip(left, step)]
        strides.append(step)
    return strides


class OrganNet(Trainable):
    """Logits (N, organs, [D,] H, W) of images (N, C, [D,] H, W); organs may overlap.

    Args:
        channels: image channels.
        size: (H, W) or (D, H, W); padded inside to what the levels need.
        organs: how many.
        width: features of the finest level; doubled per level up to fourfold.
        augmented: whether training images are shifted, zoomed, turned and re-exposed, and half of them mirrored.
    """

    def __init__(self, *, channels: int, size: tuple[int, ...], organs: int, width: int = 16, augmented: bool = True):
        super().__init__()
        from monai.networks.nets import UNet

        self.size, self.organs, self.augmented = tuple(size), organs, augmented
        # Two pixels a side are folded into channels where there are enough: four times as fast in 2D.
        self.fold = 2 if min(size) >= 48 else 1
        dims, strides = len(size), halvings(tuple(-(-n // self.fold) for n in size))
        self.multiple = [self.fold * 2 ** sum(step[axis] == 2 for step in strides) for axis in range(dims)]
        widths = [width * 2 ** min(level, 2) for level in range(len(strides) + 2)]
        # The first level keeps every pixel: MONAI's own first stride would leave no skip connection at the finest level.
        self.body = UNet(dims, channels * self.fold**dims, width, widths, [(1,) * dims, *strides], num_res_units=1, norm=("GROUP", {"num_groups": 4}))
        self.head = CONV[dims](width, organs * self.fold**dims, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        room = [(-n) % multiple for n, multiple in zip(x.shape[2:], self.multiple)]
        padded = F.pad(x, [side for extra in reversed(room) for side in (0, extra)], mode="replicate") if any(room) else x
        return shuffle(self.head(self.body(unshuffle(padded, self.fold))), self.fold)[(..., *(slice(0, n) for n in x.shape[2:]))]

    def training_step(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch whose code c holds the masks, (N, organs x pixels)."""
        masks = batch.c.unflatten(1, (self.organs, *self.size))
        x, masks = self._changed(batch, masks) if self.augmented else (batch.x, masks)
        return self.loss(self(x), masks)

    def loss(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Soft Dice loss of each organ over the whole batch (Milletari et al. 2016) plus binary cross-entropy."""
        from monai.losses import DiceLoss

        # Pooled over the batch, an organ that few images show is no division by zero.
        return DiceLoss(sigmoid=True, batch=True)(logits.float(), masks) + F.binary_cross_entropy_with_logits(logits.float(), masks)

    def _changed(self, batch: Batch, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images and masks moved together, half of them mirrored: the organs of a mirrored image must be found where they lie."""
        both = torch.cat([batch.x, 2 * masks - 1], 1)
        flip = batch.uniform(len(both)) < 0.5
        both = torch.where(flip.reshape(-1, *(1,) * (both.ndim - 1)), both.flip(-1), both)
        moved = augment(Batch(both, batch.c, batch.generator), contrast=0.0, noise=0.0)
        x, masks = moved.split([batch.x.shape[1], self.organs], 1)
        return augment(Batch(x, batch.c, batch.generator), shift=0.0, zoom=0.0, turn=0.0), (masks > 0).float()
