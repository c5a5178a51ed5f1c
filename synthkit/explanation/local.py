"""Edits of one region: a factor changes inside a mask, and every stored value outside it stays what it was."""
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import digest
from synthkit.errors import DataError
from synthkit.explanation.counterfactual import Counterfactual, require_request
from synthkit.generators.editing import after, edit_inside
from synthkit.generators.generator import Generator

Mask = np.ndarray | torch.Tensor


def local_edit(generator: Generator, cohort: Cohort, *, mask: Mask, do: Mapping[str, Any]) -> Counterfactual:
    """Set factors inside a region of every image, and hold all else, bit for bit.

    The surrounding takes part: at every step towards the image it is what it was on the way back, so that the region grows into it.

    Args:
        mask: bool (N, [D,] H, W), a region per image such as `chest.masks(cohort)["right_lung"]`, or ([D,] H, W), one for all.
        do: the factors to set.
    Returns:
        Counterfactual: `edited` is stored as the originals are (uint8 stays uint8).
    Raises:
        DataError: no images, a mask of another shape or kind, or one that is empty for an image.
        AbilityError: a family that does not work on pixels step by step.
        SchemaError: unknown factor or impossible value in `do`.

    Example:
        sk.local_edit(gen, films, mask=chest.masks(films)["right_lung"], do={"lesion": "present", "lesion_radius": 12})
    """
    require_request(generator, cohort, do)
    inside = checked_mask(mask, cohort)
    made_by = {"do": {name: str(value) for name, value in do.items()}, "inside": int(inside.sum()), "mask": digest(inside.tobytes())}
    edited, reconstruction = edit_inside(generator, cohort, after(generator, cohort, do), inside, made_by)
    space = generator.space.sixteen_bit()
    raw = Cohort(Pixels([space.to_raw(reconstruction)], space), cohort.table, cohort.schema, edited.provenance, cohort.notes)
    return Counterfactual(cohort, raw, edited, dict(do), inside=inside)


def checked_mask(mask: Mask, cohort: Cohort) -> np.ndarray:
    """The mask as bool (N, [D,] H, W); DataError for another kind or shape, or an image of which it holds nothing."""
    given, size = np.asarray(mask), cohort.space.size
    if given.dtype.kind not in "bui" or not np.isin(given, (0, 1)).all():
        raise DataError(f"mask: holds {given.dtype} values other than 0 and 1; give a bool array, such as masks > 0.5")
    if given.shape not in (size, (len(cohort), *size)):
        raise DataError(f"mask: shape {given.shape}, and the {len(cohort)} images of {size} need {size} or {(len(cohort), *size)}")
    whole = np.broadcast_to(given.astype(bool), (len(cohort), *size))
    empty = np.flatnonzero(~whole.reshape(len(cohort), -1).any(1))
    if len(empty):
        name = cohort.table["image_id"].iloc[empty[0]]
        raise DataError(f"mask: empty for {len(empty)} image(s) (first: {name!r}), where nothing could change; leave them out or give another region")
    return np.array(whole)
