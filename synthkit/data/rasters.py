"""Image files: PNG, JPEG, TIFF, BMP, WebP."""
from pathlib import Path

import numpy as np

from synthkit.core.files import file_digest
from synthkit.data.picture import Picture, Unreadable, colour, grey, require_content

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
WIDE = ("I", "I;16", "I;16B", "I;16L", "F")


def read_raster(path: Path, file: str, *, window: tuple[float, float] | None = None) -> list[Picture]:
    """One image: grey as stored (8 or 16 bits), colour as three 8-bit channels; transparency and metadata are dropped.

    Raises:
        Unreadable: not an image, several pages, NaN, or constant.
    """
    values, synthetic = _decode(path)
    require_content(values)
    if values.ndim == 3:
        pixels, channels = colour(values)
        if len(channels) == 3:
            return [Picture(pixels, channels, (file,), file_digest(path), synthetic=synthetic)]
        values = pixels[0]
    pixels, channel = grey(values, "grey", window=window)
    return [Picture(pixels, (channel,), (file,), file_digest(path), synthetic=synthetic)]


def _decode(path: Path) -> tuple[np.ndarray, bool]:
    """The pixels, and whether the file says that it is synthetic."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise Unreadable(f"it holds {image.n_frames} pages; write one image a file, or a NIfTI volume")
            synthetic = str(image.info.get("Description", "")).lower().startswith("synthetic")
            image = ImageOps.exif_transpose(image)
            if image.mode in WIDE:
                return _narrow(np.asarray(image)), synthetic
            return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")), synthetic
    except UnidentifiedImageError:
        raise Unreadable("it is no image, or damaged from the start") from None
    except Image.DecompressionBombError:
        raise Unreadable("it has more pixels than any medical image; it may be an attack") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise Unreadable("it is truncated or damaged") from error


def _narrow(values: np.ndarray) -> np.ndarray:
    """Whole numbers that fit 16 bits as uint16; the rest as they are."""
    fits = values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max
    return values.astype(np.uint16) if fits else values
