"""A first guess at the factors of a raw clinical table, with its reasons, for a person to correct."""
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from synthkit.core.schema import Category, Factor, Quantity, Schema
from synthkit.errors import SchemaError

FINDING = ("absent", "present")
SENSITIVE = ("sex", "age", "ethnicity", "race")
OLDEST = 120
ALIASES = {
    "age": r"(patients?_)?age(_in)?(_years?|_yrs?|_y)?",
    "sex": r"(patients?_)?(sex|gender)",
    "view": r"view(_position)?|ap_pa|pa_ap",
}  # fmt: skip
SEX_WORDS = {"m": "M", "male": "M", "man": "M", "f": "F", "female": "F", "woman": "F", "o": None, "other": None, "u": None}
MISSING_WORDS = ("", "-1", "nan", "na", "n/a", "null", "unknown", "unk", "not stated", "?")
NO_FINDING = ("no finding", "no findings", "no_finding", "normal")
UNITS = {"mm": "mm", "cm": "cm", "ml": "ml", "kg": "kg", "hu": "HU", "years": "years", "months": "months", "days": "days"}
LEVEL_ORDER = ("absent", "present", "no", "yes", "negative", "positive", "none", "mild", "low", "moderate", "medium", "severe", "high", "PA", "AP")

# What a column is called that names a person, or only keeps the books.
PERSONAL = re.compile(
    r"(.*_)?(mrn|ssn|nhs|dob|birth_?(date|day|place|name)|address|street|zip(_?code)?|post(al|_?code)|(tele)?phone|fax|mobile|e?mail|accession|physician"
    r"|doctor|operator|radiologist|technician|initials|surname|firstname|lastname|forename|insurance|passport|record_number)(_.*)?|(.*_)?births?"
    r"|((pat|patients?|subjects?|full|first|last|family|given|middle|maiden|persons?)_)?names?"
)  # fmt: skip
IDENTITY = re.compile(r"(.*_)?(ids?|uid|uuid|guid|index|idx|key|hash|barcode|number|nr|no)|patient|subject|case|unnamed_\d+")
SPLIT = re.compile(r"split|fold|cv_fold|subset|partition|set|dataset_split")
ABOUT_FILE = re.compile(r"(.*_)?(licen[cs]e|citation|doi|url|pixel_spacing)(_.*)?|source|rows|col(umn)?s|width|height|bits.*|bytes|frames|orig(inal)?_.*")
DATE = re.compile(r"(19|20)\d{2}[-/.](0?[1-9]|1[0-2])[-/.]\d{1,2}.*|\d{1,2}[-/.]\d{1,2}[-/.](19|20)\d{2}.*|(19|20)\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])")
ADDRESS = re.compile(r"(https?|ftp|s3)://.*|10\.\d{4,}/.*")
FILE_NAME = re.compile(r".*\.(png|jpe?g|bmp|webp|tiff?|dcm|dicom|ima|nii|nii\.gz|npy|npz)", re.IGNORECASE)
AGE = re.compile(r"[<>~]?\s*(\d+(?:\.\d+)?)\s*(y|m|w|d)?[a-z]*\s*\+?", re.IGNORECASE)
PER_YEAR = {"y": 1, "m": 12, "w": 52.1775, "d": 365.25}


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


@dataclass(frozen=True)
class _Guess:
    label: str
    why: str
    factor: Factor | None = None
    values: pd.Series | None = None


def snake(column: object) -> str:
    """A column's name in lower case with underscores: "Pleural Thickening", "PleuralThickening" → pleural_thickening."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", str(column).replace("'", ""))
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def standard_name(column: object) -> str:
    """The factor name that a raw column becomes: age, sex and view under any usual heading, else its name in snake case."""
    name = snake(column)
    return next((standard for standard, pattern in ALIASES.items() if re.fullmatch(pattern, name)), name)


def as_text(values: pd.Series) -> pd.Series:
    """Cells as stripped text, whole numbers without ".0"; blank cells are None."""
    cells = [None if pd.isna(v) else re.sub(r"^(-?\d+)\.0+$", r"\1", str(v).strip()) for v in values]
    return pd.Series([cell or None for cell in cells], index=values.index, dtype=object)


def closest(name: object, options: Sequence[object]) -> str:
    """The end of an error message: which option is spelled like the name, and all options."""
    folded = {snake(option): str(option) for option in options}
    near = get_close_matches(snake(name), folded, n=1, cutoff=0.6)
    return f"did you mean {folded[near[0]]!r}? It has {', '.join(map(str, options))}" if near else f"it has {', '.join(map(str, options)) or 'nothing'}"


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
    guesses = {c: _guess(next((n for n in (str(c), snake(c)) if n in known), standard_name(c)), as_text(table[c]), known) for c in table.columns}
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

    def take(self, column: object, guess: _Guess) -> tuple[str, str]:
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


def _guess(name: str, text: pd.Series, declared: Mapping[str, Any]) -> _Guess:
    given = declared.get(name)
    if isinstance(given, Mapping):
        return _coded(name, text, given)
    if given is not None:
        return _as(given, recode(given, text), "declared")
    known = text.dropna()
    known = known[~known.str.lower().isin(MISSING_WORDS)]
    if known.empty:
        return _Guess("left out: empty", "no value is known")
    for rule in RULES:
        guess = rule(name, text, known)
        if guess is not None:
            return guess
    raise SchemaError(f"{name}: no rule applies")  # unreachable: the last rule always answers


def _as(factor: Factor, values: pd.Series, why: str) -> _Guess:
    spelled = ", ".join(factor.levels) if isinstance(factor, Category) else f"{factor.low:g}..{factor.high:g} {factor.unit}".rstrip()
    lost = f"; {int(values.isna().sum())} of {len(values)} missing" if values.isna().any() else ""
    return _Guess(f"factor {factor.name}: {spelled}", why + lost, factor, values)


def _coded(name: str, text: pd.Series, codes: Mapping[str, str]) -> _Guess:
    values = pd.Series([codes.get(cell) for cell in text], index=text.index, dtype=object)
    found = tuple(dict.fromkeys(codes.values()))
    return _as(Category(name, ("F", "M") if set(found) == {"F", "M"} else found), values, "coded as declared")


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


def _age(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    if name != "age":
        return None
    values = parse_age(text)
    if values.notna().sum() < len(known) / 2:
        return None
    lost = int(known.index.size - values[known.index].notna().sum())
    why = "ages in years" + (f"; {lost} beyond {OLDEST} years or no number became missing" if lost else "")
    return _as(Quantity("age", 0, 100 if not values.max() > 100 else OLDEST, "years", cuts=(40, 65)), values, why)


def _sex(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    words = set(known.str.lower())
    named = re.fullmatch(r"(is_)?(male|female)", name)
    if named and words <= {"0", "1", "true", "false"}:
        yes, no = ("M", "F") if named[2] == "male" else ("F", "M")
        values = text.str.lower().map({"1": yes, "true": yes, "0": no, "false": no})
        return _as(Category("sex", ("F", "M")), values.astype(object).where(values.notna(), None), f"1 means {named[2]}, from the column's name")
    if name != "sex":
        return None
    if not words <= set(SEX_WORDS):
        raw = sorted(words - set(SEX_WORDS))
        example = ", ".join(f"{word!r}: 'M'" if i == 0 else f"{word!r}: 'F'" for i, word in enumerate(raw[:2]))
        return _Guess("left out: coded", f"{', '.join(raw[:4])} could mean either sex; declare it: Schema.infer(table, levels={{'sex': {{{example}}}}}).table")
    return _as(Category("sex", ("F", "M")), recode(Category("sex", ("F", "M")), text), "sex")


def _view(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    seen = set(known.str.upper())
    if name != "view" or len(seen) > 20:
        return None
    factor = Category("view", tuple(_ordered(seen | {"PA", "AP"} if seen <= {"PA", "AP"} else seen)))
    return _as(factor, recode(factor, text), "projection")


def _findings(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    listed = re.fullmatch(r"findings|(finding_)?labels", name) or (name in ("finding", "label") and known.str.lower().isin(NO_FINDING).any())
    parts = {part.strip() for cell in known for part in cell.split("|")}
    if not (listed or known.str.contains("|", regex=False).any()) or known.str.fullmatch(r"[-.\d]*").all() or known.str.match(ADDRESS).any():
        return None
    if len(parts) > 60 or max(map(len, parts)) > 60:
        return _Guess("left out: free text", f"{len(parts)} different parts are too many for findings")
    return _Guess("findings", "")


BOOKS = (
    ("personal", PERSONAL, "the name says that it identifies a person"), ("id", IDENTITY, "an identifier, not a property"),
    ("split", SPLIT, "says which part of a split a row belongs to"), ("about the file", ABOUT_FILE, "describes the file, not the patient"),
)  # fmt: skip
CONTENTS = (("date", DATE, "dates"), ("address", ADDRESS, "web addresses"), ("file name", FILE_NAME, "names of files"))


def _bookkeeping(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    for label, pattern, why in BOOKS:
        if pattern.fullmatch(name):
            return _Guess(f"left out: {label}", why)
    for label, pattern, why in CONTENTS:
        if sum(pattern.fullmatch(cell) is not None for cell in known) > len(known) / 2:
            return _Guess(f"left out: {label}", why)
    if re.fullmatch(r"(.*_)?(date|time|datetime|timestamp)(_.*)?", name):
        return _Guess("left out: date", "the name says that it is a date or time")
    if known.str.fullmatch(r"\d+").all() and known.str.fullmatch(r"0\d+").any():
        return _Guess("left out: id", "numbers with leading zeros are names, not quantities")
    return None


def _flag(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    raw = set(text.dropna().str.lower())
    if not raw <= {"0", "1", "-1", "true", "false", *MISSING_WORDS} or known.str.lower().nunique() != 2:
        return None
    if name == "no_finding":
        return _Guess("left out: repeated", "says again that the other findings are absent")
    uncertain = int((text == "-1").sum())
    why = "0 and 1" + (f"; {uncertain} uncertain (-1) became missing" if uncertain else "")
    return _as(Category(name, FINDING), recode(Category(name, FINDING), text), why)


def _constant(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    return _Guess("left out: constant", "every known value is the same") if known.str.lower().nunique() == 1 else None


def _number(name: str, text: pd.Series, known: pd.Series) -> _Guess | None:
    numbers = pd.to_numeric(text.where(~text.str.lower().isin(MISSING_WORDS[2:])), errors="coerce").astype("float64")
    values = numbers[known.index]
    if values.isna().any() or not np.isfinite(values).all():
        return None
    if not ((numbers < 0) & (numbers != -1)).any():
        numbers = numbers.where(numbers != -1)
    whole = bool((values % 1 == 0).all())
    if whole and len(values) > 20 and values.is_monotonic_increasing and values.nunique() == len(values) == values.max() - values.min() + 1:
        return _Guess("left out: id", "a running number")
    if whole and len(values) > 8 and values.min() >= 100_000 and values.nunique() == len(values):
        return _Guess("left out: id", "long numbers that never repeat")
    if whole and values.nunique() <= 8:
        levels = tuple(str(int(v)) for v in sorted(values.unique()))
        return _as(Category(name, levels), recode(Category(name, levels), text), f"{len(levels)} whole numbers")
    low, high = _round_out(float(numbers.min()), float(numbers.max()))
    return _as(Quantity(name, low, high, UNITS.get(name.rsplit("_", 1)[-1], "")), numbers, f"{values.nunique()} distinct numbers")


def _round_out(low: float, high: float) -> tuple[float, float]:
    step = 10.0 ** np.floor(np.log10(high - low)) / 2
    return float(round(np.floor(low / step) * step, 10)), float(round(np.ceil(high / step) * step, 10))


def _words(name: str, text: pd.Series, known: pd.Series) -> _Guess:
    spelled = known.groupby(known.str.lower()).agg(lambda cells: cells.value_counts().index[0])
    prose = re.fullmatch(r"(.*_)?(comments?|notes?|reports?|impression|remarks?)", name)
    if prose or spelled.str.len().max() > 60 or spelled.str.split().str.len().median() > 5:
        return _Guess("left out: free text", "sentences")
    if len(spelled) > 20 or len(spelled) > len(known) / 2:
        return _Guess("left out: free text", f"{len(spelled)} different values in {len(known)} cells: names or free text")
    factor = Category(name, tuple(_ordered(spelled)))
    return _as(factor, recode(factor, text), f"{len(spelled)} repeated words")


def _ordered(levels: Sequence[str] | set[str]) -> list[str]:
    rank = {level.lower(): number for number, level in enumerate(LEVEL_ORDER)}
    ranked = all(level.lower() in rank for level in levels)
    return sorted(levels, key=lambda level: (rank.get(level.lower(), 99) if ranked or level in ("PA", "AP") else 99, level))


RULES: tuple[Callable[[str, pd.Series, pd.Series], _Guess | None], ...] = (
    _age, _sex, _view, _bookkeeping, _findings, _constant, _flag, _number, _words,
)  # fmt: skip
