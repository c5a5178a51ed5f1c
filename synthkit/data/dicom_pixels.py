"""What a cohort keeps of decoded DICOM values: Hounsfield units for CT, the displayed grey for the rest."""
from typing import TYPE_CHECKING

import numpy as np

from synthkit.core.space import Channel
from synthkit.data.dicom_decode import Frames, group
from synthkit.data.dicom_header import MODALITIES, numbers
from synthkit.data.dicom_volume import STACKED
from synthkit.data.picture import FULL, Unreadable, grey, percentiles, require_content

if TYPE_CHECKING:
    from pydicom import Dataset

Window = tuple[float, float]
HU_WINDOW = (-1000.0, 1000.0)
RADIOGRAPHS = ("CR", "DX", "DR", "RG")
MAPS = ("ADC", "FA", "TRACEW", "RCBF", "RCBV", "MTT", "TTP", "TMAX", "MIP", "MINIP", "MPR")


def channel_name(dataset: "Dataset") -> str:
    """"xray" for radiographs whatever the detector, else the modality; maps derived from CT, MR or PET with their kind ("MR ADC")."""
    modality = str(dataset.get("Modality") or "").upper()
    kinds = [str(kind) for kind in dataset.get("ImageType") or ()]
    if modality in STACKED and len(kinds) > 3 and kinds[0] == "DERIVED" and kinds[3] not in ("", "NONE"):
        return f"{modality} {kinds[3] if kinds[3] in MAPS else 'derived'}"
    return "xray" if modality in RADIOGRAPHS else modality if modality in MODALITIES else "grey"


def stored(values: np.ndarray, frames: Frames, *, window: Window | None, frame: int | None = None) -> tuple[np.ndarray, tuple[Channel, ...]]:
    """Values of a frame (H, W) or a volume (D, H, W) as stored integers, bright where more signal is (MONOCHROME1 is inverted).

    Args:
        window: in the values' unit; for CT it is the channel's window, else it replaces the file's own.
        frame: which frame, to use the file's own display window; None for volumes, whose slices may differ in it.
    """
    require_content(values)
    dataset, name = frames.dataset, channel_name(frames.dataset)
    if frames.hounsfield:
        low, high = window or HU_WINDOW
        return np.clip(np.rint(values), -1024, 32767).astype(np.int16)[None], (Channel(name, low=low, high=high, unit="HU"),)
    if window is None and frame is not None:
        shown = _displayed(values, dataset, frame)
        if shown.min() == shown.max():
            raise Unreadable("its display window shows nothing: all pixels lie outside; give window=(low, high)")
        pixels = np.rint(shown * FULL).astype(np.uint16)[None]
        channel = Channel(name, high=FULL)
    else:
        pixels, channel = grey(values.astype(np.float32), name, window=window or percentiles(values))
    return (int(FULL) - pixels if dataset.PhotometricInterpretation == "MONOCHROME1" else pixels).astype(np.uint16), (channel,)


def _displayed(values: np.ndarray, dataset: "Dataset", frame: int) -> np.ndarray:
    """Shares from 0 to 1 of the display range: by the VOI LUT, else the first window, else all 8 bits, else percentiles (PS3.3 C.11.2)."""
    source = group(dataset, frame, "FrameVOILUTSequence") or dataset
    if source.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        bits = numbers(source.VOILUTSequence[0], "LUTDescriptor")[2]
        return np.clip(apply_voi(np.rint(values).astype(np.int32), source).astype(np.float32) / (2**bits - 1), 0, 1)
    centre, width = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
    function = str(source.get("VOILUTFunction") or "LINEAR").upper()
    if centre and width and width[0] > (1 if function == "LINEAR" else 0):
        return _windowed(values.astype(np.float32), centre[0], width[0], function)
    low, high = (0.0, 255.0) if values.dtype == np.uint8 else percentiles(values)
    return np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)


def _windowed(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    if function == "SIGMOID":
        from scipy.special import expit

        return expit(4 * (values - centre) / width)
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
