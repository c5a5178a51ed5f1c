"""Known faults in growing degree, to find out what a metric notices before it is believed."""
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import generator, normal, permutation
from synthkit.errors import DataError
from synthkit.metrics.naming import setting_name


class Corruption(ABC):
    """A fault that is put into a cohort; concrete ones are frozen dataclasses.

    `degrees` are the steps it is tried in, in `unit`.
    """

    unit: ClassVar[str]
    degrees: ClassVar[tuple[float, ...]]

    @property
    def name(self) -> str:
        """The class and every setting that is not the default: "Copies", "Copies(copied=20)"."""
        return setting_name(self)

    @abstractmethod
    def apply(self, cohort: Cohort, degree: float, *, seed: int) -> Cohort:
        """The cohort with the fault; the degree 0 leaves its images and labels as they are."""


def _with_pixels(cohort: Cohort, images: torch.Tensor, **step: object) -> Cohort:
    return Cohort.of(
        cohort.space.to_raw(images), cohort.table, schema=cohort.schema, space=cohort.space, provenance=cohort.provenance.step(**step), notes=cohort.notes
    )


@dataclass(frozen=True)
class Blur(Corruption):
    """A Gaussian blur."""

    unit = "pixels (SD)"
    degrees = (0.3, 0.5, 0.8, 1.2)

    def apply(self, cohort: Cohort, degree: float, *, seed: int) -> Cohort:
        from scipy.ndimage import gaussian_filter

        images = cohort.images.tensor().numpy()
        return _with_pixels(cohort, torch.from_numpy(gaussian_filter(images, (0, 0, *(degree,) * cohort.space.dims))), blur=degree)


@dataclass(frozen=True)
class Noise(Corruption):
    """Independent normal noise in every pixel."""

    unit = "share of the window (SD)"
    degrees = (0.005, 0.01, 0.02, 0.05)

    def apply(self, cohort: Cohort, degree: float, *, seed: int) -> Cohort:
        grain = normal(cohort.space.shape, seed=seed, identities=cohort.table["image_id"], stream="corruption noise")
        return _with_pixels(cohort, cohort.images.tensor() + 2 * degree * grain, noise=degree)


@dataclass(frozen=True)
class ModeDropping(Corruption):
    """Images of one level of a category are lost; what is left has the same size at every degree.

    Args:
        factor, level: what is lost.
    """

    factor: str
    level: str
    unit = "share of the level lost"
    degrees = (0.25, 0.5, 0.75, 1.0)

    def apply(self, cohort: Cohort, degree: float, *, seed: int) -> Cohort:
        order = permutation(len(cohort), seed=seed, identity="order", stream="mode dropping")
        hit = (cohort.table[self.factor].iloc[order] == self.level).to_numpy()
        if not 0 < hit.sum() < len(cohort):
            raise DataError(f"{self.factor}: {hit.sum()} of {len(cohort)} images are {self.level!r}; give a level that some images have and others lack")
        lost = np.flatnonzero(hit)[: round(degree * hit.sum())]
        return cohort[np.sort(np.delete(order, lost)[: int((~hit).sum())])]


@dataclass(frozen=True)
class Copies(Corruption):
    """Images are replaced by copies of a few others.

    Args:
        copied: how many others; fewer than the cohort has images.
    """

    copied: int = 5
    unit = "share of the set"
    degrees = (0.1, 0.25, 0.5, 0.9)

    def __post_init__(self) -> None:
        if self.copied < 1:
            raise DataError(f"Copies: copied={self.copied} leaves nothing to copy; give at least 1")

    def apply(self, cohort: Cohort, degree: float, *, seed: int) -> Cohort:
        if self.copied >= len(cohort):
            raise DataError(f"Copies: copied={self.copied} images of {len(cohort)} leave none to replace; give fewer than the cohort has")
        order = permutation(len(cohort), seed=seed, identity="order", stream="duplicates")
        count = min(round(degree * len(cohort)), len(cohort) - self.copied)
        kept = order[: len(cohort) - count]
        copies = kept[generator(seed, "which", "duplicates").integers(0, self.copied, size=count)]
        twice = replace(cohort, images=cohort.images.take(copies), table=cohort.table.iloc[copies].assign(image_id=[f"copy-{i}" for i in range(count)]))
        return cohort[kept] + twice if count else cohort[kept]


@dataclass(frozen=True)
class LabelShuffling(Corruption):
    """What the table says of some images is exchanged among them."""

    unit = "share of the rows"
    degrees = (0.25, 0.5, 0.75, 1.0)

    def apply(self, cohort: Cohort, degree: float, *, seed: int) -> Cohort:
        chosen = permutation(len(cohort), seed=seed, identity="rows", stream="label shuffling")[: round(degree * len(cohort))]
        order = np.arange(len(cohort))
        order[chosen] = chosen[permutation(len(chosen), seed=seed, identity="order", stream="label shuffling")]
        own = cohort.table[["image_id", "patient_id"]]
        said = cohort.table.drop(columns=list(own)).iloc[order].reset_index(drop=True)
        return replace(cohort, table=own.join(said), provenance=cohort.provenance.step(shuffled=degree))
