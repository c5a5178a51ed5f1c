"""How near images come to the exact ones, as a share of the change that was to be made."""
from collections.abc import Callable

import numpy as np
import torch


def pooled_skill(shown: torch.Tensor, start: torch.Tensor, exact: torch.Tensor) -> Callable[[np.ndarray], float]:
    """R2_delta of some rows, pooled: 1 - |shown - exact|² / |start - exact|²; 1 is exact, 0 as good as showing no change, below 0 worse.

    Args:
        shown, start, exact: (N, ...) what was made, what it was made from, and the truth.
    Returns:
        A function of row numbers; not a number where the truth changes none of them.
    """
    wrong, wanted = ((image.double() - exact.double()).square().flatten(1).sum(1).numpy() for image in (shown, start))

    def of(rows: np.ndarray) -> float:
        whole = wanted[rows].sum()
        return float(1 - wrong[rows].sum() / whole) if whole > 0 else float("nan")

    return of
