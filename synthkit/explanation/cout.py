"""COUT: how soon a classifier follows when the pixels of an edit are put in, the most changed ones first."""
from collections.abc import Callable

import numpy as np
import torch

SHARES = 21  # of the changed pixels, from none to all


def cout(chance: Callable[[torch.Tensor], np.ndarray], images: torch.Tensor, edited: torch.Tensor, before: np.ndarray) -> np.ndarray:
    """Counterfactual transition score (Khorram & Fuxin 2022): area under the chance of the new side minus that of the old one, -1..1.

    1: the first few pixels decide; -1: the classifier never follows.

    Args:
        chance: (N, C, [D,] H, W) to (N,) chances of one level.
        images, edited: the originals and their edits.
        before: (N,) chances of the originals, whose side of one half is left.
    """
    size = (edited - images).abs().amax(1, keepdim=True)
    # Pixels that did not change rank last, and their place does not matter.
    rank = size.flatten(1).argsort(dim=1, descending=True, stable=True).argsort(dim=1).reshape(size.shape)
    changed = (size > 0).flatten(1).sum(1).reshape(-1, *(1,) * (size.ndim - 1))
    curve = [chance(torch.where(rank < share * changed, edited, images)) for share in np.linspace(0, 1, SHARES)]
    new = np.where(before > 0.5, 1 - np.stack(curve), np.stack(curve))
    return torch.trapezoid(torch.from_numpy(2 * new - 1), dx=1 / (SHARES - 1), dim=0).numpy()
