"""The record that an exported file carries."""
from pathlib import Path

from synthkit.errors import DataError


def exported_record(path: Path) -> tuple[bytes, str]:
    """The canonical record in a DICOM, PNG or NIfTI file, and the digest of the pixels that the file holds ("" for a slice of a volume)."""
    raise DataError(f"{path} carries no record of synthkit")
