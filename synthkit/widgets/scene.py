"""All that one view holds: an image, what lies over it, and what stands beside it."""
from dataclasses import dataclass, replace
from typing import Any

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.widgets.overlay import Overlay, overlay_for
from synthkit.widgets.shown import OWN_SCALE, Shown, shown

# The orientation that sk.load gives a NIfTI volume, and that of an axial DICOM series of a patient on his back.
AXES = "slices run upward (S), rows to the back (P), columns to the patient's left (L)"


@dataclass(frozen=True, eq=False)
class Scene:
    """What every backend draws.

    Args:
        image: the image.
        overlay: over the image, never over what stands beside it.
        beside: a second image of the same size, in the same window.
        note: what must be said of the way it is drawn.
    """

    image: Shown
    overlay: Overlay | None = None
    beside: Shown | None = None
    note: str = ""

    @property
    def images(self) -> list[Shown]:
        """The image, then what stands beside it."""
        return [self.image] if self.beside is None else [self.image, self.beside]

    @property
    def volume(self) -> bool:
        """Whether the images have depth."""
        return len(self.image.size) == 3

    def notes(self) -> list[str]:
        """What stands below the title: the facts of each image, the overlay, a grey scale that is not synthkit's, and how to read the letters."""
        lines = [one.facts if len(self.images) == 1 else f"{place}: {one.facts}" for place, one in zip(("first", "beside"), self.images)]
        lines += [f"overlay: {self.overlay.text}"] if self.overlay else []
        low, high = self.image.window
        lines += [f"black is {low:.3g}, white {high:.3g}"] if self.image.window != OWN_SCALE else []
        lines += [f"letters hold if {AXES}"] if self.volume else []
        return [*lines, self.note] if self.note else lines


def scene(source: Any, *, overlay: Any, beside: Any, channel: str | int | None, spacing_mm: tuple[float, ...] | None) -> Scene:
    """The checked scene; see `view` for its arguments and errors."""
    image = shown(source, channel=channel, spacing_mm=spacing_mm)
    over = None if overlay is None else overlay_for(overlay, (image.channels, *image.size), channel=image.channel)
    if beside is None:
        return Scene(image, over)
    # A twin without a spacing of its own is drawn on the grid of its original, and read as a volume where that is one.
    twin = shown(beside, channel=channel, spacing_mm=image.spacing_mm if len(image.size) == 3 and not isinstance(beside, Cohort) else None)
    if twin.values.shape != image.values.shape:
        shapes = f"{image.values.shape} and {twin.values.shape} as (channels, ...)"
        raise DataError(f"the images have shapes {shapes}; a linked pair needs equal ones: load both with the same size=, or give channel=")
    if twin.spacing_mm and image.spacing_mm and twin.spacing_mm != image.spacing_mm:
        raise DataError(f"the images have spacings {image.spacing_mm} and {twin.spacing_mm} mm; a linked pair needs equal ones: load both with spacing_mm=")
    window = (min(image.window[0], twin.window[0]), max(image.window[1], twin.window[1]))
    spacing = image.spacing_mm or twin.spacing_mm
    return Scene(replace(image, window=window, spacing_mm=spacing), over, replace(twin, window=window, spacing_mm=spacing))
