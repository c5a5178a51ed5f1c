"""Synthetic patients out as FHIR R4 bundles: Patient, Condition, Observation and ImagingStudy, each marked as test data and synthetic."""
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind
from synthkit.core.schema import Category, Factor
from synthkit.data.fhir_codes import SYSTEMS, Codes, fhir_codes
from synthkit.errors import AbilityError, DataError

TERMS = "http://terminology.hl7.org/CodeSystem"
META = {
    "security": [{"system": f"{TERMS}/v3-ActReason", "code": "HTEST", "display": "test health data"}],
    "tag": [{"system": "urn:synthkit:kind", "code": "synthetic", "display": "synthetic"}],
}
SEXES = {"F": "female", "M": "male"}
DAY = pd.Timestamp("2000-01-01")  # synthetic patients have an age and no calendar: every study is of this day
MODALITIES = {"xray": "DX", "CT": "CT"}  # by the first channel's name


def to_fhir(cohort: Cohort, folder: str | Path, *, codes: pd.DataFrame | None = None) -> list[Path]:
    """Write the patients of a synthetic cohort as FHIR R4 (4.0.1), one bundle each; `sk.load_fhir` reads the folder back.

    Findings that are present become Conditions, other factors Observations; factors without a code keep their name as text. A study's UID is that
    of `2.25.` and the image's UUID. Every resource carries the security label HTEST and the tag "synthetic".

    Args:
        cohort: synthetic or edited images.
        folder: made if absent; files of the same patients are replaced.
        codes: what codes mean; `sk.fhir_codes()` when left out. The first row of a factor is written.
    Raises:
        AbilityError: a cohort with real images, which no label could make test data.
        DataError: no rows, or a folder that is a file.

    Example:
        sk.to_fhir(gen.sample(patients), "fhir")
    """
    require_kind("cohort", cohort, Cohort, "a synthetic cohort, as gen.sample(...) answers")
    place = Path(folder).expanduser()
    if cohort.provenance.kind not in ("synthetic", "edited"):
        raise AbilityError(f"to_fhir: the cohort is {cohort.provenance.kind}; only synthetic and edited images are written as test data")
    if not len(cohort) or place.is_file():
        raise DataError(f"to_fhir: {len(cohort)} images into {str(place)!r}; give one image or more, and a folder")
    known = Codes(fhir_codes() if codes is None else codes)
    written = []
    for name, rows in cohort.table.groupby("patient_id", sort=False):
        who = _uuid("Patient", str(name))
        resources = [_patient(who, rows.iloc[0]), *(one for _, row in rows.iterrows() for one in _study(who, row, cohort, known))]
        entries = [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources]
        bundle = {"resourceType": "Bundle", "id": str(_uuid("Bundle", str(name))), "meta": META, "type": "collection", "entry": entries}
        written.append(place / f"{who}.json")
        try:
            write_atomically(written[-1], json.dumps(bundle, indent=1, ensure_ascii=False).encode())
        except OSError as error:
            raise DataError(f"to_fhir: {str(place)!r} cannot be written to ({error.strerror}); give another folder") from error
    return written


def study_uid(image_id: str) -> str:
    """The DICOM UID that stands for an image's study."""
    return f"2.25.{_uuid('ImagingStudy', image_id).int}"


def _uuid(kind: str, name: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"synthkit:{kind}:{name}")


def _resource(kind: str, name: str, **content: Any) -> dict[str, Any]:
    return {"resourceType": kind, "id": str(_uuid(kind, name)), "meta": META, **content}


def _patient(who: UUID, row: pd.Series) -> dict[str, Any]:
    gender = {"gender": SEXES[row["sex"]]} if row.get("sex") in SEXES else {}
    age = row.get("age")
    born = {} if age is None or pd.isna(age) else {"birthDate": f"{DAY - pd.Timedelta(days=np.ceil(365.2425 * float(age))):%Y-%m-%d}"}
    return {"resourceType": "Patient", "id": str(who), "meta": META, **gender, **born}


def _study(who: UUID, row: pd.Series, cohort: Cohort, codes: Codes) -> Iterator[dict[str, Any]]:
    """The study of one image, and what was found."""
    name, subject = str(row["image_id"]), {"reference": f"urn:uuid:{who}"}
    modality = MODALITIES.get(cohort.space.channels[0].name, "OT")
    series = {"uid": f"2.25.{_uuid('series', name).int}", "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": modality}}
    identifier = [{"system": "urn:dicom:uid", "value": f"urn:oid:{study_uid(name)}"}]
    yield _resource("ImagingStudy", name, identifier=identifier, status="available", subject=subject, started=f"{DAY:%Y-%m-%d}", series=[series])
    for factor in cohort.schema.factors:
        value = row[factor.name]
        if factor.name not in ("age", "sex") and not pd.isna(value):
            found = _finding(factor, value, codes)
            if found:
                kind, content = found
                dated = {"onsetDateTime": f"{DAY:%Y-%m-%d}"} if kind == "Condition" else {"effectiveDateTime": f"{DAY:%Y-%m-%d}"}
                yield _resource(kind, f"{name}:{factor.name}", **content, subject=subject, **dated)


def _finding(factor: Factor, value: Any, codes: Codes) -> tuple[str, dict[str, Any]] | None:
    """Type and content of the resource for one factor's value; none for a finding that is absent."""
    if isinstance(factor, Category) and factor.levels == ("absent", "present"):
        if value == "absent":
            return None
        status = {"clinicalStatus": _coded(f"{TERMS}/condition-clinical", "active"), "verificationStatus": _coded(f"{TERMS}/condition-ver-status", "confirmed")}
        return "Condition", {**status, "code": _named(factor.name, codes, "Condition")}
    content = {"status": "final", "code": _named(factor.name, codes, "Observation")}
    if isinstance(factor, Category):
        return "Observation", {**content, "valueCodeableConcept": _named(factor.name, codes, "Value", level=value)}
    unit = {"unit": factor.unit} if factor.unit else {}
    row = _first(codes, "Observation", factor.name)
    if row is not None:
        unit = {"unit": row["unit"], "system": "http://unitsofmeasure.org", "code": row["unit"]}
    return "Observation", {**content, "valueQuantity": {"value": float(value), **unit}}


def _first(codes: Codes, resource: str, factor: str, level: str | None = None) -> pd.Series | None:
    rows = codes.rows[(codes.rows["resource"] == resource) & (codes.rows["factor"] == factor)]
    rows = rows if level is None else rows[rows["level"] == level]
    return rows.iloc[0] if len(rows) else None


def _named(factor: str, codes: Codes, resource: str, level: str | None = None) -> dict[str, Any]:
    """A concept with the code of a factor or level, or its name alone."""
    row, text = _first(codes, resource, factor, level), factor.replace("_", " ") if level is None else str(level)
    if row is None or str(row["code"]).endswith("*"):
        return {"text": text}
    return {**_coded(SYSTEMS.get(row["system"], str(row["system"])), str(row["code"])), "text": text}


def _coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
