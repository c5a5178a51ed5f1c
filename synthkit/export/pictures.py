"""Synthetic images as NIfTI and PNG files that carry their record; `synthkit.load` reads the cohort back exactly."""
import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.data.own_export import RECORD, ROW
from synthkit.errors import DataError
from synthkit.export.begin import Leaving, begin, destination, leaving, require_synthetic, unwritten


def to_nifti(cohort: Cohort, folder: str | Path) -> list[Path]:
    """Write synthetic images as `.nii.gz`, one file per image and channel, with table.csv; the same cohort gives the same bytes.

    The header's description has the digest of the image's record, and a comment extension the record itself. Axes lie as the viewer names them; where the
    spacing is not known the header states no unit.

    Raises:
        AbilityError: real images, which no mark may call synthetic.
        DataError: no image, or a folder with other files.

    Example:
        sk.to_nifti(gen.sample(want, seed=1), "out/nifti")
    """
    return _written(cohort, folder, "to_nifti", ".nii.gz", _nifti)


def to_png(cohort: Cohort, folder: str | Path) -> list[Path]:
    """Write synthetic 2D images as PNG of 8 or 16 bits (colours as one RGB file), with table.csv; text chunks say "synthetic" and hold the record.

    Raises:
        AbilityError: real images, which no mark may call synthetic.
        DataError: no image, volumes, values below 0 (Hounsfield units), or a folder with other files.

    Example:
        sk.to_png(gen.sample(want, seed=1), "out/png")
    """
    if isinstance(cohort, Cohort) and (cohort.space.dims == 3 or cohort.space.dtype.kind == "i"):
        what = "volumes" if cohort.space.dims == 3 else "values below 0, such as Hounsfield units,"
        raise DataError(f"to_png: {what} do not fit into PNG; use sk.to_nifti or sk.to_dicom")
    return _written(cohort, folder, "to_png", ".png", _png)


def _written(cohort: Cohort, folder: str | Path, verb: str, suffix: str, encode) -> list[Path]:
    require_synthetic(cohort, verb)
    place = destination(folder)
    begin(cohort, place, verb)
    channels = cohort.space.channels
    colour = verb == "to_png" and len(channels) == 3 and cohort.space.dtype == np.uint8 and all(c.kind == "colour" for c in channels)
    written, files = [], []
    try:
        for image in leaving(cohort):
            for channel in (None,) if colour else range(len(channels)):
                end = f"-{channels[channel].name}" if channel is not None and len(channels) > 1 else ""
                written.append(place / f"{image.name}{end}{suffix}")
                write_atomically(written[-1], encode(image, channel))
            files.append(written[-1].name)
        write_atomically(place / "table.csv", cohort.table.assign(file=files).to_csv(index=False).encode())
    except OSError as error:
        raise unwritten(place, verb, error) from error
    return written


def png_bytes(pixels: np.ndarray, texts: Mapping[str, str]) -> bytes:
    """A PNG of (H, W) or (H, W, 3) integers with text chunks."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    told, out = PngInfo(), io.BytesIO()
    for name, text in texts.items():
        (told.add_text if text.isascii() else told.add_itxt)(name, text)
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", pnginfo=told)
    return out.getvalue()


def _png(image: Leaving, channel: int | None) -> bytes:
    texts = {"Description": f"Synthetic; record sha256:{image.mark}", "Software": "synthkit", RECORD: image.record.decode(),
             ROW: json.dumps(image.told(channel, None), ensure_ascii=False)}  # fmt: skip
    return png_bytes(np.moveaxis(image.pixels, 0, -1) if channel is None else image.pixels[channel], texts)


def _nifti(image: Leaving, channel: int | None) -> bytes:
    from nibabel import Nifti1Image
    from nibabel.nifti1 import Nifti1Extension

    space, pixels = image.cohort.space, image.pixels[channel]
    steps = (1.0,) * 3 if space.spacing_mm is None else (1.0,) * (3 - space.dims) + space.spacing_mm
    # Columns to the patient's left, rows to the back, slices upward; NIfTI counts to the right and to the front.
    affine = np.diag([-steps[2], -steps[1], steps[0], 1.0])
    file = Nifti1Image((pixels if space.dims == 3 else pixels[None]).transpose(2, 1, 0), affine, dtype=pixels.dtype)
    file.header.set_xyzt_units("mm" if space.spacing_mm else "unknown")
    file.header["descrip"] = f"synthetic; record sha256:{image.mark}"[:79].encode()
    comment = {RECORD: image.record.decode(), ROW: image.told(channel, None)}
    file.header.extensions.append(Nifti1Extension(6, json.dumps(comment, ensure_ascii=False).encode()))
    return gzip.compress(file.to_bytes(), mtime=0)
