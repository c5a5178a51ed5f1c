"""A feature extractor with a name, since no score means anything without the eye that it was taken with."""
from collections.abc import Callable
from dataclasses import dataclass

import torch

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError

Extractor = Callable[[torch.Tensor], torch.Tensor]
BLOCK = 64


@dataclass(frozen=True)
class Features:
    """A named feature extractor.

    Args:
        name: stands beside every score.
        extract: (N, C, [D,] H, W) in [-1, 1] to (N, d).
    """

    name: str
    extract: Extractor

    def of(self, cohort: Cohort) -> torch.Tensor:
        """(N, d) float64 features of all images of a cohort."""
        return described(cohort, self.extract, name=self.name).flatten(1).double()


def described(cohort: Cohort, extract: Extractor, *, name: str) -> torch.Tensor:
    """What `extract` gives for all images of a cohort, block by block, (N, ...) on the CPU."""
    with torch.no_grad():
        return torch.cat([_block(cohort, range(i, min(i + BLOCK, len(cohort))), extract, name) for i in range(0, len(cohort), BLOCK)])


def _block(cohort: Cohort, rows: range, extract: Extractor, name: str) -> torch.Tensor:
    found = extract(cohort.images.tensor(rows))
    if not isinstance(found, torch.Tensor) or found.ndim < 2 or len(found) != len(rows):
        given = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise DataError(f"the extractor {name!r} must turn {len(rows)} images into a tensor ({len(rows)}, d) of features, it gave {given}")
    return found.cpu()
