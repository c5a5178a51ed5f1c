"""Factors written as a sentence, by a template that its user sees and may change."""
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter

import numpy as np
import pandas as pd

from synthkit.core.schema import Category, Quantity, Schema
from synthkit.errors import SchemaError

FINDINGS, NO_FINDING, UNKNOWN = "findings", "no finding", "unknown"
PRESENCE = {"absent", "present"}
PEOPLE = {"F": "woman", "M": "man"}
OPTIONAL = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Template:
    """A sentence with factors in braces.

    A part in square brackets is left out where a factor in it is not given; outside of them such a factor reads "unknown". `{findings}` names all
    findings that are present; where none is, it says "no finding", or "no opacity" and so on where others are not known. Without a text every factor that
    is given is listed.

    Args:
        text: "a chest x-ray[ of a {age}-year-old {sex}][ with {findings}]".
        schema: of the factors.
    Raises:
        SchemaError: the text names something that is no factor, gives a format for one, or its brackets do not close.
    """

    text: str
    schema: Schema

    def __post_init__(self) -> None:
        plain = OPTIONAL.sub(r"\1", self.text)
        if "[" in plain or "]" in plain:
            raise SchemaError(f"template {self.text!r}: square brackets must close and not stand in each other")
        for name in _names(plain):
            if name != FINDINGS:
                self.schema[name]
            elif not self.findings:
                raise SchemaError(f"template {self.text!r}: {{findings}} needs factors with the levels absent and present; this schema has none")

    @property
    def findings(self) -> list[str]:
        """Names of the factors that are absent or present."""
        return [f.name for f in self.schema.factors if isinstance(f, Category) and set(f.levels) == PRESENCE]

    @property
    def untold(self) -> list[str]:
        """Names of the factors that no sentence tells."""
        told = set(_names(OPTIONAL.sub(r"\1", self.text)))
        told |= set(self.findings) if FINDINGS in told else set()
        return [name for name in self.schema.names if name not in told] if self.text else []

    def write(self, known: Mapping[str, str | float]) -> str:
        """The sentence for the values that are given."""
        words = self._words(known)
        if not self.text:
            return ", ".join(f"{name.replace('_', ' ')} {word}" for name, word in words.items() if name != FINDINGS) or UNKNOWN
        kept = OPTIONAL.sub(lambda part: part[1] if all(name in words for name in _names(part[1])) else "", self.text)
        return kept.format_map({**dict.fromkeys(_names(kept), UNKNOWN), **words})

    def _words(self, known: Mapping[str, str | float]) -> dict[str, str]:
        words = {name: _word(self.schema[name], value, listed=not self.text) for name, value in known.items()}
        told = [name for name in self.findings if name in known]
        if told:
            present = [name.replace("_", " ") for name in told if known[name] == "present"]
            absent = NO_FINDING if len(told) == len(self.findings) else ", ".join(f"no {name.replace('_', ' ')}" for name in told)
            words[FINDINGS] = ", ".join(present) or absent
        return words

    def table(self, table: pd.DataFrame) -> list[str]:
        """The sentence of every row of a table of factors."""
        return self.codes(self.schema.encode(table))

    def codes(self, codes: np.ndarray) -> list[str]:
        """The sentence of every condition code (N, width), as `Schema.encode` makes them."""
        return [self.write(known) for known in values(self.schema, codes)]


def values(schema: Schema, codes: np.ndarray) -> list[dict[str, str | float]]:
    """What condition codes (N, width) say: by factor, its level or its number; those that are hidden, missing or not applicable are not in it."""
    blocks = list(zip(schema.factors, schema.blocks()))
    found: list[dict[str, str | float]] = []
    for code in np.asarray(codes):
        known = {}
        for factor, place in blocks:
            told = code[place]
            if told[-2] > 0.5:  # the bit `known`
                known[factor.name] = factor.levels[int(told[:-2].argmax())] if isinstance(factor, Category) else _number(factor, float(told[0]))
        found.append(known)
    return found


def _number(factor: Quantity, scaled: float) -> float:
    return factor.low + (scaled + 1) / 2 * (factor.high - factor.low)


def _word(factor: Category | Quantity, value: str | float, *, listed: bool) -> str:
    if isinstance(factor, Category):
        return PEOPLE.get(str(value), str(value)) if factor.name == "sex" else str(value)
    number = f"{value:.0f}" if factor.unit == "years" else f"{value:.3g}"
    return f"{number} {factor.unit}".strip() if listed else number


def _names(text: str) -> list[str]:
    try:
        fields = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise SchemaError(f"template {text!r}: {error}; write factors in braces, such as {{age}}") from error
    formatted = [name for _, name, form, conversion in fields if form or conversion]
    if formatted:
        raise SchemaError(f"template {text!r}: factors are written as words and take no format; write {{{formatted[0]}}} alone")
    return [name for _, name, _, _ in fields]
