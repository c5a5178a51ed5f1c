"""Volumes as three planes through their middle: a contact sheet for reports, with sliders where no 3D viewer runs."""
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import DataError
from synthkit.widgets.overlay import Overlay
from synthkit.widgets.panels import Panel, address, panel_figure
from synthkit.widgets.scene import Scene, scene
from synthkit.widgets.shown import Shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# The letters at the left, right, top and bottom of each plane: radiological, as DICOM viewers draw them.
EDGES = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
MOST_SLICES = 128  # per axis, with sliders: every slice is a picture in the notebook


def planes(
    source: Any, *, overlay: Any = None, beside: Any = None, channel: str | int | None = None, spacing_mm: tuple[float, ...] | None = None
) -> "Figure":  # fmt: skip
    """The axial, coronal and sagittal middle slices of a volume, in true proportions, as a static figure for reports.

    Takes what `view` takes. The patient's right is at the left of a picture; letters name the edges.

    Raises:
        DataError: no volume, or what `view` refuses.

    Example:
        planes(volume, overlay=mask).write_html("planes.html", include_plotlyjs=True)
    """
    found = scene(source, overlay=overlay, beside=beside, channel=channel, spacing_mm=spacing_mm)
    if not found.volume:
        raise DataError(f"planes shows volumes, got an image of {found.image.size}: view shows it; a volume of up to four slices is (1, D, H, W)")
    return _figure(found)


def cut(values: np.ndarray, plane: str, index: int) -> np.ndarray:
    """One slice (..., rows, columns) of (..., D, H, W), turned as it is looked at: head or nose up, the patient's right at the left."""
    if plane == "axial":
        return values[..., index, :, :]
    return values[..., ::-1, index, :] if plane == "coronal" else values[..., ::-1, :, index]


def browse(found: Scene) -> "Figure":
    """The three planes with a slider each; large volumes thinned to 128 slices an axis, and the note says so."""
    thin = _thinned(found)
    figure = _figure(thin)
    for number, plane in enumerate(EDGES):
        count = thin.image.size[number]
        places = [i for i, trace in enumerate(figure.data) if trace.meta is not None and trace.meta % len(EDGES) == number]
        steps = [dict(method="restyle", label=str(i), args=[{"source": _sources(thin, plane, i)}, places]) for i in range(count)]
        domain = figure.layout[f"xaxis{number + 1 if number else ''}"].domain
        slider = dict(steps=steps, active=count // 2, x=domain[0], len=domain[1] - domain[0], y=0, pad=dict(t=30), currentvalue=dict(prefix="slice "))
        figure.layout.sliders = (*figure.layout.sliders, dict(slider, ticklen=0, minorticklen=0, font=dict(color="rgba(0,0,0,0)"), name=plane))
        figure.layout.sliders[number].currentvalue.font = dict(color="#333", size=12)
    return figure.update_layout(height=figure.layout.height + 70, margin_b=100)


def _figure(found: Scene) -> "Figure":
    rows = [[_panel(found, one, plane) for plane in EDGES] for one in found.images]
    return panel_figure(rows, found)


def _panel(found: Scene, image: Shown, plane: str) -> Panel:
    axis = list(EDGES).index(plane)
    over = found.overlay if image is found.image else None
    down, across = (step for number, step in enumerate(image.steps) if number != axis)
    place = "" if image is found.image else ", beside"
    return Panel(f"{plane}{place}", _layers(image, over, plane, image.size[axis] // 2), (down, across), EDGES[plane])


def _layers(image: Shown, over: Overlay | None, plane: str, index: int) -> tuple[np.ndarray, ...]:
    picture = image.grey(cut(image.values, plane, index))
    return (picture,) if over is None else (picture, over.colours(cut(over.values, plane, index)))


def _sources(found: Scene, plane: str, index: int) -> list[str]:
    layers = [_layers(one, found.overlay if one is found.image else None, plane, index) for one in found.images]
    return [address(layer) for pair in layers for layer in pair]


def _thinned(found: Scene) -> Scene:
    """Every n-th voxel along an axis of more than 128."""
    every = tuple(-(-count // MOST_SLICES) for count in found.image.size)
    if set(every) == {1}:
        return found
    pick = tuple(slice(None, None, n) for n in every)
    images = [replace(one, values=one.values[(slice(None), *pick)], spacing_mm=tuple(s * n for s, n in zip(one.steps, every))) for one in found.images]
    size = " × ".join(map(str, images[0].size))
    note = f"thinned: every {' × '.join(map(str, every))} voxels, {size} are shown. {found.note}".strip()
    over = found.overlay and replace(found.overlay, values=found.overlay.values[pick])
    return Scene(images[0], over, *images[1:], note=note)
