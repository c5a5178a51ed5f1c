"""What a caller gives a viewer, as numbers: or one error that says what is wrong."""
from typing import Any

import numpy as np

from synthkit.errors import DataError


def as_numbers(source: Any, what: str, allowed: str) -> np.ndarray:
    """A numpy array of booleans, integers or floats; DataError, with what is allowed, for anything else."""
    import torch

    if isinstance(source, torch.Tensor):
        source = source.detach().cpu()
        source = source.float() if source.is_floating_point() else source
    if not isinstance(source, (torch.Tensor, np.ndarray)):
        raise DataError(f"{what} is a {type(source).__name__}; {allowed}")
    values = np.asarray(source)
    if values.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {values.dtype} values; give booleans, integers or floats")
    return values


def checked_spacing(spacing: Any, size: tuple[int, ...]) -> tuple[float, ...] | None:
    """A spacing that fits an image of this size, or None."""
    if spacing is None:
        return None
    steps = tuple(spacing) if isinstance(spacing, (tuple, list)) else (spacing,)
    numbers = all(isinstance(s, (int, float, np.number)) and np.isfinite(s) and s > 0 for s in steps)
    if len(steps) != len(size) or not numbers:
        axes = "(depth, height, width)" if len(size) == 3 else "(height, width)"
        raise DataError(f"spacing_mm={spacing!r}: give {len(size)} positive millimetres in the order {axes}")
    return tuple(float(s) for s in steps)
