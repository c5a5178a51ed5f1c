"""The record that an exported file carries."""
from pathlib import Path

from synthkit.core.provenance import pixel_digest
from synthkit.data.own_export import read_exported
from synthkit.errors import DataError


def exported_record(path: Path) -> tuple[bytes, str | None]:
    """The canonical record in a DICOM, PNG or NIfTI file, and the digest of the pixels in the file; None where it holds a part of the image.

    Raises:
        DataError: no such file, or one that carries no record.
    """
    if not path.is_file():
        raise DataError(f"{path} is no file; give an exported image, or an image_id with cohort=")
    found = read_exported(path)
    if found is None:
        raise DataError(f"{path} carries no record of synthkit: it was made elsewhere, or its record was taken away")
    if not found.whole:
        return found.record, None
    pixels = found.pixels if found.told["channel"] is None else found.pixels[None]
    return found.record, pixel_digest(pixels)
