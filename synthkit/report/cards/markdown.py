"""A card: Markdown below a YAML head, as hubs and registries read it; nothing in it is invented, and what is not known says so."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind
from synthkit.core.lineage import plain
from synthkit.core.result import Section
from synthkit.errors import DataError
from synthkit.export.responsible import NOT_STATED

MOST = 60  # rows of a table; the rest is counted
SINGLE = ("patient_id", "image_id", "source_id")
DIGITS = "{:.4g}".format


@dataclass(frozen=True)
class MarkdownCard:
    """A model card or data card; it shows itself in a notebook, and `.save(path)` writes it.

    Args:
        head: what machines read, as the YAML head.
        parts: {heading: Markdown}, in order.
    """

    head: Mapping[str, Any]
    parts: Mapping[str, str]

    @property
    def text(self) -> str:
        """The whole card."""
        import yaml

        head = yaml.safe_dump(plain(self.head), sort_keys=False, allow_unicode=True, width=1000)
        return f"---\n{head}---\n\n# {safe(self.head['pretty_name'])}\n" + "".join(f"\n## {title}\n\n{body}\n" for title, body in self.parts.items())

    def save(self, path: str | Path) -> Path:
        """Write the card, whole or not at all; DataError where that cannot be."""
        place = Path(path).expanduser()
        if place.is_dir():
            raise DataError(f"{str(place)!r} is a folder; give a file, such as {str(place / 'README.md')!r}")
        try:
            write_atomically(place, self.text.encode())
        except OSError as error:
            raise DataError(f"{str(place)!r} cannot be written ({error.strerror or error}); make room or give another file") from error
        return place

    def _repr_markdown_(self) -> str:
        return self.text.split("---\n", 2)[2]

    def __repr__(self) -> str:
        return self.text


def safe(value: Any) -> str:
    """A value as Markdown text on one line."""
    blank = value is None or value == "" or (isinstance(value, float) and value != value)
    text = NOT_STATED if blank else DIGITS(value) if isinstance(value, float) else str(value)
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def listing(lines: Iterable[str]) -> str:
    """A list, or "not stated"."""
    return "\n".join(f"- {safe(line)}" for line in lines) or NOT_STATED


def facts(rows: Mapping[str, Any]) -> str:
    """A table of two columns; what is None is not stated."""
    return table(pd.DataFrame({"": list(rows), "value": [NOT_STATED if value is None else value for value in rows.values()]}, dtype=object))


def table(frame: pd.DataFrame) -> str:
    """A table of at most 60 rows; blanks stay blank."""
    shown = frame.head(MOST).astype(object)
    shown = shown.where(shown.notna(), "")
    rows = [[*map(str, frame.columns)], ["---"] * frame.shape[1], *([safe(value) if value != "" else "" for value in row] for row in shown.to_numpy(object))]
    more = f"\n\n{len(frame) - MOST} more rows are not shown." if len(frame) > MOST else ""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + more


def text_of(value: str | Sequence[str]) -> str:
    """What somebody states, as a sentence or a list."""
    return (safe(value) if isinstance(value, str) else listing(value)) or NOT_STATED


def evaluated(evaluation: Section | Sequence[Section]) -> list[str]:
    """Results with their caveats and numbers; a table by image or patient is only counted."""
    sections = [evaluation] if isinstance(evaluation, Section) else [*evaluation]
    for one in sections:
        require_kind("evaluation", one, Section, "results, such as sk.evaluate(...) answers")
    return [f"### {safe(one.title)}\n\n{_numbers(one.frame())}\n\n{listing(one.caveats())}" for one in sections]


def _numbers(frame: pd.DataFrame) -> str:
    single = [name for name in SINGLE if name in frame]
    return f"{len(frame)} rows by {single[0]} are not shown." if single else table(frame)
