"""Look at an image or a volume: `view` chooses a viewer, checks what it is given, and draws. Nothing leaves the machine."""
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synthkit.errors import AbilityError, MissingExtraError
from synthkit.widgets.itk import itk
from synthkit.widgets.niivue import niivue
from synthkit.widgets.panels import Panel, panel_figure
from synthkit.widgets.planes import browse
from synthkit.widgets.scene import Scene, scene

if TYPE_CHECKING:
    from ipywidgets import Widget
    from plotly.graph_objects import Figure


def view(
    source: Any, *, overlay: Any = None, beside: Any = None, channel: str | int | None = None,
    spacing_mm: tuple[float, ...] | None = None, backend: str | None = None,
) -> "Widget | Figure":  # fmt: skip
    """An image or volume to look at in a notebook, with what lies over it and a linked twin beside it.

    Volumes appear as three planes and a 3D rendering (NiiVue), images as a plotly figure that zooms. The patient's right
    is at the left of the picture, and letters name the edges: they hold where slices run upward, rows to the back and
    columns to the patient's left, as `sk.load` turns NIfTI files and DICOM volumes that say how they lie.

    Args:
        source: a cohort (of several images the first is shown, and the caption says so: `cohort[i]` picks another), or an
            array or tensor (H, W), (D, H, W), (C, H, W) or (C, D, H, W): three axes of which the first is at most 4 long
            are channels, unless three spacings are given.
        overlay: of the image's size: booleans are a mask, integers labels (0 none), floats a signed map drawn red above
            and blue below 0, over equal ranges. It lies over `source` only.
        beside: a second image of the same size, such as a counterfactual twin; crosshair, slice and zoom are linked. Of a
            cohort of several images the first is shown.
        channel: name or number; without it a colour image shows all three, others the first.
        spacing_mm: millimetres along ([D,] H, W) of a source that states none.
        backend: "niivue" (the default for volumes), "plotly" (for images, and for volumes where ipyniivue is missing), or
            "itk" (the extra itk; it loads its viewer from the internet).
    Returns:
        A widget (niivue, itk) or a plotly figure; as the last line of a cell either shows itself.
    Raises:
        DataError: nothing to show, sizes that differ, NaN, no image, an unknown channel, a spacing that does not fit.
        AbilityError: an unknown backend, or one that cannot draw this.
        MissingExtraError: a backend that is not installed.

    Example:
        sk.view(brain[0], overlay=tumour, backend="niivue")
    """
    if backend is not None and backend not in BACKENDS:
        raise AbilityError(f"backend {backend!r} is not one of {', '.join(BACKENDS)}; leave it out for the usual one")
    found = scene(source, overlay=overlay, beside=beside, channel=channel, spacing_mm=spacing_mm)
    if backend is not None:
        return BACKENDS[backend](found)
    if not found.volume:
        return plotly(found)
    try:
        return niivue(found)
    except MissingExtraError:
        return plotly(replace(found, note="ipyniivue cannot be imported, so three planes stand in for the 3D viewer"))


def plotly(found: Scene) -> "Figure":
    """The scene as a plotly figure: images as they are, volumes as three planes with sliders."""
    if found.volume:
        return browse(found)
    names = [""] if found.beside is None else [one.title for one in found.images]
    overs = [(found.overlay.colours(found.overlay.values),) if found.overlay else (), ()]
    row = [Panel(name, (one.grey(one.values), *over), one.steps) for name, one, over in zip(names, found.images, overs)]  # type: ignore[arg-type]
    return panel_figure([row], found, linked=True)


BACKENDS: Mapping[str, Callable[[Scene], Any]] = {"niivue": niivue, "plotly": plotly, "itk": itk}
