"""OrganFinder: a fitted segmenter, or any torch module that stands for one."""
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.space import Space
from synthkit.errors import DataError, LeakageError

BLOCK = 64


@dataclass(frozen=True, eq=False, repr=False)
class OrganFinder:
    """Finds organs in images.

    Args:
        module: (N, C, [D,] H, W) in [-1, 1] to logits (N, organs, [D,] H, W); a pixel belongs to an organ where its logit is above 0.
        organs: their names, in the order of the module's outputs.
        space: the images it expects.
        patients: whom it was trained on; they may not be scored.
        trained: how it was made.
    """

    module: nn.Module
    organs: tuple[str, ...]
    space: Space
    patients: frozenset[str] = frozenset()
    trained: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        source = self.trained.get("source", "outside synthkit")
        return f"OrganFinder of {', '.join(self.organs)} in {self.space.shape} images, trained on {source} ({len(self.patients)} patients)"

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def outline(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Boolean masks (N, [D,] H, W) by organ of images (N, C, [D,] H, W) in [-1, 1], on the CPU."""
        if tuple(images.shape[1:]) != self.space.shape:
            raise DataError(f"this segmenter reads {self.space.shape} images, got {tuple(images.shape[1:])}; load them with size={self.space.size[-1]}")
        self.module.eval()
        with torch.no_grad():
            parts = [self.module(images[i : i + BLOCK].to(self.device)).cpu() > 0 for i in range(0, len(images), BLOCK)]
        found = torch.cat(parts) if parts else torch.zeros(0, len(self.organs), *self.space.size, dtype=torch.bool)
        if found.shape[1:] != (len(self.organs), *self.space.size):
            raise DataError(f"the segmenter's module gave {tuple(found.shape[1:])}; it must give logits ({len(self.organs)} organs, {self.space.size})")
        return {organ: found[:, number] for number, organ in enumerate(self.organs)}

    def masks(self, cohort: Cohort) -> dict[str, torch.Tensor]:
        """Boolean masks (N, [D,] H, W) by organ of a cohort, row by row; DataError for images of another size or other channels."""
        self.require_fit(cohort)
        blocks = [self.outline(cohort.images.tensor(range(i, min(i + BLOCK, len(cohort))))) for i in range(0, len(cohort), BLOCK)]
        blocks = blocks or [self.outline(torch.empty(0, *self.space.shape))]
        return {organ: torch.cat([block[organ] for block in blocks]) for organ in self.organs}

    def require_fit(self, cohort: Cohort) -> None:
        """Raise DataError unless the cohort's images are of this segmenter's size and channels."""
        if not cohort.space.matches(self.space):
            raise DataError(
                f"this segmenter cannot read the cohort: {self.space.difference(cohort.space)}; load it with size={self.space.size[-1]} "
                "and the same channels and window, or fit a segmenter on such images"
            )

    def score(self, cohort: Cohort, masks: Mapping[str, torch.Tensor], *, times: int = 200) -> pd.DataFrame:
        """Mean Dice coefficient of each organ with a 95 % patient-bootstrap interval, over the images that show the organ.

        Args:
            masks: organ to (N, [D,] H, W) booleans; organs that were not learnt, or that no image shows, are left out.
        Returns:
            DataFrame organ, measure, value, low, high, n.
        Raises:
            LeakageError: a patient of the training cohort is among those scored.
        """
        both = sorted(self.patients & set(cohort.table["patient_id"]))
        if both:
            raise LeakageError(f"{len(both)} patient(s) of the cohort were trained on (first: {both[0]!r}); split by patient before fitting")
        truth, found, rows = checked(masks, cohort), self.masks(cohort), []
        for organ in [name for name in self.organs if name in truth and truth[name].any()]:
            shown = truth[organ].flatten(1).any(1).numpy()
            each, units = dice(found[organ], truth[organ])[shown], cohort.table["patient_id"].to_numpy()[shown]
            low, high = bootstrap(lambda r, each=each: float(each[r].mean()), units, times=times)
            rows.append((organ, "Dice", float(each.mean()), low, high, len(each)))
        return pd.DataFrame(rows, columns=["organ", "measure", "value", "low", "high", "n"])


def dice(found: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """(N,) overlap 2 |A and B| / (|A| + |B|) of boolean masks (Dice 1945); 1 where both are empty."""
    both, sizes = (found & truth).flatten(1).sum(1).double(), (found.flatten(1).sum(1) + truth.flatten(1).sum(1)).double()
    return torch.where(sizes > 0, 2 * both / sizes.clamp(min=1), 1.0).numpy()


def checked(masks: Mapping[str, torch.Tensor], cohort: Cohort) -> dict[str, torch.Tensor]:
    """The masks as booleans, one per image of the cohort; DataError names the first that does not fit."""
    if not isinstance(masks, Mapping) or not masks:
        raise DataError("masks: give a dictionary of organ name to (N, [D,] H, W) booleans, with one organ or more")
    shape, fine = (len(cohort), *cohort.space.size), {}
    for organ, mask in masks.items():
        mask = torch.as_tensor(mask)
        if tuple(mask.shape) != shape:
            raise DataError(f"masks of {organ}: shape {tuple(mask.shape)}, but the cohort needs {shape} (images, [depth,] height, width)")
        if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
            raise DataError(f"masks of {organ} hold other values than 0 and 1; give one boolean mask per organ, such as labels == 3")
        fine[str(organ)] = mask.bool()
    return fine
