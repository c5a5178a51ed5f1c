"""Latent diffusion: a codec makes images small, flow matching learns the small ones."""
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import nn

from synthkit.core.imports import class_at
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.diffusion import FlowNetwork, flow_network, require_flow
from synthkit.generators.stages import Stage
from synthkit.nets.codec import Codec, CodecTraining
from synthkit.nets.network import Batch, EditableNetwork, KnowingNetwork, Network, Trainable
from synthkit.training.data import TrainingData

OWN_CODEC = "synthkit.nets.codec:FoldedAutoencoder"


def default_downsampling(size: tuple[int, ...]) -> int:
    """Image pixels per latent pixel and side: 2 up to 32 pixels, 4 up to 128, 8 beyond; in volumes never more than 4."""
    side = max(size)
    return 2 if side <= 32 else 4 if side <= 128 or len(size) == 3 else 8


@dataclass(frozen=True)
class LatentDiffusion(Recipe):
    """Diffusion on the latents of an autoencoder (Rombach et al. 2022), 2D or 3D, for 256 pixels and more; editable by inversion.

    A share of the budget trains the codec, the rest the flow on latents that were computed once: mean and spread of each, so that
    every step draws afresh. What the codec cannot give back stands in `round_trip` of an edit, and the edit itself leaves it alone.

    Args:
        steps, solver, shift, guidance: of sampling and of inversion, as in Diffusion, on latents.
        drop: share of training images that hide factors from the network, a random subset each; so any subset may be asked for.
        codec: "module:Class" of an autoencoder with encode(x) -> (mean, sigma) and decode(z), called with spatial_dims, in_channels,
            out_channels and latent_channels; "monai.networks.nets:AutoencoderKL" fits as it is.
        codec_options: further keyword arguments of that class.
        downsampling: image pixels per latent pixel and side, of synthkit's own codec; None picks by image size.
        latent_channels: None takes four per image channel.
        codec_share: of the budget.
        edges, divergence: weights of the edges and of the KL term in the codec's loss.
        backbone: "module:Class" of the velocity network on latents, as in Diffusion.
        options: further keyword arguments of that class.
        batch_size, learning_rate: of both trainings.

    Example:
        gen = sk.LatentDiffusion().fit(train, budget="lesson", seed=0)
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "solver", "shift", "guidance")
    steps: int = 12
    drop: float = 0.3
    codec: str = OWN_CODEC
    codec_options: Mapping[str, Any] = field(default_factory=dict)
    downsampling: int | None = None
    latent_channels: int | None = None
    codec_share: float = 0.4
    edges: float = 1.0
    divergence: float = 1e-3
    backbone: str = "synthkit.nets.unet:UNet"
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    learning_rate: float = 1e-3
    solver: str = "midpoint"
    shift: float = 1.0
    guidance: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_flow(self)
        if not 0 < self.codec_share < 1 or self.edges < 0 or self.divergence < 0:
            raise FitError(f"LatentDiffusion(codec_share={self.codec_share}, edges={self.edges}, divergence={self.divergence}): "
                           "codec_share must lie between 0 and 1, the weights must be 0 or more")  # fmt: skip
        if self.latent_channels is not None and self.latent_channels < 1:
            raise FitError(f"LatentDiffusion(latent_channels={self.latent_channels}): give 1 or more, or None for four per image channel")
        if self.downsampling is not None and self.codec != OWN_CODEC:
            raise FitError(f"downsampling={self.downsampling} is for synthkit's own codec; set that of {self.codec!r} by its codec_options")

    def network(self, schema: Schema, space: Space) -> "LatentNetwork":
        codec = self._codec(space)
        flow = flow_network(self, schema, codec.latent_shape)
        return LatentNetwork(codec, flow)

    def _codec(self, space: Space) -> Codec:
        channels, settings = len(space.channels), dict(self.codec_options)
        if self.codec == OWN_CODEC:
            settings = {"downsampling": self.downsampling or default_downsampling(space.size), **settings}
        shape = {"spatial_dims": space.dims, "in_channels": channels, "out_channels": channels, "latent_channels": self.latent_channels or 4 * channels}
        kind = class_at(self.codec, nn.Module)
        try:
            net = kind(**shape, **settings)
        except (TypeError, ValueError) as error:
            raise FitError(f"codec {self.codec!r} refuses {', '.join(f'{k}={v}' for k, v in {**shape, **settings}.items())}: {error}") from error
        return Codec(net, channels=channels, size=space.size)

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        return (
            Stage("codec", CodecTraining(network.codec, edges=self.edges, divergence=self.divergence), share=self.codec_share),
            Stage("flow", LatentTraining(network.flow, network.scaling), share=1 - self.codec_share, prepare=network.latents_of),
        )


class Scaling(nn.Module):
    """Shift and scale per latent channel, measured on the training latents, after which they have mean 0 and variance 1."""

    def __init__(self, latent_shape: tuple[int, ...]):
        super().__init__()
        # Flat: a tensor of four axes cannot be laid out as a volume's weights are.
        self.register_buffer("shift", torch.zeros(latent_shape[0]))
        self.register_buffer("scale", torch.ones(latent_shape[0]))
        self.column = (-1, *(1,) * (len(latent_shape) - 1))
        self.register_buffer("measured", torch.zeros(()))

    def measure(self, mean: torch.Tensor, sigma: torch.Tensor) -> None:
        """Set both from the posteriors (N, *latent) of a training set: variance of the means and mean of the variances.

        Only once: a flow that goes on learning goes on in the scale it knows.
        """
        if self.measured:
            return
        over = (0, *range(2, mean.ndim))
        self.shift.copy_(mean.mean(over))
        variance = mean.var(over, correction=0) + sigma.square().mean(over)
        self.scale.copy_(variance.sqrt().clamp_min(1e-6))
        self.measured.fill_(1)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents as the codec makes them to unit variance."""
        return (latents - self.shift.reshape(self.column)) / self.scale.reshape(self.column)

    def undo(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents of unit variance to what the codec decodes."""
        return latents * self.scale.reshape(self.column) + self.shift.reshape(self.column)


class LatentNetwork(EditableNetwork, KnowingNetwork, Trainable):
    """A codec and a flow on its scaled latents; z is the noise from which the flow starts."""

    looks = FlowNetwork.looks

    def __init__(self, codec: Codec, flow: FlowNetwork):
        super().__init__()
        self.codec, self.flow, self.scaling = codec, flow, Scaling(codec.latent_shape)
        self.evaluations = flow.evaluations

    def training_step(self, batch: Batch) -> torch.Tensor:
        """The flow's loss on images; the training itself takes cached latents (`LatentTraining`)."""
        mean, sigma = self.codec.encode(batch.x)
        return LatentTraining(self.flow, self.scaling).training_step(replace(batch, x=torch.cat([mean, sigma], 1)))

    def latents_of(self, data: TrainingData) -> TrainingData:
        """Training data of mean and sigma of every image's latent, (N, 2 · channels, [d,] h, w); measures the scaling on the way."""
        self.eval()
        device = next(self.codec.parameters()).device  # the scaling is moved there only with the flow
        cached = data.mapped(lambda images, codes: torch.cat(self.codec.encode(images), 1), device)
        self.scaling.measure(*cached.tensor.chunk(2, 1))
        return cached

    def misfit(self, x: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.flow.misfit(self.scaling(self.codec.encode(x)[0]), c, noise, t)

    def latent_shape(self) -> tuple[int, ...]:
        return self.codec.latent_shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.codec.decode(self.scaling.undo(self.flow.decode(z, c)))

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.flow.encode(self.scaling(self.codec.encode(x)[0]), c)


class LatentTraining(Trainable):
    """The flow's loss on cached posteriors: a batch's x is mean and sigma, and each step draws its latents anew."""

    def __init__(self, flow: FlowNetwork, scaling: Scaling):
        super().__init__()
        self.flow, self.scaling = flow, scaling

    def training_step(self, batch: Batch) -> torch.Tensor:
        mean, sigma = batch.x.chunk(2, 1)
        return self.flow.training_step(replace(batch, x=self.scaling(mean + sigma * batch.normal(*mean.shape))))
