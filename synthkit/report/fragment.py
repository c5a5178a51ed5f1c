"""Results as pieces of an HTML page that opens offline."""
import html
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind
from synthkit.core.result import Section
from synthkit.errors import DataError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PICTURES = ("image", "heatmap", "contour", "surface", "volume", "isosurface")  # kinds of plotly traces that can hold pixels

FOLDED = 16  # longer tables open on a click
MANY = 9  # columns, beyond which a table is set smaller
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#1c2733}
h1{margin-bottom:.2rem}h2{margin-top:2.5rem;border-bottom:1px solid #d5dde5;padding-bottom:.2rem}
.banner{background:#fff6e0;border-left:4px solid #d29a00;padding:.6rem 1rem}
table{border-collapse:collapse;font-size:14px;margin:1rem 0}th,td{padding:.25rem .6rem;border-bottom:1px solid #e3e8ee;text-align:left}
thead th{background:#f3f6f9}.caveats{background:#f6f8fa;padding:.5rem 1rem .5rem 2rem;font-size:14px}
.dense table{font-size:11px}.dense th,.dense td{padding:.2rem .3rem}.dense th{overflow-wrap:anywhere;min-width:3.2em;vertical-align:bottom}
.wide::-webkit-scrollbar{height:10px}.wide::-webkit-scrollbar-thumb{background:#9fb0c0;border-radius:5px}.wide::-webkit-scrollbar-track{background:#eef2f5}
nav{line-height:1.9}nav a{margin-right:.4rem;padding:.1rem .5rem;background:#f3f6f9;border-radius:4px}
@media print{table,.dense table{font-size:7px}.wide{overflow:visible}}pre{background:#f6f8fa;padding:.6rem;overflow:auto;font-size:13px}.wide{overflow-x:auto}
"""


def title_of(part: Section | Cohort) -> str:
    """A result's title, or what a cohort is."""
    return part.title if isinstance(part, Section) else f"{part.provenance.kind.capitalize()}: {part.provenance.source} (n = {len(part)})"


def body_of(part: Section | Cohort, *, pictures: bool = True) -> str:
    """Figure, caveats and table of a result; of a cohort its lineage too."""
    frame = part.frame() if isinstance(part, Section) else part.counts()
    figure = f'<div class="wide">{_figure(part)}</div>' if pictures else ""
    return f"{figure}{list_html(part.caveats())}{table_html(frame)}{_lineage(part)}"


def _figure(part: Section | Cohort) -> str:
    picture = part.figure().update_layout(title=None)
    return picture.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})


def holds_pictures(figure: "Figure") -> bool:
    """Whether pixels are in a figure, rather than marks and lines."""
    return bool(figure.layout.images) or any(trace.type in PICTURES for trace in figure.data)


def list_html(lines: list[str]) -> str:
    """Caveats as a list; nothing where there are none."""
    caveats = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<ul class="caveats">{caveats}</ul>' if caveats else ""


def table_html(frame: pd.DataFrame, *, folded: int = FOLDED) -> str:
    """A table, set smaller where it is wide, and folded where it is long."""
    # None and NaN alike are blank to a reader.
    table = frame.astype(object).where(frame.notna(), "").to_html(index=False, border=0, float_format="{:.4g}".format)
    shown = table if len(frame) <= folded else f"<details><summary>All {len(frame)} rows</summary>{table}</details>"
    return f'<div class="wide{" dense" if frame.shape[1] > MANY else ""}">{shown}</div>'


def _lineage(part: Section | Cohort) -> str:
    if not isinstance(part, Cohort):
        return ""
    lines = html.escape("\n".join(part.provenance.lines()))
    return f"<details><summary>Lineage</summary><pre>{lines}</pre></details>"


def page_html(title: str, body: str, *, style: str = STYLE) -> str:
    """A whole page; plotly's script is inside it, so nothing is fetched."""
    from plotly.offline import get_plotlyjs

    return (f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
            f'<link rel="icon" href="data:,"><style>{style}</style><script>{get_plotlyjs()}</script></head><body>{body}</body></html>')  # fmt: skip


def write_page(path: str | Path, page: str) -> Path:
    """Write a page, whole or not at all; DataError where that cannot be."""
    require_kind("path", path, (str, Path), "a file to write, such as 'report.html'")
    place = Path(path).expanduser()
    if place.is_dir():
        raise DataError(f"{str(place)!r} is a folder; give a file, such as {str(place / 'report.html')!r}")
    try:
        write_atomically(place, page.encode())
    except OSError as error:
        raise DataError(f"{str(place)!r} cannot be written ({error.strerror or error}); make room or give another file") from error
    return place
