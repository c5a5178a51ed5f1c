"""Radiomic features of a batch of images as a table."""
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch

from synthkit.errors import DataError
from synthkit.metrics.radiomics.batch import grey_values, regions_of_interest
from synthkit.metrics.radiomics.filters import FILTERS, filtered
from synthkit.metrics.radiomics.first_order import first_order
from synthkit.metrics.radiomics.glcm import glcm
from synthkit.metrics.radiomics.gldm import gldm
from synthkit.metrics.radiomics.glrlm import glrlm
from synthkit.metrics.radiomics.glszm import glszm
from synthkit.metrics.radiomics.neighbours import directions
from synthkit.metrics.radiomics.ngtdm import ngtdm
from synthkit.metrics.radiomics.region import Region, cropped

CLASSES: dict[str, Callable[[Region], dict[str, torch.Tensor]]] = {
    "firstorder": first_order, "glcm": glcm, "glrlm": glrlm, "glszm": glszm, "gldm": gldm, "ngtdm": ngtdm,
}  # fmt: skip
PIXELS = 2**18  # at a time
CELLS = 2**20  # of co-occurrence matrices at a time


def radiomics(
    images: torch.Tensor | np.ndarray, masks: torch.Tensor | np.ndarray | None = None, *,
    bin_width: float = 25, filters: Sequence[str] = ("original",), classes: Sequence[str] = tuple(CLASSES),
) -> pd.DataFrame:  # fmt: skip
    """93 radiomic features per image and filter, with the definitions, defaults and names of pyradiomics.

    Levels of absolute bin width, neighbours at distance 1, symmetric GLCM, GLCM and GLRLM features as means over 4 (in 3D 13) directions, pixels of
    size 1. What a flat region leaves undefined takes pyradiomics' value (GLCM Correlation 1, NGTDM Coarseness 1e6 ...). Computed on the CPU in float64.

    Args:
        images: (N, 1, [D,] H, W) grey values as stored.
        masks: bool, (N, [D,] H, W) or (N, 1, [D,] H, W); the whole image when left out.
        bin_width: grey values per level.
        filters: of "original", "wavelet" (coif1: LL, LH, HL, HH) and "log" (Laplacian of a Gaussian of 2 and 3 pixels); filters take images only.
        classes: of "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm".
    Returns:
        One row per image; columns such as glcm_Contrast, and wavelet-LH_glcm_Contrast of a filtered image.
    Raises:
        DataError: other shapes, pixels that are not finite, a mask without pixels (for textures, without two that touch), over 1,000 levels.

    Example:
        from synthkit.metrics.radiomics import radiomics

        table = radiomics(cohort.images.raw())
    Source:
        van Griethuysen et al. 2017, Cancer Research 77:e104; Zwanenburg et al. 2020 (IBSI), Radiology 295:328.
    """
    _known("filters", filters, FILTERS)
    _known("classes", classes, CLASSES)
    if not 0 < bin_width < float("inf"):
        raise DataError(f"bin_width={bin_width:g} is not a positive number of grey values per level; 25 is usual for 8-bit images")
    values = grey_values(images)
    inside = regions_of_interest(masks, values, textures=set(classes) != {"firstorder"})
    if masks is not None and set(filters) == {"original"}:
        values, inside = cropped(values, inside)
    parts, step = [], max(1, PIXELS // values[0].numel())
    for block, mask in zip(values.split(step), inside.split(step)):
        columns: dict[str, torch.Tensor] = {}
        for prefix, image in filtered(block.double(), filters).items():
            found = _features(Region.of(image, mask.contiguous(), bin_width=bin_width), classes)
            columns |= {prefix + name: column for name, column in found.items()}
        parts.append(torch.stack(list(columns.values()), 1))
    return pd.DataFrame(torch.cat(parts).numpy(), columns=list(columns))


def _known(what: str, given: Sequence[str], allowed: dict[str, object]) -> None:
    if isinstance(given, str) or not given or not set(given) <= set(allowed):
        raise DataError(f"{what}={given!r}: give a tuple of one or more of {', '.join(allowed)}")


def _features(region: Region, classes: Sequence[str]) -> dict[str, torch.Tensor]:
    groups = list(_alike(region))
    parts = [region.rows(rows) if len(groups) > 1 else region for rows in groups]
    back = torch.cat(groups).argsort()
    columns = {}
    for kind in classes:
        found = [CLASSES[kind](part) for part in parts]
        columns |= {f"{kind}_{name}": torch.cat([features[name] for features in found])[back] for name in sorted(found[0])}
    return columns


def _alike(region: Region) -> Iterator[torch.Tensor]:
    """Images in groups of a like number of levels, so that one of many levels does not swell the matrices of all."""
    order = region.top.argsort(stable=True)
    cells = region.top[order].square() * len(directions(region.levels.ndim - 1))
    if cells[-1] * len(order) <= CELLS:
        yield torch.arange(len(order))
        return
    while len(order):
        # The matrices of a group are as large as those of its last image.
        size = max(1, int((cells * torch.arange(1, len(order) + 1) <= CELLS).sum()))
        yield order[:size]
        order, cells = order[size:], cells[size:]
