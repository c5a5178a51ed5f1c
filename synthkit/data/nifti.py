"""NIfTI volumes, turned to one orientation: slices from the feet up, rows to the back, columns to the patient's left (as DICOM)."""
from pathlib import Path
from typing import Any

import numpy as np

from synthkit.core.files import file_digest
from synthkit.core.space import Channel
from synthkit.data.orientation import oblique_degrees, turn
from synthkit.data.picture import Picture, Unreadable, grey, require_content

SUFFIXES = (".nii", ".nii.gz")
MOST_VOXELS = 2**30
MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}


def read_nifti(path: Path, file: str, *, window: tuple[float, float] | None = None) -> list[Picture]:
    """One volume (D, H, W) with its spacing; a single slice is a 2D image.

    Raises:
        Unreadable: not NIfTI, truncated, 4D, NaN, or constant.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image = nibabel.load(path)
        pixels, channel, spacing = volume(image, window=window)
    except ImageFileError:
        raise Unreadable("it is no NIfTI file, or damaged from the start") from None
    except (OSError, EOFError, ValueError) as error:
        raise Unreadable("it is truncated or damaged") from error
    return [Picture(pixels, (channel,), (file,), file_digest(path), spacing_mm=spacing, oblique_degrees=oblique_degrees(image.affine),
                    synthetic=bytes(image.header["descrip"].item()).lower().startswith(b"synthetic") if "descrip" in image.header else False)]  # fmt: skip


def volume(image: Any, *, window: tuple[float, float] | None = None) -> tuple[np.ndarray, Channel, tuple[float, ...] | None]:
    """A nibabel image as stored pixels (1, [D,] H, W), its channel and its spacing in mm (None where the header states none)."""
    if len(image.shape) > 3 and any(n > 1 for n in image.shape[3:]):
        raise Unreadable(f"it holds {' x '.join(map(str, image.shape))} values; synthkit reads one 3D volume a file")
    if np.prod(image.shape, dtype=float) > MOST_VOXELS:
        raise Unreadable(f"its header claims {' x '.join(map(str, image.shape))} voxels: damaged, or too large")
    if image.get_data_dtype().fields or len(image.shape) < 3:
        raise Unreadable("it holds colours or no image")
    image = image.slicer[(..., *(0,) * (len(image.shape) - 3))] if len(image.shape) > 3 else image
    turned = image.as_reoriented(turn(image.affine))
    values = np.asarray(turned.dataobj)
    require_content(values)
    spacing = _spacing(turned)
    if len(values) == 1:
        values, spacing = values[0], spacing and spacing[1:]
    pixels, channel = grey(values, "intensity", window=window)
    return pixels, channel, spacing


def _spacing(image: Any) -> tuple[float, ...] | None:
    unit = image.header.get_xyzt_units()[0]
    steps = tuple(float(step) * MILLIMETRES[unit] for step in image.header.get_zooms()[:3])
    unstated = unit == "unknown" and set(steps) == {1.0}
    return None if unstated or min(steps) <= 0 else steps
