"""Image files of a folder, found, grouped and decoded in parallel; what cannot be read is listed with its reason."""
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from synthkit.data import nifti, rasters
from synthkit.data.dicom import dicom_jobs
from synthkit.data.dicom_header import Header, read_header
from synthkit.data.options import Options
from synthkit.data.picture import Job, Picture, Skip, Unreadable
from synthkit.data.resize import fit
from synthkit.errors import DataError

PAPERS = (
    ".csv", ".tsv", ".txt", ".md", ".json", ".yaml", ".yml", ".xml", ".html", ".pdf", ".xlsx", ".parquet", ".py", ".ipynb", ".zip", ".gz", ".npz", ".npy",
    ".log",
)  # fmt: skip
MASK_ENDINGS = ("_mask", "_seg", "_segmentation", "-mask", "-seg")
DICOM_SUFFIXES = ("", ".dcm", ".dicom", ".ima")
KNOWN_SUFFIXES = (*nifti.SUFFIXES[::-1], *rasters.SUFFIXES, *DICOM_SUFFIXES[1:])
WORKERS = min(8, os.cpu_count() or 1)


def is_dicom(path: Path) -> bool:
    """Whether a file is, or is called, DICOM."""
    if path.suffix.lower() in DICOM_SUFFIXES[1:]:
        return True
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def stem(file: str) -> str:
    """A file's name without folder and image suffix."""
    name = file.replace("\\", "/").rsplit("/", 1)[-1]
    for suffix in KNOWN_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def image_files(source: Path) -> list[Path]:
    """The files that may be images, in order: papers, hidden files and DICOMDIR are left out."""
    if source.is_file():
        return [source]
    found = []
    for path in sorted(source.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        paper = path.suffix.lower() in PAPERS and not path.name.lower().endswith(nifti.SUFFIXES)
        if path.is_file() and not hidden and not paper and path.name not in ("DICOMDIR", "LICENSE", "README"):
            found.append(path)
    return found


def read_files(source: Path, options: Options) -> tuple[list[Picture], list[Skip]]:
    """Every image under a folder (or of one file), brought to the wanted size.

    Raises:
        DataError: with strict=True, at the first file that cannot be read.
    """
    root = source if source.is_dir() else source.parent
    skips: list[Skip] = []
    with warnings.catch_warnings():
        # Decoders warn of every oddity by file; what matters becomes a reason in `skipped`.
        warnings.simplefilter("ignore")
        jobs, dicoms = _sort(source, root, options, skips)
        headers = [h for h in in_parallel(partial(_header, skips=skips), dicoms, "Reading headers") if h is not None]
        jobs += dicom_jobs(headers, window=options.window)
        read = [picture for pictures in in_parallel(partial(_run, options=options, skips=skips), jobs, "Reading images") for picture in pictures]
    skips.sort(key=lambda skip: skip.file)
    if options.strict and skips:
        raise DataError(f"{skips[0].file}: {skips[0].reason}. strict=True stops at the first such file; without it they are listed in .skipped")
    return sorted(read, key=lambda picture: picture.files[0]), skips


def _sort(source: Path, root: Path, options: Options, skips: list[Skip]) -> tuple[list[Job], list[tuple[Path, str]]]:
    jobs, dicoms = [], []
    paths = image_files(source)
    names = [stem(path.name).lower() for path in paths]
    masks = {path for path, name in zip(paths, names) if name.endswith(MASK_ENDINGS)}
    for path in paths:
        file = path.relative_to(root).as_posix()
        reader = next((r for suffixes, r in READERS if path.name.lower().endswith(suffixes)), None)
        if path in masks and len(masks) < len(paths):
            skips.append(Skip(file, "it is called a mask, not an image"))
        elif (blocked := _blocked(path)) is not None:
            skips.append(Skip(file, blocked))
        elif reader is not None:
            jobs.append(Job((file,), partial(reader, path, file, window=options.window)))
        elif is_dicom(path):
            dicoms.append((path, file))
        else:
            skips.append(Skip(file, "it is of no format that synthkit reads (DICOM, NIfTI, PNG, JPEG, TIFF, BMP, WebP, npz)"))
    return jobs, dicoms


def _blocked(path: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            return None if file.read(1) else "it is empty: 0 bytes"
    except OSError:
        return "it cannot be opened: no permission, or it is gone"


READERS: tuple[tuple[tuple[str, ...], Callable[..., list[Picture]]], ...] = ((nifti.SUFFIXES, nifti.read_nifti), (rasters.SUFFIXES, rasters.read_raster))


def _header(where: tuple[Path, str], *, skips: list[Skip]) -> Header | None:
    try:
        return read_header(*where)
    except Unreadable as error:
        skips.append(Skip(where[1], str(error)))
        return None


def _run(job: Job, *, options: Options, skips: list[Skip]) -> list[Picture]:
    try:
        return [fit(picture, options) for picture in job.read()]
    except Unreadable as error:
        reason = str(error)
    except DataError:
        raise
    except Exception as error:  # a damaged file may break any decoder; it costs this file, and its reason says where
        reason = f"it cannot be decoded ({type(error).__name__})"
    skips.extend(Skip(file, reason) for file in job.files)
    return []


def in_parallel(work: Callable, items: Sequence, label: str) -> list:
    """Results in order; a progress bar shows after two seconds."""
    if not items:
        return []
    from tqdm.auto import tqdm

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(tqdm(pool.map(work, items), total=len(items), desc=label, delay=2, leave=False, disable=None))
