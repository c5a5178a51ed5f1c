"""Shannon entropy in bits."""
from math import log

import torch


def bits(share: torch.Tensor, axes: int = 1) -> torch.Tensor:
    """-Σ p log2 p over the last axes; an impossible event adds nothing."""
    return torch.special.entr(share).flatten(-axes).sum(-1) / log(2)
