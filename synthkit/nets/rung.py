"""One rung of a ladder of latents: what is expected there, what the image adds, and how a draw goes on."""
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from synthkit.nets.blocks import CONV, Block, groups_of

FARTHEST = 8.0  # standard deviations of the prior; the posterior's mean stays within, so that no image can make the loss explode
NARROWEST = 1e-3  # the smallest scale of the prior


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over the noise of a rung, in standard deviations of its prior: q(z) = N(mean_p + scale_p·mean, (scale_p·scale)²).

    Args:
        mean, log_scale: (N, latent, *size); the log scale is not above 0, since an image can only tell more than the prior.
    """

    mean: torch.Tensor
    log_scale: torch.Tensor

    def sample(self, draw: Callable[..., torch.Tensor]) -> torch.Tensor:
        """Noise of the same shape; `draw(*shape)` gives standard normal numbers."""
        return self.mean + self.log_scale.exp() * draw(*self.mean.shape)

    def divergence(self) -> torch.Tensor:
        """Kullback-Leibler divergence to the prior, (N,) in nats; the prior's own mean and scale cancel (Vahdat & Kautz 2020, eq. 2)."""
        each = self.mean.square() + (2 * self.log_scale).exp() - 1 - 2 * self.log_scale
        return each.flatten(1).sum(1) / 2


class Rung(nn.Module):
    """A stochastic layer: prior p(z | above, c), posterior q(z | above, x, c), and the block that takes z in."""

    def __init__(self, width: int, latent: int, embedding: int, dims: int):
        super().__init__()
        self.prior = nn.Sequential(nn.GroupNorm(groups_of(width), width), nn.SiLU(), CONV[dims](width, 2 * latent, 1))
        self.compare = CONV[dims](2 * width, width, 3, padding=1)
        self.infer = CONV[dims](width, 2 * latent, 1)
        self.short = CONV[dims](2 * width, 2 * latent, 1)
        self.enter = CONV[dims](latent, width, 1)
        self.block = Block(width, width, embedding, dims)

    def posterior(self, h: torch.Tensor, features: torch.Tensor) -> Posterior:
        """What the image's features say at this rung, given the features h from above."""
        both = torch.cat([h, features], 1)
        mean, narrowing = (self.infer(F.silu(self.compare(both))) + self.short(both)).float().chunk(2, 1)
        return Posterior(FARTHEST * torch.tanh(mean / FARTHEST), -F.softplus(narrowing))

    def forward(self, h: torch.Tensor, embedding: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Features from above and noise (N, latent, *size) to the features below: z = mean_p + scale_p · noise enters."""
        mean, spread = self.prior(h).float().chunk(2, 1)
        z = mean + (NARROWEST + F.softplus(spread)) * noise
        return self.block(h + self.enter(z), embedding)
