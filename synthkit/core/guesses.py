"""One rule after another for what a column is: the first that answers wins."""
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from synthkit.core.headings import ADDRESS, not_a_factor
from synthkit.core.schema import Category, Factor, Quantity
from synthkit.errors import SchemaError

FINDING = ("absent", "present")
SENSITIVE = ("sex", "age", "ethnicity", "race")
OLDEST = 120
SEX_WORDS = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F", "o": None, "other": None, "u": None}
MISSING_WORDS = ("", "-1", "nan", "na", "n/a", "null", "unknown", "unk", "not stated", "?")
NO_FINDING = ("no finding", "no findings", "no_finding", "normal")
UNITS = {"mm": "mm", "cm": "cm", "ml": "ml", "kg": "kg", "hu": "HU", "years": "years", "months": "months", "days": "days"}
LEVEL_ORDER = ("absent", "present", "no", "yes", "negative", "positive", "none", "mild", "low", "moderate", "medium", "severe", "high", "PA", "AP")

AGE = re.compile(r"[<>~]?\s*(\d+(?:\.\d+)?)\s*(y|m|w|d)?[a-z]*\s*\+?", re.IGNORECASE)
PER_YEAR = {"y": 1, "m": 12, "w": 52.1775, "d": 365.25}


@dataclass(frozen=True)
class Guess:
    """What one column was taken for: a label, the reason, and the factor with its values where it is one."""

    label: str
    why: str
    factor: Factor | None = None
    values: pd.Series | None = None


def guess(name: str, text: pd.Series, declared: Mapping[str, Any]) -> Guess:
    """What one column is: as declared, else by the first rule that answers.

    Args:
        name: its standard name.
        text: its cells as text, blank ones None.
        declared: {name: factor, or {raw value: level}}.
    """
    given = declared.get(name)
    if isinstance(given, Mapping):
        return _coded(name, text, given)
    if given is not None:
        return as_factor(given, recode(given, text), "declared")
    known = text.dropna()
    known = known[~known.str.lower().isin(MISSING_WORDS)]
    if known.empty:
        return Guess("left out: empty", "no value is known")
    for rule in RULES:
        answer = rule(name, text, known)
        if answer is not None:
            return answer
    raise SchemaError(f"{name}: no rule applies")  # unreachable: the last rule always answers


def as_factor(factor: Factor, values: pd.Series, why: str) -> Guess:
    """The guess that a column is this factor with these values."""
    spelled = ", ".join(factor.levels) if isinstance(factor, Category) else f"{factor.low:g}..{factor.high:g} {factor.unit}".rstrip()
    lost = f"; {int(values.isna().sum())} of {len(values)} missing" if values.isna().any() else ""
    return Guess(f"factor {factor.name}: {spelled}", why + lost, factor, values)


def _coded(name: str, text: pd.Series, codes: Mapping[str, str]) -> Guess:
    values = pd.Series([codes.get(cell) for cell in text], index=text.index, dtype=object)
    found = tuple(dict.fromkeys(codes.values()))
    return as_factor(Category(name, ("F", "M") if set(found) == {"F", "M"} else found), values, "coded as declared")


def recode(factor: Factor, text: pd.Series) -> pd.Series:
    """Raw cells in the spelling of a known factor; -1 and blanks become missing, unknown words are left for `factor.check`."""
    if isinstance(factor, Quantity):
        if factor.name == "age":
            return parse_age(text)
        numbers = pd.to_numeric(text.where(~text.str.lower().isin(MISSING_WORDS[2:])), errors="coerce")
        words = text[text.notna() & numbers.isna() & ~text.str.lower().isin(MISSING_WORDS)]
        if len(words):
            raise SchemaError(f"{factor.name}: {words.iloc[0]!r} is not a number; give {factor.low:g}..{factor.high:g} {factor.unit}".rstrip())
        return numbers.where(~((numbers == -1) & (factor.low > -1))).astype("float64")
    spelling: dict[str, str | None] = {word: None for word in MISSING_WORDS}
    if set(factor.levels) == set(FINDING):
        spelling |= {"0": "absent", "false": "absent", "no": "absent", "1": "present", "true": "present", "yes": "present"}
    if factor.name == "sex":
        spelling |= {word: level for word, level in SEX_WORDS.items() if level is None or level in factor.levels}
    spelling |= {level.lower(): level for level in factor.levels}
    return pd.Series([None if cell is None else spelling.get(cell.lower(), cell) for cell in text], index=text.index, dtype=object)


def parse_age(text: pd.Series) -> pd.Series:
    """Ages in years from "056Y", "6M", "56" or 56.0; what is no age, negative or beyond 120 years is missing."""
    matches = [AGE.fullmatch(cell) if cell else None for cell in text]
    years = [float(m[1]) / PER_YEAR[(m[2] or "y").lower()] if m else np.nan for m in matches]
    numbers = pd.Series(years, index=text.index, dtype="float64").round(3)
    return numbers.where(numbers <= OLDEST)


def _age(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    if name != "age":
        return None
    values = parse_age(text)
    if values.notna().sum() < len(known) / 2:
        return None
    lost = int(known.index.size - values[known.index].notna().sum())
    why = "ages in years" + (f"; {lost} beyond {OLDEST} years or no number became missing" if lost else "")
    return as_factor(Quantity("age", 0, 100 if not values.max() > 100 else OLDEST, "years", cuts=(40, 65)), values, why)


def _sex(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    words = set(known.str.lower())
    named = re.fullmatch(r"(is_)?(male|female)", name)
    if named and words <= {"0", "1", "true", "false"}:
        yes, no = ("M", "F") if named[2] == "male" else ("F", "M")
        values = text.str.lower().map({"1": yes, "true": yes, "0": no, "false": no})
        return as_factor(Category("sex", ("F", "M")), values.astype(object).where(values.notna(), None), f"1 means {named[2]}, from the column's name")
    if name != "sex":
        return None
    if not words <= set(SEX_WORDS):
        raw = sorted(words - set(SEX_WORDS))
        example = ", ".join(f"{word!r}: 'M'" if i == 0 else f"{word!r}: 'F'" for i, word in enumerate(raw[:2]))
        return Guess("left out: coded", f"{', '.join(raw[:4])} could mean either sex; declare it: Schema.infer(table, levels={{'sex': {{{example}}}}}).table")
    return as_factor(Category("sex", ("F", "M")), recode(Category("sex", ("F", "M")), text), "sex")


def _view(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    seen = set(known.str.upper())
    if name != "view" or len(seen) > 20:
        return None
    factor = Category("view", tuple(_ordered(seen | {"PA", "AP"} if seen <= {"PA", "AP"} else seen)))
    return as_factor(factor, recode(factor, text), "projection")


def _findings(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    listed = re.fullmatch(r"findings|(finding_)?labels", name) or (name in ("finding", "label") and known.str.lower().isin(NO_FINDING).any())
    parts = {part.strip() for cell in known for part in cell.split("|")}
    if not (listed or known.str.contains("|", regex=False).any()) or known.str.fullmatch(r"[-.\d]*").all() or known.str.match(ADDRESS).any():
        return None
    if len(parts) > 60 or max(map(len, parts)) > 60:
        return Guess("left out: free text", f"{len(parts)} different parts are too many for findings")
    return Guess("findings", "")


def _bookkeeping(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    found = not_a_factor(name, known)
    return Guess(f"left out: {found[0]}", found[1]) if found else None


def _flag(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    raw = set(text.dropna().str.lower())
    if not raw <= {"0", "1", "-1", "true", "false", *MISSING_WORDS} or known.str.lower().nunique() != 2:
        return None
    if name == "no_finding":
        return Guess("left out: repeated", "says again that the other findings are absent")
    uncertain = int((text == "-1").sum())
    why = "0 and 1" + (f"; {uncertain} uncertain (-1) became missing" if uncertain else "")
    return as_factor(Category(name, FINDING), recode(Category(name, FINDING), text), why)


def _constant(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    return Guess("left out: constant", "every known value is the same") if known.str.lower().nunique() == 1 else None


def _number(name: str, text: pd.Series, known: pd.Series) -> Guess | None:
    numbers = pd.to_numeric(text.where(~text.str.lower().isin(MISSING_WORDS[2:])), errors="coerce").astype("float64")
    values = numbers[known.index]
    if values.isna().any() or not np.isfinite(values).all():
        return None
    if not ((numbers < 0) & (numbers != -1)).any():
        numbers = numbers.where(numbers != -1)
    whole = bool((values % 1 == 0).all())
    if whole and len(values) > 20 and values.is_monotonic_increasing and values.nunique() == len(values) == values.max() - values.min() + 1:
        return Guess("left out: id", "a running number")
    if whole and len(values) > 8 and values.min() >= 100_000 and values.nunique() == len(values):
        return Guess("left out: id", "long numbers that never repeat")
    if whole and values.nunique() <= 8:
        levels = tuple(str(int(v)) for v in sorted(values.unique()))
        return as_factor(Category(name, levels), recode(Category(name, levels), text), f"{len(levels)} whole numbers")
    low, high = _round_out(float(numbers.min()), float(numbers.max()))
    return as_factor(Quantity(name, low, high, UNITS.get(name.rsplit("_", 1)[-1], "")), numbers, f"{values.nunique()} distinct numbers")


def _round_out(low: float, high: float) -> tuple[float, float]:
    step = 10.0 ** np.floor(np.log10(high - low)) / 2
    return float(round(np.floor(low / step) * step, 10)), float(round(np.ceil(high / step) * step, 10))


def _words(name: str, text: pd.Series, known: pd.Series) -> Guess:
    spelled = known.groupby(known.str.lower()).agg(lambda cells: cells.value_counts().index[0])
    prose = re.fullmatch(r"(.*_)?(comments?|notes?|reports?|impression|remarks?)", name)
    if prose or spelled.str.len().max() > 60 or spelled.str.split().str.len().median() > 5:
        return Guess("left out: free text", "sentences")
    if len(spelled) > 20 or len(spelled) > len(known) / 2:
        return Guess("left out: free text", f"{len(spelled)} different values in {len(known)} cells: names or free text")
    factor = Category(name, tuple(_ordered(spelled)))
    return as_factor(factor, recode(factor, text), f"{len(spelled)} repeated words")


def _ordered(levels: Sequence[str] | set[str]) -> list[str]:
    rank = {level.lower(): number for number, level in enumerate(LEVEL_ORDER)}
    ranked = all(level.lower() in rank for level in levels)
    return sorted(levels, key=lambda level: (rank.get(level.lower(), 99) if ranked or level in ("PA", "AP") else 99, level))


RULES: tuple[Callable[[str, pd.Series, pd.Series], Guess | None], ...] = (
    _age, _sex, _view, _bookkeeping, _findings, _constant, _flag, _number, _words,
)  # fmt: skip
