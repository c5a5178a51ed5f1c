"""A nodule drawn into images by the physics of its shadow, with no generator."""
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance, canonical, digest
from synthkit.errors import DataError
from synthkit.explanation.counterfactual import Counterfactual

FINE = 4  # samples per pixel side: a rim that cuts a pixel counts by its share


def draw_nodule(
    cohort: Cohort, do: Mapping[str, Any], *, at: Sequence[float] | np.ndarray, radius: float, contrast: float = 0.07
) -> Counterfactual:
    """Add the shadow of a ball to every image; all stored values outside it stay what they were.

    Radiographs are logarithmic: a ball adds its path length, a half ellipse across its disc, to their grey levels. That is exact but for
    scattered light, blur, and where the film saturates. In volumes the ball itself is added. A negative contrast takes a nodule away.

    Args:
        do: the factors that the drawing makes true, such as {"nodule": "present"}.
        at: the centre as an index, (row, column) or (depth, row, column), one for all images or one per image (N, 2 or 3).
        radius: pixels.
        contrast: at the centre, as a share of the image range; a solid nodule of 24 mm on a chest film has about .07.
    Returns:
        Counterfactual: `reconstruction` is the original, since nothing was inverted.
    Raises:
        DataError: no images, more than one channel, a centre outside the image, numbers that draw nothing, or a shadow added to make a finding absent.
        SchemaError: unknown factor or impossible value in `do`.

    Example:
        sk.draw_nodule(films, {"nodule": "present"}, at=(30, 20), radius=3)
    """
    inside_share = _checked(cohort, do, at, radius, contrast)
    inside = inside_share > 0
    raw, drawn = cohort.images.raw(), cohort.images.tensor() + 2 * contrast * torch.from_numpy(inside_share)[:, None]
    stored = np.where(inside[:, None], cohort.space.to_raw(drawn.clamp(-1, 1)), raw).astype(raw.dtype)
    made_by = {"drawn": "nodule", "at": np.asarray(at, float).tolist(), "radius": radius, "contrast": contrast,
               "do": {name: str(value) for name, value in do.items()}}  # fmt: skip
    rows = cohort.schema.do(cohort.table, do)
    names = [f"edit-{digest(canonical([name, made_by]))[:16]}" for name in rows["image_id"]]
    rows = rows.assign(source_id=rows["image_id"], image_id=names, round_trip=0.0)
    origin = Provenance("edited", "drawn nodule", recipe=made_by, licence=cohort.provenance.licence, parents=(cohort.provenance,))
    edited = Cohort(Pixels([stored], cohort.space), rows, cohort.schema, origin, cohort.notes)
    return Counterfactual(cohort, cohort, edited, dict(do), inside=inside)


def _checked(cohort: Cohort, do: Mapping[str, Any], at: Sequence[float] | np.ndarray, radius: float, contrast: float) -> np.ndarray:
    """The share of the contrast at every pixel, float32 (N, [D,] H, W)."""
    require_kind("cohort", cohort, Cohort, "the images to draw into, as a cohort")
    require_kind("do", do, Mapping, 'the factors that it makes true, such as {"nodule": "present"}')
    require_number("radius", radius, "pixels, such as 3")
    require_number("contrast", contrast, "a share of the image range, such as .1")
    size = cohort.space.size
    if not len(cohort):
        raise DataError("draw_nodule: the cohort is empty; a .where(...) may have left nothing")
    if len(cohort.space.channels) > 1:
        raise DataError(f"draw_nodule: images of {len(cohort.space.channels)} channels; give images of one")
    gone = [name for name, value in do.items() if str(value) == "absent"]
    if gone and contrast > 0:
        raise DataError(f"do: {gone[0]} → absent, but contrast={contrast} adds a shadow; a negative contrast takes one away")
    centres = np.asarray(at, float)
    if centres.shape not in ((len(size),), (len(cohort), len(size))):
        raise DataError(f"at: shape {centres.shape}, and {len(cohort)} images of {size} need one centre of {len(size)} numbers, or one per image")
    centres = np.broadcast_to(centres, (len(cohort), len(size)))
    if not ((centres >= -0.5) & (centres <= np.array(size) - 0.5)).all():
        out = centres[~((centres >= -0.5) & (centres <= np.array(size) - 0.5)).all(1)][0].tolist()
        raise DataError(f"at: the centre {out} lies outside the image; rows and columns go from 0 to {', '.join(str(side - 1) for side in size)}")
    if not radius >= 0.5 or not 0 < abs(contrast) <= 1:
        raise DataError(f"radius={radius}, contrast={contrast}: the radius is half a pixel or more, the contrast lies in -1..1 and is not 0")
    return np.stack([_shares(size, centre, radius) for centre in centres])


def _shares(size: tuple[int, ...], centre: np.ndarray, radius: float) -> np.ndarray:
    """Path length through the ball at each pixel of a film, or its share of each voxel, 1 at the centre."""
    fine = (np.arange(FINE) + 0.5) / FINE - 0.5
    squares = [((np.arange(side)[:, None] + fine - middle) / radius).ravel() ** 2 for side, middle in zip(size, centre)]
    rest = 1 - sum(np.meshgrid(*squares, indexing="ij", sparse=True))
    full = np.sqrt(rest.clip(min=0)) if len(size) == 2 else (rest > 0).astype(float)
    return full.reshape([part for side in size for part in (side, FINE)]).mean(tuple(range(1, 2 * len(size), 2))).astype(np.float32)
