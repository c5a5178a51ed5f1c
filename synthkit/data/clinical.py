"""The clinical table of a load: what the header and the joined rows say, without what identifies a person."""
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from synthkit.core.headings import as_text, closest, snake, standard_name
from synthkit.core.infer import Inference, infer
from synthkit.core.schema import Category, Factor, Schema
from synthkit.data.options import Options
from synthkit.data.picture import Picture
from synthkit.data.pseudonym import pseudonym
from synthkit.data.tables import find_column
from synthkit.errors import SchemaError

PATIENT_NAMES = ("patient_id", "patient", "patient_number", "subject_id", "subject", "participant_id", "mrn", "medical_record_number")
PLACES = re.compile(r"(hospital|institution|centre|center|clinic)(_name)?")
KEPT = ("left out: split", "left out: coded")


@dataclass(frozen=True, eq=False)
class Clinical:
    """Columns and factors for a cohort; `patients` in the clear, None where unknown (they are coded before they are stored)."""

    table: pd.DataFrame
    schema: Schema
    patients: list[str | None]
    notes: tuple[str, ...]


def clinical(rows: pd.DataFrame, pictures: Sequence[Picture], options: Options, *, private: bool) -> Clinical:
    """Factors and other columns of the images.

    Args:
        rows: one raw row per picture (blank where the table has none).
        private: whether this may be patients' own data: then only factors, split columns and what the header safely says are kept.
    Raises:
        SchemaError: a factor that was asked for has no column, or a value that it does not allow.
    """
    patients, patient_column, notes = _patients(rows, pictures, options)
    raw = rows.drop(columns=[patient_column] if patient_column else [])
    if private:
        raw = _without_places(raw)
    facts = pd.DataFrame([dict(p.facts) for p in pictures], index=raw.index)
    headings = {standard_name(c) for c in raw.columns}
    header = facts[[c for c in facts.columns if c not in headings]]
    guess = infer(pd.concat([raw, header.drop(columns="burned_in", errors="ignore")], axis=1), factors=_declared(options))
    words = frozenset(word for p in pictures for word in p.names)
    named = _personal(guess, words) if private else set()
    schema = _chosen(guess, options, named)
    table = _columns(guess, schema, header) if private else guess.table
    return Clinical(table, schema, patients, (*notes, *_left_out(guess, raw, named if options.factors is None else set(), private), *_burned_in(header)))


def _declared(options: Options) -> tuple[Factor, ...]:
    wanted = options.factors.factors if isinstance(options.factors, Schema) else options.factors or ()
    return tuple(factor for factor in wanted if not isinstance(factor, str))


def _patients(rows: pd.DataFrame, pictures: Sequence[Picture], options: Options) -> tuple[list[str | None], str | None, list[str]]:
    """Who is shown: by `patient=`, else by a column with a patient's heading, else by the DICOM header."""
    column = find_column(rows, options.patient, argument="patient") if options.patient else None
    if column is None:
        column = next((c for name in PATIENT_NAMES for c in rows.columns if snake(c) == name and rows[c].notna().any()), None)
    notes = [] if column is None or options.patient else [f"Patients were taken from the column {column!r}; patient= names another."]
    stated = as_text(rows[column]).tolist() if column else [None] * len(pictures)
    patients = [name or picture.patient for name, picture in zip(stated, pictures)]
    lone = sum(name is None for name in patients)
    if 0 < lone < len(patients):
        notes.append(f"{lone} of {len(patients)} images have no patient id: each counts as a patient of its own.")
    if len(patients) > 1 and len(set(patients)) == 1 and patients[0]:
        notes.append("All images carry the same patient id, so they cannot be split by patient; if the ids were blanked, name another column with patient=.")
    return patients, column, notes


def _without_places(raw: pd.DataFrame) -> pd.DataFrame:
    """Names of hospitals as codes in the column `site`."""
    places = [c for c in raw.columns if PLACES.fullmatch(snake(c))]
    if not places:
        return raw
    codes = [None if cell is None else pseudonym("site", cell.casefold()) for cell in as_text(raw[places[0]])]
    clean = raw.drop(columns=places)
    return clean if "site" in map(snake, clean.columns) else clean.assign(site=codes)


def _personal(guess: Inference, words: frozenset[str]) -> set[str]:
    """Guessed factors whose values are what a DICOM header calls a person's name, number or date."""
    found = set()
    for factor in guess.schema.factors:
        if factor.name in ("age", "sex", "view", "site"):
            continue
        cells = factor.levels if isinstance(factor, Category) else as_text(guess.table[factor.name]).dropna().unique()
        for cell in map(str.lower, cells):
            if cell in words or any(word in cell for word in words if len(word) >= 6):
                found.add(factor.name)
    return found


def _chosen(guess: Inference, options: Options, personal: set[str]) -> Schema:
    wanted = options.factors
    if wanted is None:
        return guess.schema.only(tuple(name for name in guess.schema.names if name not in personal))
    if isinstance(wanted, Schema):
        _require(wanted.names, guess)
        return wanted
    names = [f if isinstance(f, str) else f.name for f in wanted]
    names = [name if name in guess.schema else standard_name(name) for name in names]
    _require(names, guess)
    return guess.schema.only(tuple(names))


def _require(names: Sequence[str], guess: Inference) -> None:
    for name in names:
        if name in guess.schema:
            continue
        left = guess.notes[guess.notes["column"].map(standard_name) == standard_name(name)]
        if len(left):
            column, label, why = left.iloc[0]
            raise SchemaError(f"the column {column!r} was {label} ({why}); to keep it, declare it: factors=[sk.Category({name!r}, levels), ...]")
        raise SchemaError(f"no column gives the factor {name!r}; {closest(name, guess.schema.names)}")


def _columns(guess: Inference, schema: Schema, header: pd.DataFrame) -> pd.DataFrame:
    """Factors, split columns, and the header's safe facts."""
    kept = guess.notes.loc[guess.notes["guess"].isin(KEPT), "column"]
    table = guess.table[[*schema.names, *(c for c in kept if c in guess.table and c not in schema.names)]].copy()
    for name in header.columns:
        if name not in table and header[name].notna().any():
            table[name] = header[name]
    return table


def _left_out(guess: Inference, raw: pd.DataFrame, personal: set[str], private: bool) -> list[str]:
    rows = guess.left_out()
    rows = rows[rows["column"].isin(raw.columns)]
    gone = [f"{column} ({label.removeprefix('left out: ')})" for column, label in zip(rows["column"], rows["guess"]) if label not in KEPT]
    gone += [f"{name} (personal)" for name in sorted(personal)]
    coded = [f"{row.column}: {row.why}." for row in rows.itertuples() if row.guess == "left out: coded"]
    dropped = [f"Columns left out, since they may identify people or are no factors: {', '.join(gone)}."] if gone else []
    return [*dropped, *coded] if private else []


def _burned_in(header: pd.DataFrame) -> list[str]:
    marked = int((header["burned_in"] == "yes").sum()) if "burned_in" in header else 0
    return [f"{marked} images are marked as holding burnt-in annotation: their pixels may show names; look at them before sharing."] if marked else []
