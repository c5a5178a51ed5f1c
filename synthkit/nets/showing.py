"""Channels shown to a network in training, so that afterwards any of them may be given and the others are drawn."""
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from synthkit.nets.network import Batch


@dataclass(frozen=True)
class Showing:
    """Shows a random subset of an image's parts as they are, in a share of the images.

    A part is what is given or missing as a whole: a modality, a mask, or all colours. The code of a network tells two marks per part, behind the
    factors: given, and absent (neither known nor asked for).

    Args:
        parts: the channel numbers of each part; none or one where there is nothing to show.
        share: of the images in which parts are shown.
    """

    parts: tuple[tuple[int, ...], ...] = ()
    share: float = 0.5

    @property
    def width(self) -> int:
        """Length of the marks."""
        return 2 * len(self.parts)

    def marks(self, given: torch.Tensor, absent: torch.Tensor) -> torch.Tensor:
        """Both (N, parts) as one code (N, width)."""
        return torch.cat([given, absent], 1).float()

    def unmarked(self, c: torch.Tensor) -> torch.Tensor:
        """Codes of factors with the marks of images of which nothing is given."""
        return F.pad(c, (0, self.width))

    def pixels(self, parts: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """(N, parts) bool as (N, C, 1, 1[, 1]), to be laid over images."""
        owner = torch.empty(like.shape[1], dtype=torch.long, device=parts.device)
        for number, channels in enumerate(self.parts):
            owner[list(channels)] = number
        return parts[:, owner].reshape(len(parts), -1, *(1,) * (like.ndim - 2))

    def drawn(self, batch: Batch, absent: torch.Tensor) -> torch.Tensor:
        """(N, parts) bool: what is shown of each image; never what is absent, and never all of the rest."""
        count = len(absent)
        rate = batch.uniform(count, 1) * (batch.uniform(count, 1) < self.share)
        chance = batch.uniform(count, absent.shape[1]).masked_fill(absent, 2.0)
        kept_back = torch.where(absent, -1.0, chance).argmax(1, keepdim=True)
        return (chance < rate).scatter(1, kept_back, False)

    @staticmethod
    def of(parts: tuple[tuple[int, ...], ...], share: float) -> "Showing":
        """Of images of these parts; of one part nothing can be shown beside another."""
        return Showing(parts, share) if len(parts) > 1 else NOTHING


NOTHING = Showing()
