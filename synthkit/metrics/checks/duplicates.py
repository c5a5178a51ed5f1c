"""Images of a cohort that are copies of one another, exact or nearly so."""
from dataclasses import dataclass
from math import inf

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import pixel_digest
from synthkit.core.randomness import permutation
from synthkit.metrics.checks.limits import FEWEST, MARGIN, QUANTILE
from synthkit.metrics.checks.measuring import row_blocks
from synthkit.metrics.checks.orientation import standardised

BLOCK = 512
MOST = 5_000  # real images that the limits are taken from
SIDE = {2: 16, 3: 8}
ABSOLUTE = 0.9  # correlation, without real images


@dataclass(frozen=True)
class Duplicates:
    """Finds copies within a cohort; of each group the first image is kept.

    Two images are exact copies when their stored integers are equal. Images of different patients are near copies when, shrunk,
    standardised and whitened, they correlate more, and lie nearer, than two real patients ever do. Distance stands beside
    correlation because a fault that all images share makes them correlate, yet does not bring them together.

    Args:
        correlation: limit of your own; None takes it from the real images.
    """

    correlation: float | None = None

    def limits(self, real: "Neighbours | None") -> "Near":
        """The limits, from the nearest images of other patients in a real cohort.

        The 99 % quantile of the correlation, moved on from the median by half its distance (on Fisher's z scale), and the 1 %
        quantile of the distance, moved on by a quarter (by ratio), since an image must be beyond both.
        """
        if real is None or len(real.correlation) < FEWEST:
            return Near(ABSOLUTE if self.correlation is None else self.correlation, inf)
        correlation = np.tanh(_beyond(np.arctanh(np.clip(real.correlation, -0.999999, 0.999999)), MARGIN))
        distance = np.exp(-_beyond(-np.log(np.maximum(real.distance, 1e-6)), MARGIN / 2))
        return Near(float(correlation) if self.correlation is None else self.correlation, float(distance))


def _beyond(values: np.ndarray, margin: float) -> float:
    end = np.quantile(values, 1 - QUANTILE, method="higher")
    return end + (margin + FEWEST / 2 / len(values)) * (end - np.median(values))


@dataclass(frozen=True)
class Near:
    """What makes two images near copies: a correlation above, and a distance below."""

    correlation: float
    distance: float


@dataclass(frozen=True, eq=False)
class Neighbours:
    """(N,) correlation and distance of each image to the nearest one of another patient."""

    correlation: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True, eq=False)
class Whitening:
    """The map that makes the directions in which images differ count alike (Mahalanobis), learnt from some images."""

    mean: torch.Tensor
    matrix: torch.Tensor

    @staticmethod
    def of(small: torch.Tensor) -> "Whitening":
        """From (N, d) shrunk images; variances are raised by their mean, so that noise is not blown up."""
        mean = small.mean(0)
        variance, directions = torch.linalg.eigh((small - mean).T @ (small - mean) / len(small))
        variance = variance.clamp(min=0)
        return Whitening(mean, directions * (variance + variance.mean() + 1e-12).rsqrt())

    def __call__(self, small: torch.Tensor) -> torch.Tensor:
        """(N, d) whitened; a constant image stays zero, and is near to none."""
        return torch.where(small.norm(dim=1, keepdim=True) > 0, (small - self.mean) @ self.matrix, 0.0)


def shrunk(cohort: Cohort) -> torch.Tensor:
    """(N, d) shrunk and standardised images."""
    return torch.cat([standardised(cohort.images.tensor(rows), SIDE[cohort.space.dims]) for rows in row_blocks(cohort)])


def _near(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, m) correlations and distances of rows."""
    product, norms = a @ b.T, (a.norm(dim=1), b.norm(dim=1))
    distance = (norms[0].square()[:, None] + norms[1].square()[None] - 2 * product).clamp(min=0).sqrt()
    return product / (norms[0][:, None] * norms[1][None]).clamp(min=1e-12), distance


def neighbours(features: torch.Tensor, units: np.ndarray) -> Neighbours:
    """The nearest images of other patients, of at most 5,000 images."""
    rows = np.sort(permutation(len(features), seed=0, identity="rows", stream="duplicates")[:MOST])
    features, codes, parts = features[rows], torch.from_numpy(np.unique(units[rows], return_inverse=True)[1]), []
    for start in range(0, len(features), BLOCK):
        same = codes[start : start + BLOCK, None] == codes[None]
        correlation, distance = _near(features[start : start + BLOCK], features)
        parts.append((correlation.masked_fill(same, -1.0).amax(1), distance.masked_fill(same, inf).amin(1)))
    return Neighbours(*(torch.cat(part).double().numpy() for part in zip(*parts)))


def copies(features: torch.Tensor, units: np.ndarray, exact: np.ndarray, near: Near) -> tuple[np.ndarray, np.ndarray]:
    """How alike each image is to the most alike earlier image that is kept, and the row of that one where it is a copy (-1: none).

    Args:
        features: (N, d) whitened images.
        units: (N,) patients; two images of one patient are copies only when they are exact ones.
        exact: (N,) row of the first image with the same stored integers.
    """
    count, codes = len(features), torch.from_numpy(np.unique(units, return_inverse=True)[1])
    value, partner, kept = np.full(count, np.nan), np.full(count, -1), torch.zeros(count, dtype=torch.bool)
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        correlation, distance = _near(features[start:stop], features[:stop])
        correlation.masked_fill_(codes[start:stop, None] == codes[None, :stop], -2.0)
        # Row by row, since whether an image counts depends on whether the ones before it were kept.
        for row in range(start, stop):
            if exact[row] != row:
                first = exact[row]
                value[row], partner[row] = (1.0, first) if partner[first] < 0 else (value[first], partner[first])
                continue
            alike = correlation[row - start, :row].masked_fill(~kept[:row], -2.0)
            close = alike.masked_fill(distance[row - start, :row] > near.distance, -2.0)
            if row and float(close.amax()) > near.correlation:
                value[row], partner[row] = float(close.amax()), int(close.argmax())
            elif row and float(alike.amax()) > -2:
                value[row] = float(alike.amax())
            kept[row] = bool(partner[row] < 0)
    return value, partner


def same_integers(cohort: Cohort) -> np.ndarray:
    """(N,) row of the first image with the same stored integers."""
    first: dict[str, int] = {}
    digests = (pixel_digest(image) for rows in row_blocks(cohort) for image in cohort.images.raw(rows))
    return np.array([first.setdefault(name, row) for row, name in enumerate(digests)], int)
