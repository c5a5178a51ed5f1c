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
from synthkit.export.begin import Leaving, begin, destination, leaving, require_synthetic, unwritten
from synthkit.export.dicom_modules import add_modality, code
from synthkit.export.series import Series, series_of
from synthkit.export.uids import study_uid, uid

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
    place, series = destination(folder), series_of(cohort, modality)
    begin(cohort, place, "to_dicom")
    written: list[Path] = []
    try:
        for image in leaving(cohort):
            written += _volume(image, series, place) if cohort.space.dims == 3 else _flat(image, series, place)
    except OSError as error:
        raise unwritten(place, "to_dicom", error) from error
    return written


def _flat(image: Leaving, series: list[Series], place: Path) -> list[Path]:
    """A 2D image: one file per channel, colours together."""
    cohort, written = image.cohort, []
    for one in series:
        pixels = np.moveaxis(image.pixels, 0, -1) if one.channel is None else image.pixels[one.channel]
        dataset = _dataset(image, one, None)
        if one.kind.stacked:
            _in_space(dataset, image, 0, spacing=(1.0, *cohort.space.spacing_mm))
        elif one.kind.modality != "OT" and cohort.space.spacing_mm:
            # Millimetres in the patient's plane, as the loader reads them of a detector without magnification.
            dataset.ImagerPixelSpacing, dataset.EstimatedRadiographicMagnificationFactor = [_text(step) for step in cohort.space.spacing_mm], "1"
        suffix = "" if len(series) == 1 else f"-{one.channel}"
        written.append(place / f"{image.name}{suffix}.dcm")
        write_atomically(written[-1], _bytes(dataset, pixels, one, cohort))
    return written


def _volume(image: Leaving, series: list[Series], place: Path) -> list[Path]:
    """A volume: a folder with a series per channel, which appears under its name only when it is whole."""
    cohort, target, part = image.cohort, place / image.name, place / f".{image.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    names = []
    for one in series:
        for number, pixels in enumerate(image.pixels[one.channel]):
            dataset = _dataset(image, one, number)
            if one.kind.stacked:
                _in_space(dataset, image, number, spacing=cohort.space.spacing_mm)
            names.append(f"{one.channel}-{number:04d}.dcm")
            write_atomically(part / names[-1], _bytes(dataset, pixels, one, cohort))
    shutil.rmtree(target, ignore_errors=True)
    os.replace(part, target)
    return [target / name for name in names]


def _dataset(image: Leaving, series: Series, slice_: int | None) -> "Dataset":
    from pydicom import Dataset
    from pydicom import uid as uids

    name, row, kind, number = str(image.row["image_id"]), image.row, series.kind, slice_ or 0
    dataset = Dataset()
    dataset.SpecificCharacterSet, dataset.SOPClassUID = "ISO_IR 192", getattr(uids, kind.sop_class)
    dataset.SOPInstanceUID, dataset.StudyInstanceUID = series.instance(image.mark, number), study_uid(name)
    dataset.SeriesInstanceUID, dataset.Modality = series.uid(name), kind.modality
    dataset.ImageType = ["DERIVED", "SECONDARY", *kind.image_type]
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "SYNTHETIC^PATIENT", str(row["patient_id"])[:64], ""
    dataset.PatientSex = row["sex"] if row.get("sex") in ("F", "M") else ""
    if row.get("age") is not None:
        dataset.PatientAge = f"{int(row['age']):03d}Y"
    for empty in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"):
        setattr(dataset, empty, "")
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = series.number, 1 + number, f"synthetic {series.label}"[:64]
    dataset.PatientOrientation, dataset.Laterality = "", ""
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = "synthkit", "synthkit", code_version()
    dataset.BurnedInAnnotation = "NO"
    _mark(dataset, image)
    add_modality(dataset, kind.modality, row)
    _private(dataset, image, series.channel, slice_)
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


def _bytes(dataset: "Dataset", pixels: np.ndarray, series: Series, cohort: Cohort) -> bytes:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    channel = series.channel
    wide = pixels.astype(np.uint16) if series.kind.stacked and pixels.dtype == np.uint8 else pixels
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
