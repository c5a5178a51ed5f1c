"""Frames of a DICOM file as numbers: decompressed, colours as RGB, grey in the modality's unit."""
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit.data.dicom_header import numbers
from synthkit.data.picture import Unreadable

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, eq=False)
class Frames:
    """Decoded frames of one file.

    Args:
        values: (F, H, W) after the modality LUT, or (F, H, W, 3) uint8.
        dataset: the header with the display attributes.
        hounsfield: whether the values are Hounsfield units.
    """

    values: np.ndarray
    dataset: "Dataset"
    hounsfield: bool


def decode(path: Path) -> Frames:
    """The frames of a DICOM file, decompressed, palettes and YBR as RGB, rescaled to the modality's unit.

    Raises:
        Unreadable: no pixels, too few bytes, no decoder for the syntax, NaN.
    """
    from pydicom import dcmread

    dataset = dcmread(path, force=True)
    values = _frames(dataset)
    if values.shape[-1] == 3 and values.ndim == 4:
        return Frames(values, dataset, False)
    values = _to_unit(values, dataset)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise Unreadable("it holds NaN or infinite pixels")
    return Frames(values, dataset, _is_hounsfield(dataset))


def _frames(dataset: "Dataset") -> np.ndarray:
    """(F, H, W) or (F, H, W, 3)."""
    from pydicom.pixels import apply_color_lut, pixel_array
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise Unreadable("it holds no pixel data")
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
    try:
        values = pixel_array(dataset, raw=False)
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
    except Exception as error:  # decoders of many makers sit underneath, and raise anything
        raise Unreadable(_cause(dataset)) from error
    frames = int((numbers(dataset, "NumberOfFrames") or (1,))[0])
    tall = (dataset.Rows, dataset.Columns)
    values = values.reshape(-1 if frames > 1 else 1, *tall, *values.shape[-1:]) if values.shape[-3:-1] == tall else values.reshape(-1, *tall)
    if values.ndim == 4 and values.dtype != np.uint8:
        values = (values >> (8 * values.dtype.itemsize - 8)).astype(np.uint8)
    return values


def _cause(dataset: "Dataset") -> str:
    """Why decoding failed, in words that quote nothing from the file."""
    syntax = dataset.file_meta.TransferSyntaxUID
    count = int(np.prod([max(1, int((numbers(dataset, k) or (1,))[0])) for k in ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")]))
    expected, found = count * dataset.get("BitsAllocated", 8) // 8, len(dataset.get("PixelData", b""))
    if not syntax.is_transfer_syntax:
        return "its pixel data are of a transfer syntax that DICOM does not know"
    if not syntax.is_compressed and found < expected:
        return f"its pixel data are truncated: {found} of {expected} bytes"
    if syntax.name.startswith("JPEG Extended") and dataset.get("BitsStored", 8) > 8:
        return "its 12-bit JPEG pixel data need one more decoder: pip install pylibjpeg-libjpeg (licensed under the GPL)"
    if syntax.is_compressed:
        return f"its {syntax.name} pixel data cannot be decoded: damaged, truncated, or of a kind that the installed decoders do not know"
    return "its pixel data cannot be decoded: the header contradicts them"


def _to_unit(values: np.ndarray, dataset: "Dataset") -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    if dataset.get("ModalityLUTSequence"):
        return apply_modality_lut(values, dataset)
    scales = [_rescale(dataset, frame) for frame in range(len(values))]
    if all(scale == (1.0, 0.0) for scale in scales):
        return values
    slope, intercept = np.array(scales, np.float32).T
    return values.astype(np.float32) * slope[:, None, None] + intercept[:, None, None]


def group(dataset: "Dataset", frame: int, sequence: str) -> "Dataset | None":
    """One functional group of a frame: its own, else the one that all frames share, else None."""
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for groups in (own[frame : frame + 1], shared[:1]):
        if len(groups) and groups[0].get(sequence):
            return groups[0].get(sequence)[0]
    return None


def _rescale(dataset: "Dataset", frame: int) -> tuple[float, float]:
    source = group(dataset, frame, "PixelValueTransformationSequence") or dataset
    return ((numbers(source, "RescaleSlope") or (1.0,))[0] or 1.0, (numbers(source, "RescaleIntercept") or (0.0,))[0])


def _is_hounsfield(dataset: "Dataset") -> bool:
    """Whether a CT states Hounsfield units: it rescales, and names no other unit."""
    source = group(dataset, 0, "PixelValueTransformationSequence") or dataset
    unit = str(source.get("RescaleType") or "HU").upper()
    stated = unit == "HU" and bool(numbers(source, "RescaleIntercept"))
    return dataset.get("Modality") == "CT" and stated and "LOCALIZER" not in (dataset.get("ImageType") or ())
