"""Networks of MONAI and diffusers as velocity networks: Diffusion(backbone="synthkit.nets.adapters:MonaiUNet")."""
import torch
from torch import nn

from synthkit.errors import FitError
from synthkit.nets.blocks import shuffle, unshuffle

TIME_SCALE = 1000.0  # both libraries were made for integer steps 0..999


class MonaiUNet(nn.Module):
    """MONAI's DiffusionModelUNet, 2D or 3D; the condition enters by cross-attention.

    Args:
        channels, size, condition_width: as of every backbone.
        patch: pixels folded into channels per side; 1 is full resolution, as in MONAI's tutorials.
        widths: channels per level (MONAI's `channels`); attention stands at the last.
        options: further keyword arguments of DiffusionModelUNet.
    """

    def __init__(
        self, *, channels: int, size: tuple[int, ...], condition_width: int,
        patch: int = 1, widths: tuple[int, ...] = (64, 96, 128), **options: object,
    ):  # fmt: skip
        super().__init__()
        from monai.networks.nets import DiffusionModelUNet

        levels = {"channels": tuple(widths), "num_res_blocks": 1, "attention_levels": (*(False,) * (len(widths) - 1), True)}
        settings = {**levels, "num_head_channels": 32, "norm_num_groups": 32, **options}
        folded = channels * patch ** len(size)
        self.patch, self.conditioned = patch, condition_width > 0
        self.net = DiffusionModelUNet(
            spatial_dims=len(size), in_channels=folded, out_channels=folded,
            with_conditioning=self.conditioned, cross_attention_dim=condition_width or None, **settings,
        )  # fmt: skip
        _require_multiple(size, patch * 2 ** (len(widths) - 1), "MONAI's DiffusionModelUNet")

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        context = c[:, None, :] if self.conditioned else None
        return shuffle(self.net(unshuffle(x, self.patch), t * TIME_SCALE, context=context), self.patch)


class DiffusersUNet(nn.Module):
    """diffusers' UNet2DModel; the condition is added to its time embedding. 2D only.

    Args:
        channels, size, condition_width: as of every backbone.
        patch: pixels folded into channels per side.
        widths: channels per level.
        options: further keyword arguments of UNet2DModel.
    """

    def __init__(
        self, *, channels: int, size: tuple[int, ...], condition_width: int,
        patch: int = 2, widths: tuple[int, ...] = (32, 64, 96, 128), **options: object,
    ):  # fmt: skip
        super().__init__()
        from diffusers import UNet2DModel

        if len(size) != 2:
            raise FitError(f"diffusers' UNet2DModel takes 2D images, these are {size}; use synthkit.nets.unet:UNet or MonaiUNet for volumes")
        _require_multiple(size, patch * 2 ** (len(widths) - 1), "diffusers' UNet2DModel")
        folded, last = channels * patch**2, len(widths) - 1
        settings = {
            "layers_per_block": 1, "norm_num_groups": 8,
            "down_block_types": ("DownBlock2D",) * last + ("AttnDownBlock2D",), "up_block_types": ("AttnUpBlock2D",) + ("UpBlock2D",) * last, **options,
        }  # fmt: skip
        self.patch = patch
        self.net = UNet2DModel(in_channels=folded, out_channels=folded, block_out_channels=tuple(widths), class_embed_type="identity", **settings)
        self.condition = nn.Linear(max(1, condition_width), 4 * widths[0])

    def forward(self, x: torch.Tensor, t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        c = c if c.shape[1] else c.new_zeros(len(c), 1)
        return shuffle(self.net(unshuffle(x, self.patch), t * TIME_SCALE, class_labels=self.condition(c)).sample, self.patch)


def _require_multiple(size: tuple[int, ...], multiple: int, name: str) -> None:
    if any(n % multiple for n in size):
        raise FitError(f"{name} needs sides that are multiples of {multiple}, these images are {size}; load them with another size=")
