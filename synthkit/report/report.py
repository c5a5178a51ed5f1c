"""Report: any results as one self-contained HTML file that opens offline."""
import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import code_version
from synthkit.core.result import Section
from synthkit.errors import DataError
from synthkit.report.fragment import body_of, page_html, title_of, write_page

BANNER = "Synthetic images are marked as such. Not a medical device; final validation needs real patients."


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
        """The whole page."""
        bodies = [f'<section id="s{i}"><h2>{html.escape(title_of(part))}</h2>{body_of(part)}</section>' for i, part in enumerate(self.sections)]
        links = "".join(f'<a href="#s{i}">{html.escape(title_of(part))}</a>' for i, part in enumerate(self.sections))
        made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        head = f'<h1>{html.escape(self.title)}</h1><p>{code_version()} · {made}</p><p class="banner">{BANNER}</p><nav>{links}</nav>'
        return page_html(self.title, head + "".join(bodies))

    def save(self, path: str | Path) -> Path:
        """Write the page; the file is whole or absent."""
        return write_page(path, self.html())

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{html.escape(title_of(part))}</li>" for part in self.sections)
        return f"<h3>Report: {html.escape(self.title)}</h3><ol>{rows}</ol>"
