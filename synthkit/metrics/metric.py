"""What a metric is: a frozen dataclass that turns two sets of features, or of images, into one number."""
from abc import ABC, abstractmethod
from hashlib import blake2b
from typing import ClassVar

import numpy as np
import torch

from synthkit.core.randomness import permutation
from synthkit.errors import DataError
from synthkit.metrics.naming import setting_name

BEYOND = 1.01  # what rounding may leave outside [-1, 1]


class Metric(ABC):
    """A distance or share between a real and a fake set; concrete ones are frozen dataclasses of a `FeatureMetric` or an `ImageMetric`.

    `better` is "lower" or "higher", `alone` says that only the fake set is looked at (diversity), `limits` where it can lie,
    `share` that it is a share of the images (so that Wilson's interval holds for it), `halves` from how many random halves its
    interval is taken.
    """

    better: ClassVar[str]
    alone: ClassVar[bool] = False
    share: ClassVar[bool] = False
    halves: ClassVar[int] = 60
    limits: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    def least(self, width: int) -> int:
        """How many rows of `width` features each set must have."""
        return 2

    @property
    def name(self) -> str:
        """The class and every setting that is not the default, so that scores of different settings stay apart: "Precision(k=3)"."""
        return setting_name(self)

    @abstractmethod
    def compare(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The score of two sets of rows, one row per image: features, or an `ImageMetric`'s own descriptions."""

    @abstractmethod
    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The score of two sets as they are given: features for a `FeatureMetric`, images for an `ImageMetric`."""


class FeatureMetric(Metric):
    """A metric of features, whichever extractor they come from."""

    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The score of (N, d) real and (M, d) fake features."""
        return self.compare(real, fake)


class ImageMetric(Metric):
    """A metric that describes images by itself, so that no encoder stands between.

    `origin` is the name of its description and stands where scores of features name their extractor; `smallest` is how many
    pixels it needs along each axis.
    """

    origin: ClassVar[str]
    smallest: ClassVar[int] = 2

    @abstractmethod
    def describe(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, [D,] H, W) in [-1, 1] to one description per image, (N, ...); an image's own does not depend on the others."""

    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The score of (N, C, [D,] H, W) real and (M, C, [D,] H, W) fake images in [-1, 1]."""
        real, fake = two_sets(real, fake, least=self.least(0), images=True)
        return self.compare(self.describe(real), self.describe(fake))


def two_sets(
    real: torch.Tensor, fake: torch.Tensor, *, least: int, images: bool = False, single: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sets checked: finite, at least `least` rows each, and of one width or image shape.

    Features (N, d) come back as float64 on the CPU (with `single`, those of 32 bits or fewer as float32), images
    (N, C, [D,] H, W) as float32.
    """
    sets = []
    what, axes = ("images (N, C, [D,] H, W)", (4, 5)) if images else ("a feature matrix (N, d)", (2,))
    for name, rows in (("real", real), ("fake", fake)):
        rows = torch.as_tensor(rows).detach()
        if rows.ndim not in axes or len(rows) < least:
            raise DataError(f"{name}: {what} with N >= {least} is needed, got {tuple(rows.shape)}")
        if not rows.isfinite().all():
            raise DataError(f"{name}: the {'images' if images else 'features'} hold NaN or infinite values; check the extractor and the images")
        few_bits = images or single and rows.is_floating_point() and rows.itemsize <= 4
        sets.append(rows.to(rows.device if images else "cpu", torch.float32 if few_bits else torch.float64))
    if images and max(float(rows.abs().max()) for rows in sets) > BEYOND:
        raise DataError("images in [-1, 1] are needed, as cohort.images gives them; bring raw intensities there first")
    if images and sets[0].shape[1:] != sets[1].shape[1:]:
        raise DataError(f"real images are {tuple(sets[0].shape[1:])} and fake ones {tuple(sets[1].shape[1:])}; bring both to one shape")
    if sets[0].shape[1] != sets[1].shape[1]:
        raise DataError(f"real has {sets[0].shape[1]} features and fake has {sets[1].shape[1]}; use one extractor for both")
    return (sets[0], sets[1]) if sets[0].dtype == sets[1].dtype else (sets[0].double(), sets[1].double())


def by_content(rows: torch.Tensor) -> np.ndarray:
    """A shuffled order of the rows that depends on their content alone, for metrics that pair or fold them."""
    digests = [blake2b(row.numpy().astype(np.float64).tobytes(), digest_size=16).hexdigest() for row in rows.detach().cpu()]
    # Sorted digests would put copies side by side, and every copy into a pair with itself.
    return np.argsort(digests, kind="stable")[permutation(len(digests), seed=0, identity="rows", stream="content")]
