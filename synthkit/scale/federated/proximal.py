"""FedProx: a site is held near to the weights that it was sent (Li et al. 2020)."""
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from synthkit.nets.network import Batch, Trainable

INNER = "inner."  # before the names of what is trained


class Proximal(Trainable):
    """A loss with half of mu times the squared distance of its weights from where they stood when this was made."""

    def __init__(self, inner: Trainable, mu: float):
        super().__init__()
        self.inner, self.mu, self.betas = inner, mu, inner.betas
        self.anchors = [f"anchor_{number}" for number, _ in enumerate(inner.parameters())]
        for name, weight in zip(self.anchors, inner.parameters()):
            self.register_buffer(name, weight.detach().clone(), persistent=False)  # moves with the network, and is no part of what is sent

    def players(self) -> Sequence[nn.Module]:
        return self.inner.players()

    def distance(self) -> torch.Tensor:
        """Squared distance from the anchor."""
        held: Mapping[str, torch.Tensor] = dict(self.named_buffers(recurse=False))
        return torch.stack([(weight - held[name]).square().sum() for name, weight in zip(self.anchors, self.inner.parameters())]).sum()

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self.inner.training_step(batch) + self.mu / 2 * self.distance()
