"""Plotly builders and contact sheets shared by every result."""
import base64
import io
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import torch
    from plotly.graph_objects import Figure

SINGLE = 4  # more panels than this stand in two columns
TITLE = 34  # letters in a line above one of two columns
APART = 0.25  # rows between a value and its floor


def plane(image: "torch.Tensor") -> np.ndarray:
    """(H, W, 3) uint8 picture of one (C, [D,] H, W) image in [-1, 1]; a volume shows its middle slice."""
    pixels = np.asarray(image, np.float32)
    if pixels.ndim == 4:
        pixels = pixels[:, pixels.shape[1] // 2]
    colour = pixels if len(pixels) == 3 else np.repeat(pixels[:1], 3, 0)
    return (np.clip((colour.transpose(1, 2, 0) + 1) / 2, 0, 1) * 255 + 0.5).astype(np.uint8)


def planes(image: "torch.Tensor") -> list[np.ndarray]:
    """Axial, coronal and sagittal middle plane of one (C, D, H, W) volume in [-1, 1] as (side, side, 3) uint8 pictures, slices running upward.

    Planes are centred on black squares of one size, in voxels as they are: proportions hold where voxels are cubes.
    """
    pixels = np.asarray(image, np.float32)
    _, depth, height, width = pixels.shape
    cuts = pixels[:, depth // 2], pixels[:, ::-1, height // 2], pixels[:, ::-1, :, width // 2]
    side, framed = max(depth, height, width), []
    for cut in cuts:
        frame = np.full((len(pixels), side, side), -1, np.float32)
        top, left = (side - cut.shape[1]) // 2, (side - cut.shape[2]) // 2
        frame[:, top : top + cut.shape[1], left : left + cut.shape[2]] = cut
        framed.append(plane(frame))
    return framed


def signed_plane(change: "torch.Tensor", limit: float) -> np.ndarray:
    """(H, W, 3) uint8: red where the change brightens, blue where it darkens, white at zero."""
    pixels = np.asarray(change, np.float32)
    pixels = pixels[:, pixels.shape[1] // 2] if pixels.ndim == 4 else pixels
    share = np.clip(pixels.mean(0) / max(limit, 1e-6), -1, 1)[..., None]
    red, blue, white = np.array([178, 24, 43.0]), np.array([33, 102, 172.0]), 255.0
    colour = np.where(share > 0, white + share * (red - white), white - share * (blue - white))
    return (colour + 0.5).astype(np.uint8)


def sheet(pictures: Sequence[np.ndarray], *, columns: int, gap: int = 2) -> np.ndarray:
    """Pictures (H, W, 3) of one size laid out in rows on white."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        page[top : top + height, left : left + width] = picture
    return page


def png(picture: np.ndarray, *, scale: int = 1, text: dict[str, str] | None = None) -> bytes:
    """PNG bytes of an (H, W, 3) picture, enlarged by whole pixels; `text` becomes PNG text chunks."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for name, value in (text or {}).items():
        info.add_text(name, value)
    out = io.BytesIO()
    big = picture.repeat(scale, 0).repeat(scale, 1)
    Image.fromarray(big).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def img_tag(picture: np.ndarray, *, scale: int = 1, alt: str = "") -> str:
    """An HTML image tag that holds the picture itself."""
    return f'<img alt="{alt}" style="image-rendering:pixelated" src="data:image/png;base64,{base64.b64encode(png(picture, scale=scale)).decode()}">'


def picture_figure(
    rows: Sequence[Sequence[np.ndarray]], *, title: str, row_names: Sequence[str] = (), column_names: Sequence[str] = (), caption: str = ""
) -> "Figure":
    """A plotly figure of a grid of equally large pictures with names beside the rows and above the columns."""
    import plotly.graph_objects as go

    columns = max(len(row) for row in rows)
    height, width, _ = rows[0][0].shape
    gap = max(2, width // 32)
    blank = np.full((height, width, 3), 255, np.uint8)
    page = sheet([p for row in rows for p in [*row, *[blank] * (columns - len(row))]], columns=columns, gap=gap)
    enlarge = max(1, round(110 / width)) if width < 110 else 1
    source = "data:image/png;base64," + base64.b64encode(png(page, scale=enlarge)).decode()
    figure = go.Figure(go.Image(source=source, hoverinfo="skip"))
    step_y, step_x = (height + gap) * enlarge, (width + gap) * enlarge
    for number, name in enumerate(row_names):
        figure.add_annotation(x=-6, y=(number + 0.5) * step_y, text=name, showarrow=False, xanchor="right", font_size=11)
    for number, name in enumerate(column_names):
        figure.add_annotation(x=(number + 0.5) * step_x, y=-4, text=name, showarrow=False, yanchor="bottom", font_size=11)
    if caption:
        figure.add_annotation(x=0, y=page.shape[0] * enlarge + 6, text=caption, showarrow=False, xanchor="left", yanchor="top", font_size=11)
    left = 20 + 7 * max([len(name) for name in row_names], default=0)
    scale = min(1.0, 760 / (page.shape[1] * enlarge))
    figure.update_layout(
        title=title, width=int(page.shape[1] * enlarge * scale) + left + 30, height=int(page.shape[0] * enlarge * scale) + 90,
        margin=dict(l=left, r=10, t=60, b=30), plot_bgcolor="white",
    )  # fmt: skip
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    return figure


def interval_plot(frame: pd.DataFrame, *, title: str, names: tuple[str, str] = ("value", "floor")) -> "Figure":
    """Values with their intervals, one panel per metric and one row per group; below each its floor, in red.

    Args:
        frame: metric, group, value, low, high, floor and, where the floor has an interval, floor_low and floor_high.
        names: what the two marks are, for the legend.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    metrics = list(dict.fromkeys(frame["metric"]))
    columns = 1 if len(metrics) <= SINGLE else 2
    groups = [frame.loc[frame["metric"] == metric, "group"].nunique() for metric in metrics]
    most = [64 + 24 * max(groups[i : i + columns]) for i in range(0, len(metrics), columns)] or [64]
    titles = ["<br>".join(wrap(metric, TITLE)) for metric in metrics] if columns > 1 else metrics
    gap = 72 if any("<br>" in name for name in titles) else 54
    figure = make_subplots(
        rows=len(most), cols=columns, subplot_titles=titles, row_heights=most, vertical_spacing=gap / (90 + sum(most)), horizontal_spacing=0.2
    )
    for number, metric in enumerate(metrics):
        part, place = frame[frame["metric"] == metric], {"row": number // columns + 1, "col": number % columns + 1}
        height = np.arange(len(part))
        red = dict(color="#b2182b", symbol="line-ns-open", size=10)
        floor = go.Scatter(x=part["floor"], y=height + APART, marker=red, error_x=_bars(part, "floor", "floor_low", "floor_high"), name=names[1])
        value = go.Scatter(x=part["value"], y=height, marker_color="#2166ac", error_x=_bars(part, "value", "low", "high"), name=names[0])
        for trace in (value, floor) if part["floor"].notna().any() else (value,):
            first = trace.name not in {drawn.name for drawn in figure.data}
            figure.add_trace(trace.update(mode="markers", legendgroup=trace.name, showlegend=first), **place)
        figure.update_yaxes(tickvals=height, ticktext=part["group"].astype(str).tolist(), range=[len(part) - 0.4, -0.6], **place)
    legend = dict(orientation="h", x=0, y=0, yref="container", yanchor="bottom")
    figure.update_layout(title=title, template="plotly_white", height=120 + sum(most), margin=dict(l=160, t=60, b=60), legend=legend)
    figure.update_layout(showlegend=bool(frame["floor"].notna().any()))
    return figure


def _bars(part: pd.DataFrame, middle: str, low: str, high: str) -> dict[str, object]:
    if low not in part:
        return {}
    return dict(type="data", symmetric=False, array=part[high] - part[middle], arrayminus=part[middle] - part[low], thickness=1.5, width=3)
