"""Two settings of a factor to hold against each other, and whether an editor can make them."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Quantity
from synthkit.errors import DataError, SchemaError
from synthkit.generators.generator import Generator


@dataclass(frozen=True)
class Contrast:
    """Two settings of one factor, named by their groups: the effect is `high` minus `low`."""

    factor: str
    low: Any
    high: Any
    low_group: str
    high_group: str

    def __str__(self) -> str:
        def said(value: Any, group: str) -> str:
            return group if value == group else f"{group} ({value:g})"

        return f"{said(self.high, self.high_group)} minus {said(self.low, self.low_group)}"


def contrasts(cohort: Cohort, factor: str) -> list[Contrast]:
    """Each level against the first that occurs; of a quantity the medians of its highest and lowest group."""
    groups = cohort.schema.groups(cohort.table, factor)
    kind = cohort.schema[factor]
    names = [name for name in (kind.group_names if isinstance(kind, Quantity) else kind.levels) if (groups == name).any()]
    if len(names) < 2:
        only = names[0] if names else "(none known)"
        raise DataError(f"{factor}: the cohort has only the group {only}, so nothing can be set against it; leave it out of flip=")
    if isinstance(kind, Quantity):
        middle = {name: round(float(cohort.table[factor][groups == name].median()), 6) for name in (names[0], names[-1])}
        return [Contrast(factor, middle[names[0]], middle[names[-1]], names[0], names[-1])]
    return [Contrast(factor, names[0], name, names[0], name) for name in names[1:]]


def require_editable(editor: Generator, cohort: Cohort, flip: Sequence[str]) -> None:
    """Raise the editor's own error before any long work: no encoder, a factor it does not know, other images, patients it learnt from."""
    for name in flip:
        if name not in editor.schema or name not in cohort.schema:
            where = "the editor" if name not in editor.schema else "the cohort"
            shared = [known for known in cohort.schema.names if known in editor.schema]
            raise SchemaError(f"flip: {where} does not know {name!r}; both know {', '.join(shared) or 'no common factor'}")
    editor.require_unseen(cohort)
    editor.edit(cohort[:1], {})
