"""Factors hidden from a network in training, so that afterwards any subset of them may be given."""
from dataclasses import dataclass

import torch

from synthkit.nets.network import Batch


@dataclass(frozen=True)
class Hiding:
    """Sets a random subset of the factors to "missing" in a share of the images.

    Args:
        blocks: where each factor stands in the condition code.
        drop: share of the images in which factors are hidden.
    """

    blocks: tuple[slice, ...]
    drop: float

    def __call__(self, batch: Batch) -> torch.Tensor:
        """The condition codes (N, width) of a batch, some of them with factors hidden."""
        if not self.blocks:
            return batch.c
        # All sizes of subset alike, and most images complete: a fixed rate for each of twenty factors would leave hardly one complete.
        rate = batch.uniform(len(batch.c), 1) * (batch.uniform(len(batch.c), 1) < self.drop)
        keep = (batch.uniform(len(batch.c), len(self.blocks)) >= rate).float()
        widths = torch.tensor([block.stop - block.start for block in self.blocks], device=batch.c.device, dtype=torch.long)
        return batch.c * keep.repeat_interleave(widths, 1, output_size=batch.c.shape[1])
