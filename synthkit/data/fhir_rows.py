"""One patient at one time: what a record says of the factors then."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import pandas as pd

from synthkit.data.fhir_bundle import Resource
from synthkit.data.fhir_codes import Codes, codings

SEXES = {"female": "F", "male": "M"}
GENDERS = (*SEXES, "other", "unknown")
SAME_UNIT = {("m", "cm"): 100.0, ("[in_i]", "cm"): 2.54, ("g", "kg"): 0.001, ("[lb_av]", "kg"): 0.45359237, ("{beats}/min", "/min"): 1.0,
             ("mmHg", "mm[Hg]"): 1.0}  # fmt: skip
GONE = ("refuted", "entered-in-error")
UNSURE = ("unconfirmed", "provisional", "differential")
FINAL = ("final", "amended", "corrected", "preliminary")
NEAR = pd.Timedelta(days=365)  # of a measurement to the study
AFTER = pd.Timedelta(days=30)  # a finding of the study is often recorded some days later


@dataclass
class Gaps:
    """What was not used: unknown codes with their counts, and entries with the reason."""

    unknown: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)

    def count(self, resource: Resource, concept: Any) -> None:
        """A concept that no row of the codes fits."""
        first = next(iter(codings(concept)), {})
        shown = str(first.get("display") or (concept.get("text", "") if isinstance(concept, Mapping) else concept or ""))
        key = (resource["resourceType"], str(first.get("system", "")), str(first.get("code", "")), shown)
        self.unknown[key] = self.unknown.get(key, 0) + 1

    def skip(self, resource: Resource, reason: str) -> None:
        """An entry that could have been used."""
        self.skipped.append((resource["resourceType"], str(resource.get("id", "")), reason))


def moment(value: Any) -> pd.Timestamp | None:
    """A FHIR date or time, whole or partial, without its zone; the middle of a year or month that is all there is."""
    text = str(value or "")
    middle = {4: "-07-01", 7: "-15"}.get(len(text), "")
    found = pd.to_datetime(text + middle, errors="coerce", utc=True, format="ISO8601")
    return None if pd.isna(found) else found.tz_localize(None)


def faults_of(patient: Resource) -> list[str]:
    """What stands in a patient and cannot be read."""
    born, gender = patient.get("birthDate"), patient.get("gender")
    said = [f"birthDate {born!r} is no date"] if born is not None and moment(born) is None else []
    return [*said, *([f"gender {gender!r} is not one of FHIR's"] if gender is not None and gender not in GENDERS else [])]


def sex(patient: Resource) -> str | None:
    """F, M, or missing."""
    return SEXES.get(str(patient.get("gender")))


def age(patient: Resource, at: pd.Timestamp | None) -> float:
    """Whole years between birth and a time; not a number where either is missing or they contradict each other."""
    born = moment(patient.get("birthDate"))
    years = (at - born).days / 365.2425 if born is not None and at is not None else -1.0
    return float(int(years)) if 0 <= years <= 120 else float("nan")


def status(concept: Any) -> str:
    """The code of a status, "" where none is stated."""
    return str(next(iter(codings(concept)), {}).get("code", ""))


def onset(condition: Resource, patient: Resource) -> pd.Timestamp | None:
    """When a condition began, else when it was recorded."""
    years, born = (condition.get("onsetAge") or {}).get("value"), moment(patient.get("birthDate"))
    if years is not None and born is not None:
        return born + pd.Timedelta(days=365.2425 * float(years))
    return moment(condition.get("onsetDateTime") or (condition.get("onsetPeriod") or {}).get("start") or condition.get("recordedDate"))


def conditions(entries: Sequence[Resource], patient: Resource, at: pd.Timestamp | None, codes: Codes) -> dict[str, str | None]:
    """{factor: "present", or None where it is not certain}; what is not recorded is not named.

    A condition counts from its onset, or a month earlier, until its abatement.
    """
    found: dict[str, str | None] = {}
    for entry in entries:
        row = codes.find("Condition", entry.get("code"))
        sure = status(entry.get("verificationStatus"))
        began, ended = onset(entry, patient), moment(entry.get("abatementDateTime") or (entry.get("abatementPeriod") or {}).get("end"))
        elsewhen = at is not None and ((began is not None and began > at + AFTER) or (ended is not None and ended < at))
        if row is None or sure in GONE or elsewhen:
            continue
        found[row["factor"]] = "present" if sure not in UNSURE else found.get(row["factor"])
    return found


def observations(entries: Sequence[Resource], at: pd.Timestamp | None, codes: Codes, gaps: Gaps) -> dict[str, Any]:
    """{factor: value}, the nearest in time to the study of those within a year, or the last where no time is given."""
    best: dict[str, tuple[pd.Timedelta, Any]] = {}
    for entry in entries:
        when = moment(entry.get("effectiveDateTime") or (entry.get("effectivePeriod") or {}).get("start") or entry.get("issued"))
        far = abs(at - when) if at is not None and when is not None else pd.Timestamp.max - (when or pd.Timestamp(0))
        if str(entry.get("status")) not in FINAL or (at is not None and (when is None or far > NEAR)):
            continue
        for part in (entry, *entry.get("component", ())):
            row = codes.find("Observation", part.get("code"))
            value = None if row is None else measured(part, row, codes, entry, gaps)
            if row is not None and value is not None and (row["factor"] not in best or far < best[row["factor"]][0]):
                best[row["factor"]] = (far, value)
    return {name: value for name, (_, value) in best.items()}


def measured(part: Mapping[str, Any], row: pd.Series, codes: Codes, entry: Resource, gaps: Gaps) -> Any:
    """The value of an observation in the wanted unit, or its level; None, and the reason among the gaps, where it has none."""
    if codes.levels(row["factor"]):
        answer = codes.find("Value", part.get("valueCodeableConcept"))
        if answer is None or answer["factor"] != row["factor"]:
            gaps.count(entry, part.get("valueCodeableConcept"))
            return None
        return str(answer["level"])
    quantity = part.get("valueQuantity")
    number = quantity.get("value") if isinstance(quantity, Mapping) else None
    if isinstance(number, bool) or not isinstance(number, int | float) or not isfinite(number):
        if quantity is not None:
            gaps.skip(entry, f"{row['factor']} {number!r} is no number")
        return None
    unit = str(quantity.get("code") or quantity.get("unit") or "")
    scale = 1.0 if unit == row["unit"] else SAME_UNIT.get((unit, row["unit"]))
    if scale is None:
        gaps.skip(entry, f"{row['factor']} in {unit or 'no unit'}, and the codes want {row['unit']}")
        return None
    value = scale * float(quantity["value"])
    if not row["low"] <= value <= row["high"]:
        gaps.skip(entry, f"{row['factor']} {value:g} {row['unit']} is outside {row['low']:g}..{row['high']:g}")
        return None
    return value
