"""The factors of one image as FHIR R4: findings that are present as Conditions, all else as Observations."""
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from synthkit.core.schema import Category, Factor, Schema
from synthkit.data.fhir_codes import SYSTEMS, Codes
from synthkit.export.fhir_resource import DAY, TERMS, Resource, concept, resource

FINDING = ("absent", "present")
IN_PATIENT = ("age", "sex")  # what the Patient says


def findings(name: str, row: pd.Series, schema: Schema, codes: Codes, subject: dict[str, str]) -> Iterator[Resource]:
    """Conditions and Observations of the image `name`; a finding that is absent has none, and stands in the report's conclusion."""
    for factor in schema.factors:
        value = row[factor.name]
        if factor.name in IN_PATIENT or pd.isna(value):
            continue
        key = f"{name}:{factor.name}"
        if not is_finding(factor):
            yield resource("Observation", key, status="final", code=_named(factor.name, codes, "Observation"), subject=subject, effectiveDateTime=DAY,
                           **_value(factor, value, codes))  # fmt: skip
        elif value == "present":
            yield resource("Condition", key, clinicalStatus=concept(f"{TERMS}/condition-clinical", "active"),
                           verificationStatus=concept(f"{TERMS}/condition-ver-status", "confirmed"), code=_named(factor.name, codes, "Condition"),
                           subject=subject, onsetDateTime=DAY)  # fmt: skip


def is_finding(factor: Factor) -> bool:
    """Whether a factor is one that is absent or present."""
    return isinstance(factor, Category) and factor.levels == FINDING


def in_words(row: pd.Series, factors: Sequence[Factor]) -> str:
    """Factors of a row: "effusion present; heart ratio 0.5; effusion side not stated"."""
    return "; ".join(f"{one.name.replace('_', ' ')} {_worded(one, row[one.name])}" for one in factors)


def _worded(factor: Factor, value: Any) -> str:
    if pd.isna(value):
        return "not stated"
    return str(value) if isinstance(factor, Category) else f"{value:.4g} {factor.unit}".strip()


def _value(factor: Factor, value: Any, codes: Codes) -> dict[str, Any]:
    if isinstance(factor, Category):
        return {"valueCodeableConcept": _named(factor.name, codes, "Value", level=value)}
    unit = {"unit": factor.unit} if factor.unit else {}
    row = codes.first("Observation", factor.name)
    if row is not None:
        unit = {"unit": row["unit"], "system": "http://unitsofmeasure.org", "code": row["unit"]}
    return {"valueQuantity": {"value": float(value), **unit}}


def _named(factor: str, codes: Codes, kind: str, level: str | None = None) -> dict[str, Any]:
    """A concept with the code of a factor or level, or its name alone."""
    row, text = codes.first(kind, factor, level), factor.replace("_", " ") if level is None else str(level)
    if row is None or str(row["code"]).endswith("*"):
        return {"text": text}
    return concept(SYSTEMS.get(row["system"], str(row["system"])), str(row["code"]), text)
