"""Near copies of training images, known as they are made."""
from dataclasses import dataclass

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.errors import DataError
from synthkit.metrics.copying.eye import PixelEye
from synthkit.metrics.copying.search import Gallery
from synthkit.metrics.copying.tail import FEWEST, Tail, isolation

NEXT = 10  # patients that the nearest one is compared with
MOST = 2_000  # training images that the limit is taken from
LEVEL = 1e-3  # share of new patients that would be rejected; a verdict asks for more


@dataclass(frozen=True, eq=False)
class CopyGuard:
    """Knows near copies of a cohort's images: nearer to one patient, against the next ones, than real patients are to each other.

    Args:
        gallery: the images that may not be given away.
        tail: the limit, from the nearest other patients of these images themselves.
    """

    gallery: Gallery
    tail: Tail

    @staticmethod
    def of(train: Cohort) -> "CopyGuard":
        """Calibrated on at most 2,000 training images, each against all other patients.

        Raises:
            DataError: fewer than 20 patients.
        """
        patients = train.table["patient_id"].nunique()
        if patients < FEWEST:
            raise DataError(f"reject_copies_of: {patients} patient(s) are too few to know how near two patients come; give {FEWEST} or more")
        gallery = Gallery.of(PixelEye(train.space.dims), train)
        some = train[np.sort(permutation(len(train), seed=0, identity="rows", stream="copy guard")[:MOST])]
        found = gallery.nearest(some, count=compared(train), others_only=True)
        return CopyGuard(gallery, Tail.of(isolation(found), some.table["patient_id"].to_numpy(), level=LEVEL))

    def copies(self, images: Cohort) -> np.ndarray:
        """(N,) which images are near copies."""
        return isolation(self.gallery.nearest(images, count=compared(self.gallery.cohort))) > self.tail.limit


def compared(train: Cohort) -> int:
    """How many patients are looked for: the nearest, and those that it is compared with."""
    return 1 + min(NEXT, train.table["patient_id"].nunique() - 2)
