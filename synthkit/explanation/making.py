"""All pictures that an edit's soundness is read from: the edit, its way back, and the baselines that cost nothing."""
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.pixels import Pixels
from synthkit.core.randomness import normal
from synthkit.core.schema import Category
from synthkit.explanation.edits import Edit
from synthkit.generators.editing import after
from synthkit.generators.generator import Generator

NEAR = 0.1  # of a quantity's range: who is that near to the wanted value shows it


@dataclass(frozen=True, eq=False)
class Made:
    """Pictures of one edit, float (N, C, [D,] H, W) in [-1, 1], row by row of the same images.

    Args:
        start: the originals.
        raw: their raw reconstructions D(z, c).
        edited: the edit, start + D(z, c*) - D(z, c).
        back: D(z, c*) taken back to c, both ways raw.
        redraw: the wanted factors, from other noise.
        neighbour: the most similar other patient who has the wanted value; not a number where there is none.
        exact: the true twins, or None.
    """

    start: torch.Tensor
    raw: torch.Tensor
    edited: torch.Tensor
    back: torch.Tensor
    redraw: torch.Tensor
    neighbour: torch.Tensor
    exact: torch.Tensor | None


def made(generator: Generator, edit: Edit, library: Cohort, *, seed: int) -> Made:
    """The pictures of one edit; the neighbours are looked for in `library`."""
    cohort, do = edit.cohort, {edit.factor: edit.value}
    wanted, start = after(generator, cohort, do), cohort.images.tensor()
    z = generator.encode(cohort)
    raw, there = generator.decode(z, cohort.table), generator.decode(z, wanted)
    space = generator.space.sixteen_bit()
    away = Cohort(Pixels([space.to_raw(there)], space), wanted, cohort.schema, cohort.provenance)
    back = generator.decode(generator.encode(away), cohort.table)
    noise = normal(generator.trained.latent_shape(), seed=seed, identities=wanted["image_id"], stream="redraw")
    exact = None if edit.truth is None else edit.truth.images.tensor()
    edited = (start + there - raw).clamp(-1, 1)
    return Made(start, raw, edited, back, generator.decode(noise, wanted).clamp(-1, 1), _neighbours(edit, library), exact)


def _neighbours(edit: Edit, library: Cohort) -> torch.Tensor:
    """For each image the nearest by squared pixel difference among other patients with the wanted value."""
    start = edit.cohort.images.tensor()
    shows = library[np.flatnonzero(_has(library, edit))]
    if not len(shows):
        return torch.full_like(start, torch.nan)
    images = shows.images.tensor()
    distance = torch.cdist(start.flatten(1), images.flatten(1))
    same = edit.cohort.table["patient_id"].to_numpy()[:, None] == shows.table["patient_id"].to_numpy()[None]
    distance[torch.from_numpy(same)] = torch.inf
    nearest, place = distance.min(1)
    found = images[place]
    found[torch.isinf(nearest)] = torch.nan
    return found


def _has(cohort: Cohort, edit: Edit) -> np.ndarray:
    """(N,) bool: who has the wanted value, or nearly."""
    factor, values = cohort.schema[edit.factor], cohort.table[edit.factor]
    if isinstance(factor, Category):
        return (values == edit.value).to_numpy()
    return ((pd.to_numeric(values) - float(edit.value)).abs() <= NEAR * (factor.high - factor.low)).to_numpy()
