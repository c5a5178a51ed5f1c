"""Plotly curves over one axis, several panels of several lines."""
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from plotly.graph_objects import Figure, Scatter

PANELS = 3  # beside each other
HEIGHT = 300
DASHES = ("solid", "dash", "dot")


def curves(
    panels: Mapping[str, pd.DataFrame], *, x: str, y: str, line: str, title: str, y_name: str = "", mark: float | None = None,
    wide: bool = True, log_x: bool = False, x_names: Sequence[str] = (),
) -> "Figure":  # fmt: skip
    """One panel per frame, one line per value of the column `line`, with a band where the frame has `low` and `high`.

    Args:
        mark: a height to draw a dotted rule at.
        wide: values are squeezed by asinh, since they lie between 0.1 and 1,000; the axis is labelled in the values themselves.
        log_x: a logarithmic x axis, labelled at the values that occur.
        x_names: of the x axis of each panel.
    """
    import plotly.graph_objects as go
    from plotly.colors import qualitative
    from plotly.subplots import make_subplots

    columns = min(PANELS, len(panels))
    rows = -(-len(panels) // columns)
    figure = make_subplots(rows=rows, cols=columns, subplot_titles=list(panels), shared_yaxes=wide, vertical_spacing=0.18 if rows > 1 else 0.1)
    names = list(dict.fromkeys(name for part in panels.values() for name in part[line]))
    tints = qualitative.D3
    colours = {name: tints[i % len(tints)] for i, name in enumerate(names)}
    dashes = {name: DASHES[i // len(tints) % len(DASHES)] for i, name in enumerate(names)}
    squeeze = np.arcsinh if wide else np.asarray
    listed: set[str] = set()
    for number, part in enumerate(panels.values()):
        place = {"row": number // columns + 1, "col": number % columns + 1}
        for name, here in part.groupby(line, sort=False):
            if {"low", "high"} <= set(here.columns):
                figure.add_trace(_band(*(np.asarray(end) for end in (here[x], squeeze(here["low"]), squeeze(here["high"]))), colours[name]), **place)
            style = dict(mode="lines+markers", marker_size=5, line=dict(color=colours[name], dash=dashes[name]), hovertemplate="%{customdata:.3g}")
            curve = go.Scatter(x=here[x], y=squeeze(here[y]), customdata=here[y], name=name, legendgroup=name, showlegend=name not in listed, **style)
            figure.add_trace(curve, **place)
            listed.add(name)
        if mark is not None:
            figure.add_hline(y=float(squeeze(mark)), line_dash="dot", line_color="#888888", **place)
    _label(figure, panels, x, x_names, columns, wide=wide, log_x=log_x)
    figure.update_yaxes(title_text=y_name, col=1)
    figure.update_layout(title=title, template="plotly_white", height=110 + HEIGHT * rows, margin=dict(l=60, t=80, b=40), legend_tracegroupgap=0)
    return figure


def _label(
    figure: "Figure", panels: Mapping[str, pd.DataFrame], x: str, x_names: Sequence[str], columns: int, *, wide: bool, log_x: bool
) -> None:  # fmt: skip
    """The ticks and titles of the axes."""
    if wide:
        ticks = [-1000, -100, -10, -3, -1, 0, 1, 3, 10, 100, 1000]
        figure.update_yaxes(tickvals=np.arcsinh(ticks), ticktext=[f"{tick:,}" for tick in ticks])
    for number, name in enumerate(x_names):
        figure.update_xaxes(title_text=name, title_standoff=4, row=number // columns + 1, col=number % columns + 1)
    if log_x:
        occur = sorted({value for part in panels.values() for value in part[x]})
        figure.update_xaxes(type="log", tickvals=occur, ticktext=[f"{value:g}" for value in occur])


def _band(x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str) -> "Scatter":
    from plotly.graph_objects import Scatter

    edge, height = (np.concatenate([there, back[::-1]]) for there, back in ((x, x), (high, low)))
    return Scatter(x=edge, y=height, fill="toself", mode="lines", line_width=0, opacity=0.18, fillcolor=colour, showlegend=False, hoverinfo="skip")
