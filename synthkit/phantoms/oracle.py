"""Reading a factor off an image without a trained predictor: draw the subject again and keep what fits best."""
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from synthkit.errors import DataError, SchemaError
from synthkit.phantoms.factor import Factor, apply_when

if TYPE_CHECKING:
    from synthkit.phantoms.phantom import Phantom

GRID = 33
FAR = 1.5
GOLDEN = (5**0.5 - 1) / 2
REFINEMENTS = 18


def read(phantom: "Phantom", images: Tensor, given: pd.DataFrame, name: str) -> pd.DataFrame:
    """Best-fitting value of one factor per image; see `Phantom.read`."""
    by_name = {node.name: node for node in phantom.factors}
    if not isinstance(name, str) or name not in by_name:
        raise SchemaError(f"read: {name!r} is not a factor; the factors are {', '.join(by_name)}")
    if not isinstance(images, Tensor):
        raise DataError(f"read: images are {type(images).__name__}; give a Cohort or a tensor (N, C, [D,] H, W) in [-1, 1]")
    if tuple(images.shape) != (len(given), *phantom.space.shape):
        raise DataError(f"read: images of {tuple(images.shape)} do not fit {len(given)} subjects of {phantom.space.shape}; give one image per row")
    images = images.detach().cpu().float()
    if not images.isfinite().all() or images.abs().max() > FAR:
        raise DataError("read: images hold values that are not finite or far outside [-1, 1]; give them as a cohort's images are")
    node, given = by_name[name], given.reset_index(drop=True)
    applies = (given[node.when] == "present").to_numpy() if node.when else np.ones(len(given), bool)
    answer = pd.DataFrame({"image_id": given["image_id"], "value": pd.Series([None] * len(given), dtype=object), "rms": np.nan})
    if applies.any():
        rows = np.flatnonzero(applies)
        target = (images[torch.from_numpy(rows)] + 1) / 2
        values, error = (_level if node.levels else _quantity)(phantom, target, given.iloc[rows], node)
        answer.loc[rows, "value"] = values
        answer.loc[rows, "rms"] = 255 * np.sqrt(error)
    return answer if node.levels else answer.astype({"value": float})


def _misfit(phantom: "Phantom", target: Tensor, given: pd.DataFrame, node: Factor, values: np.ndarray) -> np.ndarray:
    """(N,) mean squared difference from each subject drawn with its own candidate value."""
    drawn = phantom.render(_with(phantom, given, node, values))
    return (drawn - target).double().square().flatten(1).mean(1).numpy()


def _with(phantom: "Phantom", given: pd.DataFrame, node: Factor, values: np.ndarray) -> pd.DataFrame:
    return apply_when(phantom.factors, given.assign(**{node.name: values}))


def _level(phantom: "Phantom", target: Tensor, given: pd.DataFrame, node: Factor) -> tuple[np.ndarray, np.ndarray]:
    errors = np.stack([_misfit(phantom, target, given, node, np.full(len(given), level, object)) for level in node.levels])
    values = np.array(node.levels, object)[errors.argmin(0)]
    values[_flat(errors)] = None
    return values, errors.min(0)


def _flat(errors: np.ndarray) -> np.ndarray:
    """Where no value of the factor changes the image."""
    return errors.max(0) == errors.min(0)


def _quantity(phantom: "Phantom", target: Tensor, given: pd.DataFrame, node: Factor) -> tuple[np.ndarray, np.ndarray]:
    """A grid over the range, then golden section (Kiefer 1953) between the neighbours of its best point."""
    grid = np.linspace(node.low, node.high, GRID)
    errors = np.stack([_misfit(phantom, target, given, node, np.full(len(given), value)) for value in grid])
    if _flat(errors).all():
        return np.full(len(given), np.nan), errors.min(0)
    best = errors.argmin(0)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)]
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = (_misfit(phantom, target, given, node, points) for points in (left, right))
    for _ in range(REFINEMENTS):
        keep_left = at_left < at_right
        low, high = np.where(keep_left, low, left), np.where(keep_left, right, high)
        new = np.where(keep_left, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        at_new = _misfit(phantom, target, given, node, new)
        left, right = np.where(keep_left, new, right), np.where(keep_left, left, new)
        at_left, at_right = np.where(keep_left, at_new, at_right), np.where(keep_left, at_left, at_new)
    # An edge of the range may fit better than any point between.
    points = np.stack([left, right, grid[best]])
    fits = np.stack([at_left, at_right, errors.min(0)])
    chosen = fits.argmin(0)
    return np.where(_flat(errors), np.nan, points[chosen, np.arange(len(given))]), fits.min(0)
