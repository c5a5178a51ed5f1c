"""Pictures side by side in one plotly figure: true proportions, an overlay that can be switched off, letters at the edges."""
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from synthkit.core.figures import png
from synthkit.widgets.overlay import BLUE, RED, Overlay
from synthkit.widgets.scene import Scene

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Image

WIDE, TALL = 740, 460  # pixels that the pictures of one row may take


@dataclass(frozen=True, eq=False)
class Panel:
    """One picture.

    Args:
        name: above it.
        layers: (H, W, 3) pictures and (H, W, 4) overlays, from below upward.
        steps: height and width of a pixel, in mm or in equal units.
        edges: letters at its left, right, top and bottom; empty for none.
    """

    name: str
    layers: tuple[np.ndarray, ...]
    steps: tuple[float, float]
    edges: str = ""

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width."""
        return self.layers[0].shape[0] * self.steps[0], self.layers[0].shape[1] * self.steps[1]


def address(picture: np.ndarray) -> str:
    """A picture as a data URL."""
    return "data:image/png;base64," + base64.b64encode(png(picture)).decode()


def panel_figure(rows: Sequence[Sequence[Panel]], scene: Scene, *, linked: bool = False) -> "Figure":
    """The panels as a figure titled with the scene's images; `linked` panels zoom and pan together."""
    from plotly.subplots import make_subplots

    wide = sum(panel.extent[1] for panel in rows[0])
    scale = min(WIDE / wide, TALL / max(panel.extent[0] for panel in rows[0]))
    heights = [max(panel.extent[0] for panel in row) * scale for row in rows]
    figure = make_subplots(
        rows=len(rows), cols=len(rows[0]), column_widths=[panel.extent[1] / wide for panel in rows[0]],
        subplot_titles=[escape(panel.name) for row in rows for panel in row], horizontal_spacing=0.04, vertical_spacing=0.09,
    )  # fmt: skip
    for number, panel in enumerate(panel for row in rows for panel in row):
        _draw(figure, panel, number, linked=linked and number > 0, columns=len(rows[0]))
    _title(figure, scene, width=int(wide * scale), height=int(sum(heights)))
    if scene.overlay:
        _explain(figure, scene.overlay)
    return figure


def _draw(figure: "Figure", panel: Panel, number: int, *, linked: bool, columns: int) -> None:
    row, column, axis = number // columns + 1, number % columns + 1, str(number + 1) if number else ""
    for layer in panel.layers:
        figure.add_trace(_image(layer, panel, number), row=row, col=column)
    (height, width), (dy, dx) = panel.extent, panel.steps
    figure.update_xaxes(visible=False, range=[-dx / 2, width - dx / 2], constrain="domain", matches="x" if linked else None, row=row, col=column)
    figure.update_yaxes(
        visible=False, range=[height - dy / 2, -dy / 2], constrain="domain", scaleanchor=f"x{axis}", matches="y" if linked else None, row=row, col=column
    )  # fmt: skip
    places = ((0, 0.5, "left", "middle"), (1, 0.5, "right", "middle"), (0.5, 1, "center", "top"), (0.5, 0, "center", "bottom"))
    for letter, (x, y, across, up) in zip(panel.edges, places):
        figure.add_annotation(
            x=x, y=y, xref=f"x{axis} domain", yref=f"y{axis} domain", xanchor=across, yanchor=up,
            text=letter, showarrow=False, font=dict(size=13, color="#ffd54a"), bgcolor="rgba(0,0,0,0.45)", borderpad=0,
        )  # fmt: skip


def _image(layer: np.ndarray, panel: Panel, number: int) -> "Image":
    import plotly.graph_objects as go

    dy, dx = panel.steps
    over = layer.shape[-1] == 4
    # The panel's number stands in `meta`, so that a slider finds its traces.
    return go.Image(
        source=address(layer), dx=dx, dy=dy, meta=number, name="overlay" if over else panel.name,
        hoverinfo="skip" if over else "x+y+color", zsmooth=False,
    )  # fmt: skip


def _title(figure: "Figure", scene: Scene, *, width: int, height: int) -> None:
    names = list(dict.fromkeys(one.title for one in scene.images))
    lines = [f"<b>{escape(' | '.join(names))}</b>", *(f'<span style="font-size:12px">{escape(note)}</span>' for note in scene.notes())]
    top = 52 + 18 * len(lines)
    figure.update_layout(
        title=dict(text="<br>".join(lines), x=0.01, y=1, yref="container", yanchor="top", pad=dict(t=10), font_size=15),
        width=max(width + 150, 560), height=height + top + 30, margin=dict(l=20, r=120, t=top, b=30), plot_bgcolor="white", showlegend=True,
    )  # fmt: skip


def _explain(figure: "Figure", overlay: Overlay) -> None:
    """A colour bar or a legend for the overlay, and a button that hides it."""
    import plotly.graph_objects as go

    if overlay.kind == "signed":
        colours = [[0, f"rgb{BLUE}"], [0.5, "white"], [1, f"rgb{RED}"]]
        bar = dict(thickness=12, len=0.6, y=1, yanchor="top")
        marker = dict(color=[0], colorscale=colours, cmin=-overlay.limit, cmax=overlay.limit, showscale=True, colorbar=bar, opacity=0)
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, showlegend=False, hoverinfo="skip"))
    for label, colour in list(overlay.legend.items())[:20]:
        name = "mask" if overlay.kind == "mask" else f"label {label}"
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=dict(color=f"rgb{colour}", symbol="square", size=11), name=name))
    places = [number for number, trace in enumerate(figure.data) if trace.name == "overlay"]
    buttons = [dict(label=f"overlay {word}", method="restyle", args=[{"visible": on}, places]) for word, on in (("on", True), ("off", False))]
    figure.update_layout(updatemenus=[dict(type="buttons", direction="down", buttons=buttons, x=1.02, y=0, xanchor="left", yanchor="bottom", showactive=True)])
