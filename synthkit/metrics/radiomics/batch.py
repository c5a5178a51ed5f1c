"""Images and masks as given, checked and brought to one layout."""
import numpy as np
import torch

from synthkit.errors import DataError
from synthkit.metrics.radiomics.neighbours import directions, pair

Pixels = torch.Tensor | np.ndarray


def grey_values(images: Pixels) -> torch.Tensor:
    """(N, [D,] H, W) on the CPU, of the type given. DataError: other shapes, several channels, pixels that are no finite numbers."""
    values = _tensor(images, "images")
    if values.ndim not in (4, 5) or values.shape[1] != 1 or not values.numel():
        raise DataError(f"images (N, 1, [D,] H, W) with one channel are needed, got {tuple(values.shape)}; take several channels one by one")
    if values.is_complex():
        raise DataError("complex pixels have no grey levels; give their magnitude")
    if values.is_floating_point():
        _refuse("image", ~values.isfinite().flatten(1).all(1), "holds NaN or infinite pixels; replace them, or leave the image out")
        if values.min() < 0 and values.min() >= -1 and values.max() <= 1:
            raise DataError("images in [-1, 1] have one or two grey levels; give raw intensities, cohort.images.raw() or (images + 1) * 127.5 say")
    return values[:, 0]


def regions_of_interest(masks: Pixels | None, values: torch.Tensor, *, textures: bool) -> torch.Tensor:
    """(N, [D,] H, W) bool. DataError: other shapes or types, a mask that is empty or, for textures, without two pixels that touch."""
    inside = torch.ones((), dtype=torch.bool).expand(values.shape) if masks is None else _tensor(masks, "masks")
    if inside.dtype != torch.bool:
        raise DataError(f"masks are bool, got {inside.dtype}; choose a label, masks == 1 say")
    inside = inside[:, 0] if inside.ndim == values.ndim + 1 and inside.shape[1] == 1 else inside
    if inside.shape != values.shape:
        raise DataError(f"masks of shape {tuple(inside.shape)} do not fit images of {tuple(values.shape)}; give one mask (N, [D,] H, W) per image")
    if masks is not None:
        _refuse("the mask of image", ~inside.flatten(1).any(1), "is empty; leave the image out")
    if textures and (masks is not None or values[0].numel() == 1):
        touching = [(here & there).flatten(1).any(1) for here, there in (pair(inside, step) for step in directions(inside.ndim - 1))]
        alone = ~torch.stack(touching).any(0)
        _refuse("the mask of image", alone, 'has no two pixels that touch, which textures need; leave the image out or take classes=("firstorder",)')
    return inside


def _tensor(given: Pixels, what: str) -> torch.Tensor:
    if isinstance(given, torch.Tensor):
        return given.detach().cpu()
    if not isinstance(given, np.ndarray):
        raise DataError(f"{what}: a tensor or an array is needed, got {type(given).__name__}; of a cohort give .images.raw(), of several masks one")
    # Torch takes neither a foreign byte order nor negative strides, and warns of read-only arrays.
    return torch.from_numpy(np.require(given, np.asarray(given).dtype.newbyteorder("="), ["C", "W"]))


def _refuse(what: str, wrong: torch.Tensor, why: str) -> None:
    if wrong.any():
        more = f" ({int(wrong.sum())} such images)" if wrong.sum() > 1 else ""
        raise DataError(f"{what} {int(wrong.nonzero()[0])} {why}{more}")
