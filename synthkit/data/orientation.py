"""How a volume lies, and the turn to the one way that the viewer names: slices upward, rows to the back, columns to the patient's left."""
from collections.abc import Sequence

import numpy as np

from synthkit.data.picture import Picture

UPWARD_BACK_LEFT = ("S", "P", "L")
CLEARLY_OBLIQUE = 10.0  # degrees


def turn(affine: np.ndarray) -> np.ndarray:
    """Which axis goes where, and which are reversed, by the nearest anatomical axes: an orientation array of nibabel.

    Args:
        affine: (4, 4); its columns say where the stored axes point in the patient (to the right, to the front, up), as in NIfTI.
    """
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    return ornt_transform(io_orientation(affine), axcodes2ornt(UPWARD_BACK_LEFT))


def oblique_degrees(affine: np.ndarray) -> float:
    """The largest angle between a stored axis and its nearest anatomical one."""
    from nibabel.orientations import io_orientation

    axes = np.asarray(affine)[:3, :3]
    nearest = io_orientation(affine)[:, 0].astype(int)
    cosines = np.abs(axes / np.linalg.norm(axes, axis=0))[nearest, range(3)]
    return float(np.degrees(np.arccos(min(1.0, cosines.min()))))


def notes_on_axes(pictures: Sequence[Picture]) -> tuple[str, ...]:
    """What must be said where sides are not known, or where axes are only nearly those that the viewer names."""
    volumes, notes = [picture for picture in pictures if len(picture.size) == 3], []
    unknown = sum(volume.oblique_degrees is None for volume in volumes)
    if unknown:
        notes.append(f"{unknown} of {len(volumes)} volumes do not state how they lie: their axes are as stored, and the patient's left is not known.")
    tilted = [v.oblique_degrees for v in volumes if v.oblique_degrees is not None and v.oblique_degrees > CLEARLY_OBLIQUE]
    if tilted:
        notes.append(f"{len(tilted)} of {len(volumes)} volumes are oblique, by {max(tilted):.0f}° at most: up, back and left name the nearest axes.")
    return tuple(notes)
