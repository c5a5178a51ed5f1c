"""Autoencoders for latent diffusion: images to small latents and back, by MONAI's AutoencoderKL or any network like it."""
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from itertools import product

import torch
from torch import nn
from torch.nn import functional as F

from synthkit.errors import FitError
from synthkit.nets.blocks import cropped, groups_of, padded, shuffle, unshuffle
from synthkit.nets.network import Batch, Trainable

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
PIXELS_AT_ONCE = 2**23  # in one pass outside training: 128 images of 256 × 256, or one volume
START_LOG_VARIANCE = -6.0
CORRELATE = {2: F.conv2d, 3: F.conv3d}
SPREAD = {2: F.conv_transpose2d, 3: F.conv_transpose3d}


class FoldedAutoencoder(nn.Module):
    """MONAI's AutoencoderKL on folded pixels, beside a shortcut of slow cosines.

    The shortcut (after Chen et al. 2025, "Deep compression autoencoder") puts the slowest cosines of each patch straight into
    the latent and back: the network starts as a plain compression and learns what that misses. Without attention, so that
    memory grows with the pixels alone and every latent speaks of its own neighbourhood.

    Args:
        spatial_dims, in_channels, out_channels, latent_channels: as of AutoencoderKL; as many channels out as in.
        downsampling: image pixels per latent pixel along each side, a power of two.
        patch: pixels folded into channels per side before the first convolution; None folds half of the downsampling.
        widths: channels per level, finest first, one level more than there are halvings after the folding.
        options: further keyword arguments of AutoencoderKL.
    """

    def __init__(
        self, *, spatial_dims: int, in_channels: int, out_channels: int, latent_channels: int,
        downsampling: int = 8, patch: int | None = None, widths: tuple[int, ...] | None = None, **options: object,
    ):  # fmt: skip
        super().__init__()
        from monai.networks.nets import AutoencoderKL

        self.downsampling, self.patch = downsampling, patch or max(1, downsampling // 2)
        levels = len(_halvings(downsampling, self.patch)) + 1
        widths = tuple(widths or (32, *(64,) * (levels - 1)))
        if in_channels != out_channels or len(widths) != levels:
            raise FitError(f"{in_channels} channels in, {out_channels} out and widths={widths}: needed are as many out as in, and {levels} widths "
                           f"(downsampling={downsampling}, patch={self.patch})")  # fmt: skip
        groups = min(groups_of(width) for width in widths)
        plain = {"num_res_blocks": 1, "attention_levels": (False,) * levels, "norm_num_groups": groups,
                 "with_encoder_nonlocal_attn": False, "with_decoder_nonlocal_attn": False}  # fmt: skip
        folded = in_channels * self.patch**spatial_dims
        settings = {**plain, "channels": widths, **options}
        self.net = AutoencoderKL(spatial_dims, in_channels=folded, out_channels=folded, latent_channels=latent_channels, **settings)
        self.register_buffer("cosines", slow_cosines(downsampling, spatial_dims, in_channels, latent_channels), persistent=False)
        self._start_from_the_shortcut()

    def _start_from_the_shortcut(self) -> None:
        spread = self.net.quant_conv_log_sigma.conv
        for layer in (self.net.quant_conv_mu.conv, spread, self.net.decoder.blocks[-1].conv):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        # At a spread of 1 the first steps would see hardly more than noise.
        nn.init.constant_(spread.bias, START_LOG_VARIANCE)

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, C, [D,] H, W), sides multiples of `downsampling`, to mean and sigma of their latents."""
        mean, sigma = self.net.encode(unshuffle(x, self.patch))
        dims = x.ndim - 2
        with _exactly(x):
            slow = CORRELATE[dims](x.float(), self.cosines / self.downsampling**dims, stride=self.downsampling)
        return mean + slow, sigma

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Latents to images."""
        with _exactly(z):
            slow = SPREAD[z.ndim - 2](z.float(), self.cosines, stride=self.downsampling)
        return shuffle(self.net.decode(z), self.patch) + slow


def _exactly(x: torch.Tensor) -> AbstractContextManager[None]:
    # In bf16 the shortcut would round grey values to 1 part in 256. Tensors without content know no autocast.
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def _halvings(downsampling: int, patch: int) -> range:
    whole = downsampling >= 1 and downsampling & (downsampling - 1) == 0
    if not whole or patch < 1 or patch & (patch - 1) or patch > downsampling:
        raise FitError(f"downsampling={downsampling}, patch={patch}: give powers of two, patch not above downsampling")
    return range((downsampling // patch).bit_length() - 1)


def slow_cosines(side: int, dims: int, channels: int, count: int) -> torch.Tensor:
    """(count, channels, side, side[, side]) cosines of mean square 1 and orthogonal, slowest first; zeros where there are fewer than `count`."""
    places = (torch.arange(side) + 0.5) * torch.pi / side
    waves = torch.stack([torch.ones(side), *((2**0.5 * (places * n).cos()) for n in range(1, side))])
    order = sorted(product(range(side), repeat=dims), key=lambda rates: (sum(rate**2 for rate in rates), rates))
    basis = torch.zeros(count, channels, *(side,) * dims)
    for place, (rates, channel) in enumerate(list(product(order, range(channels)))[:count]):
        wave = waves[rates[0]]
        for rate in rates[1:]:
            wave = wave[..., None] * waves[rate]
        basis[place, channel] = wave
    return basis


class Codec(nn.Module):
    """An autoencoder for images of one size, padded inside to the sides that it can halve.

    Args:
        net: any module with encode(x) -> (mean, sigma) and decode(z) -> x, such as MONAI's AutoencoderKL.
        channels, size: of the images; (H, W) or (D, H, W).
    Raises:
        FitError: the module does not answer so for any padding of up to 64 pixels.

    Attributes:
        latent_shape: of one latent, (channels, [d,] h, w).
    """

    def __init__(self, net: nn.Module, *, channels: int, size: tuple[int, ...]):
        super().__init__()
        self.net, self.size = net, size
        self.padded, self.latent_shape = _fitting(net, channels, size)
        self.at_once = max(1, PIXELS_AT_ONCE // torch.Size(self.padded).numel())

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (N, C, [D,] H, W) to mean and sigma of their latents, float32."""
        parts = [self.net.encode(part) for part in self._parts(padded(x, self.padded))]
        means, sigmas = zip(*parts)
        return torch.cat(means).float(), torch.cat(sigmas).float()

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Latents (N, *latent_shape) to images (N, C, [D,] H, W), float32."""
        images = torch.cat([self.net.decode(part) for part in self._parts(z)]).float()
        return cropped(images, self.size)

    def _parts(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        # Training keeps all activations anyway; there the batch size rules the memory.
        return (x,) if torch.is_grad_enabled() else x.split(self.at_once)


def _fitting(net: nn.Module, channels: int, size: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The least padding after which decode(encode(x)) has the size of x, and the latent's shape, found on tensors without content."""
    empty, trouble = deepcopy(net).to("meta"), ""
    for multiple in MULTIPLES:
        padded = tuple(-(-n // multiple) * multiple for n in size)
        try:
            with torch.no_grad():
                mean, sigma = empty.encode(torch.empty(1, channels, *padded, device="meta"))
                back = empty.decode(mean)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:
            trouble = str(error)
            continue
        if mean.shape == sigma.shape and back.shape == (1, channels, *padded):
            return padded, tuple(mean.shape[1:])
        trouble = f"mean {tuple(mean.shape)}, sigma {tuple(sigma.shape)}, decoded {tuple(back.shape)}"
    raise FitError(
        f"{type(net).__name__} does not work as a codec of {channels} × {' × '.join(map(str, size))} images ({trouble}); "
        "needed are encode(x) -> (mean, sigma) of one shape, and decode(z) -> an image of the size of x"
    )


class CodecTraining(Trainable):
    """What a codec is trained for: to give images back, edges too, from latents that are noisy and near a standard normal.

    |x - y| + edges · |∇x - ∇y| + divergence · KL(N(mean, sigma) ‖ N(0, 1)), each a mean over values. The gradients keep edges that
    the first term alone trades away. There is no discriminator: it rewards texture that looks right and was never in the image,
    which is no ground to judge a finding or an edit on. So grain that latents cannot hold comes back weaker than it was.

    Args:
        codec: the one to train.
        edges, divergence: weights of the second and third term.
    """

    def __init__(self, codec: Codec, *, edges: float, divergence: float):
        super().__init__()
        self.codec, self.edges, self.divergence = codec, edges, divergence

    def training_step(self, batch: Batch) -> torch.Tensor:
        mean, sigma = self.codec.encode(batch.x)
        again = self.codec.decode(mean + sigma * batch.normal(*mean.shape))
        return (again - batch.x).abs().mean() + self.edges * edge_error(again, batch.x) + self.divergence * divergence(mean, sigma)


def edge_error(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference between the steps from pixel to pixel of two sets of images, over all axes longer than 1."""
    apart = one - other
    axes = [axis for axis in range(2, one.ndim) if one.shape[axis] > 1]
    return torch.stack([apart.diff(dim=axis).abs().mean() for axis in axes]).mean() if axes else apart.new_zeros(())


def divergence(mean: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of N(mean, sigma) from N(0, 1) in nats, the mean over all latent values (Kingma & Welling 2014)."""
    return (0.5 * (mean.square() + sigma.square() - 1) - sigma.clamp_min(1e-8).log()).mean()
