"""The imaging study of one image, and the report on it, as FHIR R4."""
from collections.abc import Sequence
from typing import Any

import pandas as pd

from synthkit.core.schema import Factor
from synthkit.export.fhir_findings import in_words
from synthkit.export.fhir_resource import DAY, DICOM_TERMS, TERMS, Resource, concept, dicom_identifier, reference, resource
from synthkit.export.series import Series
from synthkit.export.uids import study_uid

KIND = {"synthetic": "Synthetic image", "edited": "Edited image"}


def imaging_study(name: str, mark: str, series: Sequence[Series], subject: dict[str, str]) -> Resource:
    """The study with the UIDs of the files that `to_dicom` writes of the same image; `mark` is the digest of its record."""
    return resource("ImagingStudy", name, identifier=[dicom_identifier(study_uid(name))], status="available", subject=subject, started=DAY,
                    numberOfSeries=len(series), numberOfInstances=sum(one.slices for one in series),
                    series=[_series(name, mark, one) for one in series])  # fmt: skip


def _series(name: str, mark: str, one: Series) -> dict[str, Any]:
    from pydicom import uid as uids

    sop_class = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{getattr(uids, one.kind.sop_class)}"}
    instances = [{"uid": one.instance(mark, number), "sopClass": sop_class, "number": 1 + number} for number in range(one.slices)]
    return {"uid": one.uid(name), "number": one.number, "modality": {"system": DICOM_TERMS, "code": one.kind.modality},
            "description": f"synthetic {one.label}", "numberOfInstances": one.slices, "instance": instances}  # fmt: skip


def report(name: str, row: pd.Series, factors: Sequence[Factor], told: dict[str, Any], study: Resource, found: Sequence[Resource]) -> Resource:
    """What the image was made to show, which is no reading of it; Observations are its results, Conditions the codes of its conclusion.

    Args:
        factors: those that apply to the image.
        told: its record.
    """
    conclusion = f"{KIND[told['kind']]} by {told['source']}; nobody has read it. It was made to show: {in_words(row, factors)}."
    return resource("DiagnosticReport", name, status="final", category=[concept(f"{TERMS}/v2-0074", "RAD")],
                    code=concept("http://loinc.org", "18748-4", "Diagnostic imaging study"), subject=study["subject"], effectiveDateTime=DAY,
                    result=[reference(one) for one in found if one["resourceType"] == "Observation"], imagingStudy=[reference(study)],
                    conclusion=conclusion, conclusionCode=[one["code"] for one in found if one["resourceType"] == "Condition"])  # fmt: skip
