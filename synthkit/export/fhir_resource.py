"""What all resources of a synthetic record have in common: ids that follow from names, the marks of test data, references and concepts."""
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

TERMS = "http://terminology.hl7.org/CodeSystem"
DICOM_TERMS = "http://dicom.nema.org/resources/ontology/DCM"
META = {
    "security": [{"system": f"{TERMS}/v3-ActReason", "code": "HTEST", "display": "test health data"}],
    "tag": [{"system": "urn:synthkit:kind", "code": "synthetic", "display": "synthetic"}],
}
DAY = "2000-01-01"  # synthetic patients have an age and no calendar: every study is of this day

Resource = dict[str, Any]


def identity(kind: str, name: str) -> UUID:
    """The id of a resource: the same name, the same id."""
    return uuid5(NAMESPACE_URL, f"synthkit:{kind}:{name}")


def resource(kind: str, name: str, **content: Any) -> Resource:
    """A marked resource; what is None or empty is left out, as FHIR wants it."""
    return {"resourceType": kind, "id": str(identity(kind, name)), "meta": META, **{key: value for key, value in content.items() if value not in (None, [])}}


def reference(to: Resource) -> dict[str, str]:
    """A reference inside the bundle."""
    return {"reference": f"urn:uuid:{to['id']}"}


def concept(system: str, code: str, text: str = "") -> dict[str, Any]:
    """A CodeableConcept of one code."""
    return {"coding": [{"system": system, "code": code}], **({"text": text} if text else {})}


def dicom_identifier(uid: str) -> dict[str, str]:
    """An Identifier that is a DICOM UID."""
    return {"system": "urn:dicom:uid", "value": f"urn:oid:{uid}"}
