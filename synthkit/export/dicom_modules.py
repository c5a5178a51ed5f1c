"""What the information object definitions of DICOM (PS3.3) want of each kind of file, and nothing that synthkit does not know."""
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthkit.core.space import Channel

if TYPE_CHECKING:
    from pydicom import Dataset

CHEST = ("51185008", "SCT", "Chest")
VIEWS = ("PA", "AP")


@dataclass(frozen=True)
class Kind:
    """A kind of DICOM file.

    Args:
        modality: (0008,0060).
        sop_class: keyword of its storage class.
        image_type: values beyond DERIVED and SECONDARY.
        stacked: whether slices of a volume lie in space.
    """

    modality: str
    sop_class: str
    image_type: tuple[str, ...] = ()
    stacked: bool = False


KINDS = {
    "CR": Kind("CR", "ComputedRadiographyImageStorage"), "DX": Kind("DX", "DigitalXRayImageStorageForPresentation", ("",)),
    "CT": Kind("CT", "CTImageStorage", ("AXIAL",), True), "MR": Kind("MR", "MRImageStorage", ("OTHER",), True),
    "OT": Kind("OT", "SecondaryCaptureImageStorage"),
}  # fmt: skip
MR_NAMES = ("T1", "T2", "FLAIR", "PD", "MR", "T1C", "T1GD", "T1CE")


def modality_of(channel: Channel) -> str:
    """The modality that a channel's name and unit speak of; OT (secondary capture) for all else."""
    name = channel.name.upper()
    if channel.kind != "modality":
        return "OT"
    if channel.unit == "HU" or name == "CT":
        return "CT"
    return "CR" if name == "XRAY" else "MR" if name.split()[0] in MR_NAMES else "OT"


def code(value: str, scheme: str, meaning: str) -> "Dataset":
    """One item of a code sequence."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def add_modality(dataset: "Dataset", kind: str, row: dict[str, Any]) -> None:
    """The attributes of the modality's own modules; what a simulation does not have stays empty, where the standard allows that."""
    if kind in ("CR", "DX"):
        del dataset.Laterality  # the chest is no paired part
    {"CR": _cr, "DX": _dx, "CT": _ct, "MR": _mr, "OT": _capture}[kind](dataset, row)


def _cr(dataset: "Dataset", row: dict[str, Any]) -> None:
    dataset.BodyPartExamined, dataset.ViewPosition = "CHEST", _view(row)
    dataset.PatientOrientation = ["L", "F"]


def _view(row: dict[str, Any]) -> str:
    return row["view"] if row.get("view") in VIEWS else ""


def _dx(dataset: "Dataset", row: dict[str, Any]) -> None:
    from pydicom.sequence import Sequence

    dataset.PresentationIntentType, dataset.PresentationLUTShape, dataset.LossyImageCompression = "FOR PRESENTATION", "IDENTITY", "00"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", -1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.ImageLaterality, dataset.BodyPartExamined, dataset.DetectorType, dataset.PositionerType = "U", "CHEST", "", ""
    dataset.PatientOrientation = ["L", "F"]
    dataset.AcquisitionContextSequence, dataset.AnatomicRegionSequence = Sequence(), Sequence([code(*CHEST)])
    if _view(row):
        dataset.ViewPosition = _view(row)


def _ct(dataset: "Dataset", row: dict[str, Any]) -> None:
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    dataset.KVP, dataset.AcquisitionNumber, dataset.PatientPosition = None, None, "HFS"


def _mr(dataset: "Dataset", row: dict[str, Any]) -> None:
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions, dataset.MRAcquisitionType = "RM", "NONE", "", "3D"
    dataset.RepetitionTime, dataset.EchoTime, dataset.EchoTrainLength, dataset.PatientPosition = None, None, None, "HFS"


def _capture(dataset: "Dataset", row: dict[str, Any]) -> None:
    dataset.ConversionType = "SYN"
