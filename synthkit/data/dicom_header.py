"""What is kept of a DICOM header, and the words that must be kept out of every cohort."""
import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.core.guesses import parse_age
from synthkit.data.picture import Unreadable
from synthkit.data.pseudonym import pseudonym

if TYPE_CHECKING:
    from pydicom import Dataset

VIEWS = ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO", "CC", "MLO", "ML", "LM", "XCCL", "XCCM", "FB", "SIO", "LAT", "LATERAL")
MODALITIES = (
    "CR", "CT", "DX", "DR", "ES", "GM", "IO", "IVUS", "IVOCT", "MG", "MR", "NM", "OCT", "OP", "OPT", "OT", "PT", "PX", "RF", "RG", "SM", "US", "XA", "XC",
)  # fmt: skip
JOIN_KEYS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "AccessionNumber", "PatientID")
PERSONAL = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "PatientBirthDate", "PatientAddress",
    "PatientTelephoneNumbers", "AccessionNumber", "StudyID", "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician",
    "NameOfPhysiciansReadingStudy", "InstitutionName", "InstitutionAddress", "MilitaryRank", "MedicalRecordLocator", "AdmissionID",
)  # fmt: skip
WANTED = (
    *JOIN_KEYS, *PERSONAL, "Modality", "SOPClassUID", "PatientSex", "PatientAge", "ViewPosition", "BurnedInAnnotation", "StudyDate", "ImageType",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames", "InstanceNumber", "AcquisitionNumber",
    "EchoNumbers", "TemporalPositionIdentifier", "SyntheticData",
)  # fmt: skip
NO_PICTURE = {
    "RTDOSE": "a radiotherapy dose grid", "SEG": "a segmentation", "RTSTRUCT": "radiotherapy contours", "RTPLAN": "a radiotherapy plan", "SR": "a report",
    "PR": "a display state", "KO": "a list of key objects", "REG": "a registration", "DOC": "a document", "ECG": "a curve", "AU": "sound",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Header:
    """One file's header without pixels: only the attributes that reading needs."""

    path: Path
    file: str
    dataset: "Dataset"

    def text(self, keyword: str) -> str:
        """An attribute as text; "" where it is absent or malformed."""
        try:
            value = self.dataset.get(keyword)
        except Exception:  # pydicom parses on access, and a malformed value may raise anything
            return ""
        return "" if value is None else str(value).strip()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """A numeric attribute; () where it is absent or malformed."""
        return numbers(self.dataset, keyword)

    @property
    def modality(self) -> str:
        return self.text("Modality").upper()

    @property
    def frames(self) -> int:
        return int((self.numbers("NumberOfFrames") or (1,))[0])


def numbers(dataset: "Dataset", keyword: str) -> tuple[float, ...]:
    """A numeric attribute of a dataset; () where it is absent or malformed."""
    try:
        value = dataset.get(keyword)
        many = [] if value is None or value == "" else [value] if isinstance(value, (int, float, str)) else list(value)
        found = tuple(float(v) for v in many)
        return found if all(map(isfinite, found)) else ()
    except Exception:  # pydicom parses on access, and a malformed value may raise anything
        return ()


def read_header(path: Path, file: str) -> Header:
    """The header of a DICOM file, with or without its preamble.

    Raises:
        Unreadable: not DICOM, or no image in it.
    """
    from pydicom import dcmread

    try:
        dataset = dcmread(path, stop_before_pixels=True, force=True, specific_tags=[*WANTED])
    except Exception as error:  # damaged bytes make the parser raise anything, and its message may quote the patient
        raise Unreadable("its DICOM header is damaged") from error
    header = Header(path, file, dataset)
    if header.modality in NO_PICTURE:
        raise Unreadable(f"it is {NO_PICTURE[header.modality]} ({header.modality}), not an image")
    if not header.numbers("Rows") or not header.numbers("Columns"):
        known = header.text("SOPClassUID") or header.modality or "MediaStorageSOPClassUID" in dataset.file_meta
        raise Unreadable("it is DICOM without an image: no Rows and Columns" if known else "it is not DICOM, or its header is damaged")
    return header


def facts(header: Header) -> dict[str, Any]:
    """Columns for the clinical table; nothing in it names a person, a place or a day."""
    sex, view, flag = header.text("PatientSex").upper(), header.text("ViewPosition").upper(), header.text("BurnedInAnnotation").upper()
    place = header.text("InstitutionName")
    return {
        "age": _age(header),
        "sex": sex if sex in ("M", "F") else None,
        "view": view if view in VIEWS else None,
        "modality": header.modality if header.modality in MODALITIES else None,
        "site": pseudonym("site", place.casefold()) if place else None,
        "burned_in": {"YES": "yes", "NO": "no"}.get(flag, "unknown"),
    }


def _age(header: Header) -> float:
    """Years from the age attribute, else between birth and study."""
    import pandas as pd

    stated = parse_age(pd.Series([header.text("PatientAge") or None]))[0]
    if not pd.isna(stated):
        return float(stated)
    born, seen = (pd.to_datetime(header.text(k), format="%Y%m%d", errors="coerce") for k in ("PatientBirthDate", "StudyDate"))
    years = (seen - born).days / 365.25 if not (pd.isna(born) or pd.isna(seen)) else -1
    return float(int(years)) if 0 <= years <= 120 else float("nan")


def patient(header: Header) -> str | None:
    """Who is shown, in the clear (it is coded before it is stored): the patient id, else the study."""
    study = header.text("StudyInstanceUID")
    return header.text("PatientID") or (f"study {study}" if study else None)


def personal_words(header: Header) -> frozenset[str]:
    """What in the header identifies the person, in lower case: whole values, and the parts of names."""
    words: set[str] = set()
    for keyword in PERSONAL:
        value = header.text(keyword).lower()
        words |= {value, *re.split(r"[\^=\\,\s]+", value)} if "Name" in keyword else {value}
    return frozenset(word for word in words if len(word) >= 4)


def join_keys(header: Header) -> dict[str, str]:
    """The attributes by which a table may name this file."""
    return {key: header.text(key) for key in JOIN_KEYS if header.text(key)}
