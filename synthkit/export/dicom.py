"""Synthetic images as DICOM files that say so: radiographs, CT and MR series, secondary captures; `synthkit.load` reads the cohort back exactly."""
import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.provenance import code_version
from synthkit.data.own_export import CREATOR, GROUP
from synthkit.errors import DataError
from synthkit.export.begin import Leaving, begin, leaving, require_synthetic, unwritten
from synthkit.export.dicom_modules import KINDS, Kind, add_modality, code, modality_of
from synthkit.export.uids import instance_uid, series_uid, study_uid, uid

if TYPE_CHECKING:
    from pydicom import Dataset

ORIENTATION = ["1", "0", "0", "0", "1", "0"]  # columns to the patient's left, rows to the back; slices go upward


def to_dicom(cohort: Cohort, folder: str | Path, *, modality: str | None = None) -> list[Path]:
    """Write synthetic or edited images as DICOM, one file per image or slice; the same cohort gives the same bytes.

    Every file has Synthetic Data (0008,001C) = YES, a derivation with the digest of the image's record, synthkit among the contributing equipment, and
    the record itself in a private block, so that `sk.trace(file)` leads back. Channels of a volume become series of one study. There are no dates.

    Args:
        folder: made if absent; an interrupted export is completed by the same call.
        modality: "CR", "DX", "CT", "MR" or "OT" (secondary capture) for all channels; left out, it follows from each channel's name and unit.
    Returns:
        The files.
    Raises:
        AbilityError: real images, which no tag may call synthetic.
        DataError: no image, a modality that cannot hold the channels, volumes of unknown spacing, or a folder of another export.

    Example:
        sk.to_dicom(gen.sample(want, seed=1), "out/dicom")
    """
    require_synthetic(cohort, "to_dicom")
    place, kinds = Path(folder).expanduser(), _kinds(cohort, modality)
    begin(cohort, place, "to_dicom")
    written: list[Path] = []
    try:
        for image in leaving(cohort):
            written += _volume(image, kinds, place) if cohort.space.dims == 3 else _flat(image, kinds, place)
    except OSError as error:
        raise unwritten(place, "to_dicom", error) from error
    return written


def _kinds(cohort: Cohort, modality: str | None) -> list[Kind]:
    space = cohort.space
    if modality is not None and modality not in KINDS:
        raise DataError(f"modality={modality!r}: allowed are {', '.join(KINDS)}")
    kinds = [KINDS[modality or modality_of(channel)] for channel in space.channels]
    for kind, channel in zip(kinds, space.channels):
        if kind.modality in ("CR", "DX") and (space.dims == 3 or channel.kind != "modality"):
            raise DataError(f"modality={kind.modality!r}: a radiograph is a 2D image of one grey channel, and {channel.name} is not; leave modality out")
        if kind.modality == "CT" and channel.unit != "HU":
            raise DataError(f"modality='CT': channel {channel.name} is not in Hounsfield units, which CT files are; use MR or OT")
        if kind.modality in ("CT", "MR", "DX") and space.spacing_mm is None:
            other = "CR" if kind.modality == "DX" else "OT"
            raise DataError(f"{channel.name}: {kind.modality} files state millimetres, and the spacing of these images is not known; give modality={other!r}")
    return kinds


def _flat(image: Leaving, kinds: list[Kind], place: Path) -> list[Path]:
    """A 2D image: one file per channel, colours together."""
    cohort = image.cohort
    colour = len(cohort.space.channels) == 3 and all(channel.kind == "colour" for channel in cohort.space.channels)
    name, written = image.name, []
    for channel, kind in [(None, KINDS["OT"])] if colour else [*enumerate(kinds)]:
        pixels = np.moveaxis(image.pixels, 0, -1) if channel is None else image.pixels[channel]
        dataset = _dataset(image, kind, channel=channel, slice_=None)
        if kind.stacked:
            _in_space(dataset, image, 0, spacing=(1.0, *cohort.space.spacing_mm))
        elif kind.modality != "OT" and cohort.space.spacing_mm:
            # Millimetres in the patient's plane, as the loader reads them of a detector without magnification.
            dataset.ImagerPixelSpacing, dataset.EstimatedRadiographicMagnificationFactor = [_text(step) for step in cohort.space.spacing_mm], "1"
        suffix = "" if channel is None or len(kinds) == 1 else f"-{channel}"
        written.append(place / f"{name}{suffix}.dcm")
        write_atomically(written[-1], _bytes(dataset, pixels, kind, cohort, channel))
    return written


def _volume(image: Leaving, kinds: list[Kind], place: Path) -> list[Path]:
    """A volume: a folder with a series per channel, which appears under its name only when it is whole."""
    cohort, target, part = image.cohort, place / image.name, place / f".{image.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    names = []
    for channel, kind in enumerate(kinds):
        for number, pixels in enumerate(image.pixels[channel]):
            dataset = _dataset(image, kind, channel=channel, slice_=number)
            if kind.stacked:
                _in_space(dataset, image, number, spacing=cohort.space.spacing_mm)
            names.append(f"{channel}-{number:04d}.dcm")
            write_atomically(part / names[-1], _bytes(dataset, pixels, kind, cohort, channel))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    return [target / name for name in names]


def _dataset(image: Leaving, kind: Kind, *, channel: int | None, slice_: int | None) -> "Dataset":
    from pydicom import Dataset
    from pydicom import uid as uids

    name, row, mark = str(image.row["image_id"]), image.row, image.mark
    cohort = image.cohort
    label = "colour" if channel is None else cohort.space.channels[channel].name
    dataset = Dataset()
    dataset.SpecificCharacterSet, dataset.SOPClassUID = "ISO_IR 192", getattr(uids, kind.sop_class)
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = instance_uid(mark, label, slice_ or 0), study_uid(name)
    dataset.SeriesInstanceUID, dataset.Modality = series_uid(name, label), kind.modality
    dataset.ImageType = ["DERIVED", "SECONDARY", *kind.image_type]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "SYNTHETIC^PATIENT", str(row["patient_id"])[:64], ""
    dataset.PatientSex = row["sex"] if row.get("sex") in ("F", "M") else ""
    if row.get("age") is not None:
        dataset.PatientAge = f"{int(row['age']):03d}Y"
    for empty in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
        setattr(dataset, empty, "")
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 1 + (channel or 0), 1 + (slice_ or 0), f"synthetic {label}"[:64]
    dataset.PatientOrientation, dataset.Laterality = "", ""
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "synthkit", "synthkit", code_version()
    dataset.BurnedInAnnotation = "NO"
    _mark(dataset, image)
    add_modality(dataset, kind.modality, row)
    _private(dataset, image, channel, slice_)
    return dataset


def _mark(dataset: "Dataset", image: Leaving) -> None:
    """What says that the image is synthetic, what made it, and what it was edited from."""
    from pydicom import Dataset
    from pydicom.sequence import Sequence

    dataset.SyntheticData, dataset.DerivationDescription = "YES", f"Synthetic; record sha256:{image.mark}"
    machine = Dataset()
    machine.PurposeOfReferenceCodeSequence = Sequence([code("109100", "DCM", "Synthesizing Equipment")])
    machine.Manufacturer, machine.ManufacturerModelName, machine.SoftwareVersions = "synthkit", image.cohort.provenance.source[:64], code_version()
    machine.ContributionDescription = f"Synthetic image; record sha256:{image.mark}"
    dataset.ContributingEquipmentSequence = Sequence([machine])
    source = image.row.get("source_id")
    if source is not None:
        original = Dataset()
        original.ReferencedSOPClassUID, original.ReferencedSOPInstanceUID = dataset.SOPClassUID, uid("source", source)
        original.PurposeOfReferenceCodeSequence = Sequence([code("121322", "DCM", "Source image for image processing operation")])
        dataset.SourceImageSequence = Sequence([original])


def _in_space(dataset: "Dataset", image: Leaving, number: int, *, spacing: tuple[float, ...]) -> None:
    """Where a slice lies: the volume's centre is the origin."""
    depth, height, width = (1, *image.cohort.space.size)[-3:]
    corner = [-(width - 1) / 2 * spacing[2], -(height - 1) / 2 * spacing[1], (number - (depth - 1) / 2) * spacing[0]]
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = uid("frame", image.row["image_id"]), ""
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [_text(value) for value in corner], ORIENTATION
    dataset.PixelSpacing, dataset.SliceThickness = [_text(spacing[1]), _text(spacing[2])], _text(spacing[0])
    if depth > 1 and dataset.Modality == "MR":
        dataset.SpacingBetweenSlices = _text(spacing[0])


def _text(value: float) -> str:
    """A decimal string of at most 16 characters."""
    return f"{value:.10g}"


def _private(dataset: "Dataset", image: Leaving, channel: int | None, slice_: int | None) -> None:
    block = dataset.private_block(GROUP, CREATOR, create=True)
    block.add_new(0x01, "UT", image.record.decode())
    block.add_new(0x02, "UT", json.dumps(image.told(channel, slice_), ensure_ascii=False))


def _bytes(dataset: "Dataset", pixels: np.ndarray, kind: Kind, cohort: Cohort, channel: int | None) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    wide = pixels.astype(np.uint16) if kind.stacked and pixels.dtype == np.uint8 else pixels
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if channel is None else (1, "MONOCHROME2")
    dataset.BitsAllocated = dataset.BitsStored = 8 * wide.dtype.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(wide.dtype.kind == "i")
    if channel is None:
        dataset.PlanarConfiguration = 0
    else:
        window = cohort.space.channels[channel]
        dataset.WindowCenter, dataset.WindowWidth = _text((window.low + window.high + 1) / 2), _text(window.high - window.low + 1)
    data = np.ascontiguousarray(wide).astype(wide.dtype.newbyteorder("<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if wide.dtype.itemsize == 1 else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID, dataset.file_meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()
