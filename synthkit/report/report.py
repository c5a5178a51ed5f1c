"""Report: any results as one self-contained HTML file that opens offline."""
import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.provenance import code_version
from synthkit.core.result import Section
from synthkit.errors import DataError

BANNER = "Synthetic images are marked as such. Not a medical device; final validation needs real patients."
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


@dataclass(frozen=True)
class Report:
    """A titled list of results.

    Args:
        title: of the page.
        sections: results (`Section`) and cohorts, in the order of the page.

    Example:
        sk.Report("Effusion study", [qc, twin, why]).save("effusion.html")
    """

    title: str
    sections: Sequence[Section | Cohort]

    def __post_init__(self) -> None:
        if isinstance(self.sections, (Section, Cohort)):
            raise DataError("a report takes a list of results: Report(title, [result])")
        if not len(self.sections):
            raise DataError("a report of no results; give one or more, such as Report(title, [audit])")
        wrong = [part for part in self.sections if not isinstance(part, (Section, Cohort))]
        if wrong:
            hint = "; the kept cases of a view are its .kept" if hasattr(wrong[0], "kept") else ""
            raise DataError(f"a report takes results and cohorts, got {type(wrong[0]).__name__}{hint}")

    def html(self) -> str:
        """The whole page; plotly's script is inside it, so nothing is fetched."""
        from plotly.offline import get_plotlyjs

        bodies = [_section(number, part) for number, part in enumerate(self.sections)]
        links = "".join(f'<a href="#s{i}">{html.escape(_title(part))}</a>' for i, part in enumerate(self.sections))
        made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self.title)}</title>'
            f'<link rel="icon" href="data:,"><style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>'
            f'<h1>{html.escape(self.title)}</h1><p>{code_version()} · {made}</p><p class="banner">{BANNER}</p><nav>{links}</nav>{"".join(bodies)}</body></html>'
        )

    def save(self, path: str | Path) -> Path:
        """Write the page; the file is whole or absent."""
        path = Path(path)
        write_atomically(path, self.html().encode())
        return path

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{html.escape(_title(part))}</li>" for part in self.sections)
        return f"<h3>Report: {html.escape(self.title)}</h3><ol>{rows}</ol>"


def _title(part: Section | Cohort) -> str:
    return part.title if isinstance(part, Section) else f"{part.provenance.kind.capitalize()}: {part.provenance.source} (n = {len(part)})"


def _section(number: int, part: Section | Cohort) -> str:
    frame = part.frame() if isinstance(part, Section) else part.counts()
    picture = part.figure().update_layout(title=None)
    figure = picture.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False})
    caveats = "".join(f"<li>{html.escape(line)}</li>" for line in part.caveats())
    notes = f'<ul class="caveats">{caveats}</ul>' if caveats else ""
    dense = " dense" if frame.shape[1] > MANY else ""
    body = f'<div class="wide">{figure}</div>{notes}<div class="wide{dense}">{_table(frame)}</div>{_lineage(part)}'
    return f'<section id="s{number}"><h2>{html.escape(_title(part))}</h2>{body}</section>'


def _lineage(part: Section | Cohort) -> str:
    if not isinstance(part, Cohort):
        return ""
    lines = html.escape("\n".join(part.provenance.lines()))
    return f"<details><summary>Lineage</summary><pre>{lines}</pre></details>"


def _table(frame: pd.DataFrame) -> str:
    # None and NaN alike are blank to a reader.
    table = frame.astype(object).where(frame.notna(), "").to_html(index=False, border=0, float_format="{:.4g}".format)
    return table if len(frame) <= FOLDED else f"<details><summary>All {len(frame)} rows</summary>{table}</details>"
