"""How much of each set lies inside the k-nearest-neighbour balls of the other: precision, recall, density, coverage."""
from collections import OrderedDict
from dataclasses import dataclass
from hashlib import blake2b
from threading import Lock

import numpy as np
import torch

from synthkit.errors import DataError
from synthkit.metrics.distances import BLOCK, Cloud, clouds, exact, fast, nearest
from synthkit.metrics.metric import FeatureMetric, two_sets

SPARE = 10  # rows beyond the k nearest that are looked at before the distances to all are made exact
REMEMBERED = 512


@dataclass(frozen=True)
class Neighbourhood:
    """Four shares from one pass over all pairs (Naeem et al. 2020)."""

    precision: float
    recall: float
    density: float
    coverage: float


_KNOWN: OrderedDict[bytes, Neighbourhood] = OrderedDict()  # a few numbers per pair of sets; never the sets
_ONE_AT_A_TIME = Lock()


def prdc(real: torch.Tensor, fake: torch.Tensor, *, k: int = 5) -> Neighbourhood:
    """Precision, recall, density and coverage of (N, d) real and (M, d) fake features.

    A ball's radius is the Euclidean distance to the k-th nearest row of the own set, the row itself not counted; its rim is
    outside. Every comparison is decided as by float64 differences: fast distances are trusted only beyond their error.

    Raises:
        DataError: k or fewer rows in a set.
    """
    real, fake = two_sets(real, fake, least=1, single=True)
    if not 1 <= k < min(len(real), len(fake)):
        raise DataError(f"k = {k} neighbours need k >= 1 and more than k images a side, got {len(real)} real and {len(fake)} fake")
    x, y = real.numpy(), fake.numpy()
    # The four are asked for one after the other, and again on every resample.
    name = b"".join(blake2b(np.ascontiguousarray(rows), digest_size=16).digest() for rows in (x, y)) + f"{k} {x.shape} {x.dtype}".encode()
    with _ONE_AT_A_TIME:
        found = _KNOWN.get(name)
    if found is None:
        found = _counted(*clouds(x, y), k)
        with _ONE_AT_A_TIME:
            _KNOWN[name] = found
            while len(_KNOWN) > REMEMBERED:
                _KNOWN.popitem(last=False)
    return found


def _counted(real: Cloud, fake: Cloud, k: int) -> Neighbourhood:
    real_balls, fake_balls = _radii(real, k), _radii(fake, k)
    doubt = real.error()
    reached, counts, covered = 0, np.zeros(len(fake), np.int64), np.zeros(len(real), bool)
    for start in range(0, len(real), BLOCK):
        rows = slice(start, min(start + BLOCK, len(real)))
        distances = fast(real, fake, rows)
        pairs = (real, fake, start, distances, doubt[rows])
        inside = _inside(*pairs, real_balls[rows, None])
        counts += inside.sum(0)
        covered[rows] = inside.any(1)
        reached += int(_inside(*pairs, fake_balls[None]).any(1).sum())
    return Neighbourhood(float((counts > 0).mean()), reached / len(real), float(counts.sum() / (k * len(fake))), float(covered.mean()))


def _inside(a: Cloud, b: Cloud, start: int, distances: np.ndarray, doubt: np.ndarray, balls: np.ndarray) -> np.ndarray:
    """Which distances lie below the squared radii, (rows, 1) of a or (1, columns) of b."""
    scaled = (balls * a.scale**2).astype(np.float32)
    inside = distances < scaled - doubt
    # Nothing is nearer than a ball of radius zero, so copies need no second look.
    i, j = np.nonzero((distances <= scaled + doubt) & ~inside & (balls > 0))
    inside[i, j] = exact(a, start + i, b, j) < np.broadcast_to(balls, inside.shape)[i, j]
    return inside


def _radii(cloud: Cloud, k: int) -> np.ndarray:
    """(N,) squared distances to the k-th nearest other row, exact, in the units given."""
    count, everyone = min(k + 1 + SPARE, len(cloud)), np.arange(len(cloud))
    far, near = nearest(cloud, count)
    # A row is its own nearest, at zero: the k-th other one stands at place k. Both it and its rivals are off by one error
    # at most, so that only what lies within two of its place can take it.
    gap = far - far[:, k : k + 1]
    rival = np.abs(gap) <= 2 * cloud.error()
    i, j = np.nonzero(rival)
    found = np.where(gap < 0, -np.inf, np.inf)
    found[i, j] = exact(cloud, i, cloud, near[i, j])
    radii = np.partition(found, k, axis=1)[:, k]
    for row in np.flatnonzero(rival[:, -1] & (radii > 0) & (count < len(cloud))):
        # Too many rivals to be sure that none was missed.
        radii[row] = np.partition(exact(cloud, np.full(len(cloud), row), cloud, everyone), k)[k]
    return radii


@dataclass(frozen=True)
class NeighbourMetric(FeatureMetric):
    """A score from k-nearest-neighbour balls.

    Args:
        k: neighbours that set each ball's radius.
    """

    k: int = 5
    better = "higher"
    limits = (0.0, 1.0)
    share = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise DataError(f"{type(self).__name__}: k={self.k} neighbours make no ball; give at least 1")

    def least(self, width: int) -> int:
        return self.k + 1


@dataclass(frozen=True)
class Precision(NeighbourMetric):
    """Share of fake images inside the k-nearest-neighbour ball of a real one (Kynkäänniemi et al. 2019).

    One outlier among the real images makes one ball very large; one good image repeated scores high: nothing is said about
    diversity.
    """

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        return prdc(real, fake, k=self.k).precision


@dataclass(frozen=True)
class Recall(NeighbourMetric):
    """Share of real images inside the k-nearest-neighbour ball of a fake one (Kynkäänniemi et al. 2019).

    Scattered fakes have large balls: noise can raise it.
    """

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        return prdc(real, fake, k=self.k).recall


@dataclass(frozen=True)
class Density(NeighbourMetric):
    """Mean number of real images whose k-nearest-neighbour ball holds a fake one, divided by k (Naeem et al. 2020).

    About 1 for equal distributions, and above 1 where the fakes crowd in the densest places: nothing is said about diversity.
    """

    limits = (0.0, float("inf"))
    share = False

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        return prdc(real, fake, k=self.k).density


@dataclass(frozen=True)
class Coverage(NeighbourMetric):
    """Share of real images with a fake one inside their k-nearest-neighbour ball (Naeem et al. 2020).

    It saturates when there are many more fakes than reals.
    """

    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        return prdc(real, fake, k=self.k).coverage
