"""Letters and marks burned into images, by which a reader may tell real ones from synthetic ones."""
import numpy as np
import torch
from torch.nn import functional as F

from synthkit.core.cohort import Cohort
from synthkit.metrics.checks.measuring import row_blocks

RIM = 0.25  # share of the side in which marks are looked for
BRIGHT, STEP = 0.0, 0.8  # in image units -1..1: how bright a stroke is, and how much brighter than what lies beside it
LEAST, MOST = 3e-4, 0.03  # share of the picture that strokes take


def suspects(cohort: Cohort) -> np.ndarray:
    """(N,) which images show thin bright strokes near the rim, as letters and labels are; of volumes the middle slice.

    A stroke is brighter than its surroundings by 40 % of the window on both sides, within a thirty-second of the side.
    """
    found = [_strokes(cohort.images.tensor(rows)) for rows in row_blocks(cohort)]
    share = torch.cat(found).numpy() if found else np.zeros(0)
    return (share > LEAST) & (share < MOST)


def _strokes(images: torch.Tensor) -> torch.Tensor:
    flat = images[:, :, images.shape[2] // 2] if images.ndim == 5 else images
    grey = flat.mean(1, keepdim=True)
    reach = max(1, min(grey.shape[2:]) // 32)
    opened = -F.max_pool2d(-grey, 2 * reach + 1, stride=1, padding=reach)
    opened = F.max_pool2d(opened, 2 * reach + 1, stride=1, padding=reach)  # what is thinner than the window is gone
    thin = (grey > BRIGHT) & (grey - opened > STEP)
    rim = torch.ones_like(thin)
    rows, columns = (round(RIM * side) for side in grey.shape[2:])
    rim[:, :, rows:-rows, columns:-columns] = False
    return (thin & rim).flatten(1).float().mean(1)
