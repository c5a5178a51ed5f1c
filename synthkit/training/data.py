"""Training images held ready, and which of them stand in which step."""
from collections.abc import Callable
from copy import copy

import numpy as np
import psutil
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.randomness import generator, permutation
from synthkit.errors import FitError

SHARE_OF_MEMORY, MOST_OF_MEMORY = 0.25, 0.8


class TrainingData:
    """Images and condition codes of a cohort, drawn by step number alone.

    Args:
        cohort: the images; held in memory as one tensor when that takes under a quarter of what is free.
        codes: (N, width) condition codes.
        batch_size: rows per step.
        seed: of the order.
        weights: (N,) chances for balanced drawing with replacement; None goes through the images epoch by epoch.
        chooser: gives the rows of a step in the place of all that.
    """

    def __init__(
        self, cohort: Cohort, codes: np.ndarray, *, batch_size: int, seed: int, weights: np.ndarray | None = None,
        chooser: Callable[[], np.ndarray] | None = None,
    ):  # fmt: skip
        if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise FitError(f"batch_size={batch_size!r}: give a whole number, 1 or more")
        if len(cohort) < 4:
            raise FitError(f"{len(cohort)} images are too few to fit on; give at least 4 (a useful generator needs hundreds)")
        self.codes = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32))
        self.count, self.batch_size, self.seed = len(cohort), batch_size, seed
        self.chances, self.chooser = None if weights is None else weights / weights.sum(), chooser
        need = 4 * self.count * int(np.prod(cohort.space.shape))
        held = need < SHARE_OF_MEMORY * psutil.virtual_memory().available
        self.pixels = cohort.images
        self.tensor = cohort.images.tensor() if held else None
        self.dims = cohort.space.dims

    def mapped(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], device: torch.device) -> "TrainingData":
        """The same rows with function(images, codes) in the place of the images, computed once and held in memory."""
        parts = [np.arange(start, min(start + self.batch_size, self.count)) for start in range(0, self.count, self.batch_size)]
        made = None
        with torch.no_grad():
            for rows in parts:
                found = function(*self.take(rows, device)).float().cpu()
                made = self._room(found.shape[1:]) if made is None else made
                made[torch.from_numpy(rows)] = found
        other = copy(self)
        other.tensor, other.dims = made, made.ndim - 2
        return other

    def _room(self, shape: torch.Size) -> torch.Tensor:
        need, free = 4 * self.count * int(np.prod(shape)), psutil.virtual_memory().available
        if need > MOST_OF_MEMORY * free:
            sizes = f"{need / 2**30:.1f} GB and {free / 2**30:.1f} GB are free"
            raise FitError(f"{self.count} latents of {tuple(shape)} need {sizes}; take fewer images, or more downsampling")
        return torch.empty(self.count, *shape)

    def rows(self, step: int) -> np.ndarray:
        """The images of one step; the same for the same seed whatever came before, but for a chooser."""
        if self.chooser is not None:
            return self.chooser()
        if self.chances is not None:
            return generator(self.seed, step, "balanced rows").choice(self.count, self.batch_size, p=self.chances)
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs = places // self.count
        orders = {e: permutation(self.count, seed=self.seed, identity=int(e), stream="epoch") for e in np.unique(epochs)}
        return np.array([orders[e][p % self.count] for e, p in zip(epochs, places)])

    def take(self, rows: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (n, C, [D,] H, W) and codes (n, width) on the device."""
        images = self.pixels.tensor(rows) if self.tensor is None else self.tensor[torch.from_numpy(rows)]
        layout = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        return images.to(device, memory_format=layout, non_blocking=True), self.codes[torch.from_numpy(rows)].to(device, non_blocking=True)


def balance_weights(cohort: Cohort, factor: str) -> np.ndarray:
    """(N,) drawing weights that make every level or group of one factor equally frequent; missing rows keep weight 1 group."""
    groups = cohort.schema.groups(cohort.table, factor).astype(object)
    groups = groups.where(groups.notna(), "missing")
    sizes = groups.value_counts()
    return (1.0 / groups.map(sizes)).to_numpy(float)
