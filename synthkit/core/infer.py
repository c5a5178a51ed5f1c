"""A first guess at the factors of a raw clinical table, with its reasons, for a person to correct."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from synthkit.core.guesses import FINDING, MISSING_WORDS, NO_FINDING, SENSITIVE, Guess, guess
from synthkit.core.headings import as_text, closest, snake, standard_name
from synthkit.core.schema import Category, Factor, Schema
from synthkit.errors import SchemaError


@dataclass(frozen=True, eq=False)
class Inference:
    """Guessed factors, the table in their spelling, and why.

    Args:
        schema: the guess. To correct it: name the columns to keep, give `levels=`, or write a `Schema`.
        table: factor columns renamed and recoded, "A|B" columns expanded; the others as they were.
        notes: one row per raw column: `column`, `guess`, `why`.
    """

    schema: Schema
    table: pd.DataFrame
    notes: pd.DataFrame

    def left_out(self) -> pd.DataFrame:
        """The columns that became no factor, with the reasons."""
        return self.notes[~self.notes["guess"].str.startswith("factor")]

    def _repr_html_(self) -> str:
        guess = self.schema.frame().assign(known=[f"{self.table[name].notna().mean():.0%}" for name in self.schema.names])
        hint = "A guess: correct it with <code>levels={'column': {'raw': 'level'}}</code>, a list of the columns to keep, or a <code>Schema</code>."
        return f"{guess.to_html(index=False, border=0)}<p>{hint}</p>{self.notes.to_html(index=False, border=0)}"


def infer(table: pd.DataFrame, *, levels: Mapping[str, Any] | None = None, factors: Sequence[Factor] = ()) -> Inference:
    """Guess the factors of a raw table, one row per image.

    Args:
        levels: {column: {raw value: level}} for coded columns, or {column: (level, ...)} for the order of levels.
        factors: those already known; they are filled from the column of that name, and only the rest is guessed.
    Raises:
        SchemaError: a column named in `levels` that is not there, or a value that a declared factor does not allow.
    """
    columns = [str(c) for c in table.columns]
    twice = sorted({c for c in columns if columns.count(c) > 1})
    if twice:
        raise SchemaError(f"the table has two columns {twice[0]!r}; rename one")
    known = {**_declared(levels or {}, table), **{f.name: f for f in factors}}
    guesses = {c: guess(next((n for n in (str(c), snake(c)) if n in known), standard_name(c)), as_text(table[c]), known) for c in table.columns}
    gathered = _Gathered(table, known)
    # Lists of findings come last: a finding with a column of its own is not taken from a list again.
    notes = {column: gathered.take(column, guess) for column, guess in sorted(guesses.items(), key=lambda item: item[1].label == "findings")}
    found = gathered.found
    order = dict.fromkeys([*(f.name for f in factors if f.name in found), *found])
    schema = Schema(tuple(found[name] for name in order), tuple(name for name in SENSITIVE if name in found))
    rows = [(str(column), *notes[column]) for column in table.columns]
    return Inference(schema, pd.DataFrame(gathered.out, index=table.index), pd.DataFrame(rows, columns=["column", "guess", "why"]))


@dataclass(frozen=True, eq=False)
class _Gathered:
    """Factors and columns collected from one table, column by column."""

    table: pd.DataFrame
    known: Mapping[str, Any]
    found: dict[str, Factor] = field(default_factory=dict)
    out: dict[str, pd.Series] = field(default_factory=dict)

    def take(self, column: object, guess: Guess) -> tuple[str, str]:
        """Add one column; the answer is its note."""
        if guess.label == "findings":
            return self._expand(as_text(self.table[column]))
        if guess.factor is None:
            self.out.setdefault(str(column), self.table[column])
        elif guess.factor.name in self.found:
            return "left out: repeated", f"another column already gives {guess.factor.name!r}"
        else:
            self.found[guess.factor.name], self.out[guess.factor.name] = guess.factor, guess.values
        return guess.label, guess.why

    def _expand(self, text: pd.Series) -> tuple[str, str]:
        """Turn an "A|B" column into one absent/present category per finding."""
        cells = [None if cell is None or cell.lower() in MISSING_WORDS else {snake(part) for part in cell.split("|") if part.strip()} for cell in text]
        listed = sorted({part for cell in cells if cell for part in cell} - {*map(snake, NO_FINDING)})
        declared = {name: f for name, f in self.known.items() if isinstance(f, Category) and set(f.levels) == set(FINDING)}
        listed += [name for name in declared if name not in listed]
        added = [name for name in listed if name not in self.found]
        for name in added:
            values = [None if cell is None else FINDING[name in cell] for cell in cells]
            self.found[name] = declared.get(name, Category(name, FINDING))
            self.out[name] = pd.Series(values, index=text.index, dtype=object)
        blank = sum(cell is None for cell in cells)
        own = f"; {len(listed) - len(added)} have columns of their own" if len(added) < len(listed) else ""
        why = f"a list of findings: {', '.join(added) or 'none'}{own}"
        return ("factor per finding" if added else "left out: repeated"), why + (f"; {blank} blank cells are missing" if blank else "")


def _declared(levels: Mapping[str, Any], table: pd.DataFrame) -> dict[str, Any]:
    columns = [*map(str, table.columns)]
    for name in levels:
        if standard_name(name) not in map(standard_name, columns):
            raise SchemaError(f"levels= names the column {name!r}, which the table does not have; {closest(name, columns)}")
    return {standard_name(name): {as_text(pd.Series([raw]))[0]: str(level) for raw, level in given.items()} if isinstance(given, Mapping)
            else Category(standard_name(name), tuple(given)) for name, given in levels.items()}  # fmt: skip
