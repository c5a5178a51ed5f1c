"""A classifier seen as one number: how much it is for a level."""
import torch
from torch import nn


def log_odds(outputs: torch.Tensor, place: slice, level: int) -> torch.Tensor:
    """(N, 1) log-odds of one level of a category: its logit minus the log-sum-exp of the others.

    One logit alone means nothing: a softmax does not change when all logits move together.
    """
    logits = outputs[:, place]
    rest = torch.cat([logits[:, :level], logits[:, level + 1 :]], 1)
    return logits[:, level : level + 1] - rest.logsumexp(1, keepdim=True)


class LogOdds(nn.Module):
    """A classifier whose only output is the log-odds of one level."""

    def __init__(self, module: nn.Module, place: slice, level: int):
        super().__init__()
        self.module, self.place, self.level = module, place, level

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return log_odds(self.module(x), self.place, self.level)
