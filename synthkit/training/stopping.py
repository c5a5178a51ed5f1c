"""Early stopping: judge the averaged weights on data kept apart, keep the best."""
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch

from synthkit.nets.network import Trainable


@dataclass(frozen=True)
class Watch:
    """What early stopping looks at.

    Args:
        loss: of a network on data kept apart; lower is better.
        every: steps between looks.
        patience: looks without a better loss before the run ends.
    """

    loss: Callable[[Trainable], float]
    every: int = 50
    patience: int = 6


class Best:
    """The best averaged weights so far."""

    def __init__(self, watch: Watch, network: Trainable):
        self.watch, self.probe = watch, deepcopy(network).eval()
        self.lowest, self.waited, self.weights = float("inf"), 0, {}

    @torch.no_grad()
    def look(self, average: dict[str, torch.Tensor]) -> bool:
        """Judge the average; True when it is time to stop."""
        self.probe.load_state_dict(average)
        loss = self.watch.loss(self.probe)
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            self.weights = {name: tensor.detach().clone() for name, tensor in average.items()}
        else:
            self.waited += 1
        return self.waited >= self.watch.patience
