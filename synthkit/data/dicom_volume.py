"""Which slices make a volume, in what order, how far apart, which way: from their positions, never from SliceThickness."""
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.data.dicom_header import Header
from synthkit.data.picture import Unreadable

STACKED = ("CT", "MR", "PT")
PHASES = ("AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier")
UNEVEN = 0.1  # of the slice distance; beyond it a slice is missing


@dataclass(frozen=True)
class Geometry:
    """Order of the slices along the normal, and the distance between them in mm (None where unknown)."""

    order: tuple[int, ...]
    distance_mm: float | None


def stacks(headers: Sequence[Header]) -> tuple[list[list[Header]], list[Header]]:
    """Files grouped into what is read together: slices of one CT, MR or PET stack; every other file by itself.

    A series with several stacks (another orientation or size, a localizer, or one position taken several times in
    different acquisitions, echoes or phases) gives one volume for each.

    Returns:
        The groups, and files that repeat a slice (the same SOP Instance UID) of a series.
    """
    groups: dict[tuple, list[Header]] = defaultdict(list)
    for header in headers:
        groups[_stack_key(header)].append(header)
    read, copies = [], []
    for group in groups.values():
        slices = {header.text("SOPInstanceUID") or header.file: header for header in reversed(group)}
        if len(slices) == 1:
            read += [[header] for header in group]
        else:
            chosen = [*slices.values()][::-1]
            read += _phases(chosen)
            copies += [header for header in group if header not in chosen]
    return read, copies


def _stack_key(header: Header) -> tuple:
    series, position = header.text("SeriesInstanceUID"), header.numbers("ImagePositionPatient")
    orientation = header.numbers("ImageOrientationPatient")
    if header.modality not in STACKED or header.frames > 1 or not series or len(position) != 3 or len(orientation) != 6:
        return ("file", header.file)
    plane = tuple(round(c, 2) + 0.0 for c in orientation)
    return ("series", series, plane, header.numbers("Rows"), header.numbers("Columns"), "LOCALIZER" in header.text("ImageType"))


def _phases(group: list[Header]) -> list[list[Header]]:
    if len({header.numbers("ImagePositionPatient") for header in group}) == len(group):
        return [group]
    parts: dict[tuple, list[Header]] = defaultdict(list)
    for header in group:
        parts[tuple(header.text(keyword) for keyword in PHASES)].append(header)
    return list(parts.values())


def affine(orientation: Sequence[float]) -> np.ndarray:
    """(4, 4) directions of the axes of slices that `geometry` has ordered: (slice, row, column) in the columns, as NIfTI states them.

    Args:
        orientation: ImageOrientationPatient: cosines of the rows, then of the columns, to the left, to the back and up.
    """
    along_rows, along_columns = np.reshape(orientation, (2, 3))
    directions = np.eye(4)
    directions[:3, :3] = np.column_stack([np.cross(along_rows, along_columns), along_columns, along_rows])
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ directions


def geometry(positions: Sequence[Sequence[float]], orientation: Sequence[float]) -> Geometry:
    """Slices sorted by position along the normal of their plane.

    Args:
        positions: ImagePositionPatient of each slice.
        orientation: ImageOrientationPatient that they share: cosines of the rows, then of the columns.
    Raises:
        Unreadable: two slices at one place, or gaps that differ: a slice is missing.
    """
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.asarray(positions, float) @ normal
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    if not len(gaps):
        return Geometry((0,), None)
    if gaps.min() < 1e-3:
        raise Unreadable("its series holds two slices at one position (several phases or copies); export one series for each")
    middle = float(np.median(gaps))
    if np.abs(gaps - middle).max() > UNEVEN * middle:
        raise Unreadable(f"slices of its series are missing: they are {gaps.min():.3g} to {gaps.max():.3g} mm apart")
    return Geometry(tuple(int(i) for i in order), float(gaps.mean()))
