"""How well an attribution map points at a region that is known, image by image, and maps that know nothing of the classifier."""
from collections.abc import Callable, Mapping

import numpy as np
import torch

from synthkit.core.randomness import normal

# (N, pixels) map of magnitudes, (N, pixels) bool region -> (N,) scores
Pointing = Callable[[np.ndarray, np.ndarray], np.ndarray]


def mass(strength: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Share of the map inside the region."""
    return (strength * region).sum(1) / np.maximum(strength.sum(1), 1e-12)


def lift(strength: np.ndarray, region: np.ndarray) -> np.ndarray:
    """The mass over the region's share of all pixels: 1 is chance."""
    return mass(strength, region) / region.mean(1)


def rank_accuracy(strength: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Of as many strongest pixels as the region has, the share inside (Arras et al. 2022)."""
    order = np.argsort(-strength, 1, kind="stable")
    return np.array([inside[places[: inside.sum()]].mean() for inside, places in zip(region, order)])


def pointing_game(strength: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Whether the strongest pixel lies inside (Zhang et al. 2018)."""
    return region[np.arange(len(region)), strength.argmax(1)].astype(float)


def auprc(strength: np.ndarray, region: np.ndarray) -> np.ndarray:
    """Average precision of the map as a detector of the region's pixels."""
    from sklearn.metrics import average_precision_score

    return np.array([average_precision_score(inside, values) for values, inside in zip(strength, region)])


POINTING: Mapping[str, Pointing] = {"auprc": auprc, "mass": mass, "lift": lift, "rank_accuracy": rank_accuracy, "pointing_game": pointing_game}


def baselines(x: torch.Tensor, twin: torch.Tensor, *, names: list[str], seed: int) -> dict[str, torch.Tensor]:
    """Maps (N, C, [D,] H, W) that no classifier had a part in: noise, the edges of the image, and the plain change."""
    from scipy import ndimage

    noise = normal(tuple(x.shape[1:]), seed=seed, identities=names, stream="map")
    slopes = [ndimage.sobel(x.numpy(), axis=axis) for axis in range(2, x.ndim)]
    return {"random": noise, "edges": torch.from_numpy(np.sqrt(sum(slope**2 for slope in slopes))), "the change itself": twin - x}


def strengths(found: torch.Tensor) -> np.ndarray:
    """(N, pixels) magnitudes, channels summed."""
    return found.abs().sum(1).flatten(1).numpy().astype(float)


def likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(N,) rank correlation of two maps of magnitudes (Spearman), row by row; 0 where one of them is flat."""
    from scipy.stats import rankdata

    first, second = (rankdata(part, axis=1) for part in (one, other))
    first, second = (part - part.mean(1, keepdims=True) for part in (first, second))
    spread = np.sqrt((first**2).sum(1) * (second**2).sum(1))
    return np.where(spread > 0, (first * second).sum(1) / np.maximum(spread, 1e-12), 0.0)
