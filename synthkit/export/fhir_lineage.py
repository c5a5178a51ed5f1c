"""Who made an image, and of what, as FHIR R4: the generator as a Device, and a Provenance with the digests of record, model and data."""
from collections.abc import Iterator, Sequence
from typing import Any

from synthkit.export.fhir_resource import DICOM_TERMS, TERMS, Resource, concept, dicom_identifier, reference, resource
from synthkit.export.uids import uid

SHA256 = "urn:synthkit:sha256"
# The standard wants a time of recording; the same cohort gives the same bytes, whenever it is written.
NO_TIME = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "not-applicable"}]}


def device(key: str, told: dict[str, Any]) -> Resource:
    """The generator or phantom with this key that a record tells of, with the versions of code, libraries and weights."""
    recipe = told["recipe"]
    family = str((recipe.get("recipe") or {}).get("family") or recipe.get("phantom") or told["source"]).rpartition(":")[2]  # of an import path its class
    versions = {"software": told["code"], **{f"{name}, sha256": value for name, value in told["digests"].items()}, **(recipe.get("environment") or {})}
    return resource("Device", key, identifier=[{"system": "urn:synthkit:maker", "value": key}], status="active", manufacturer="synthkit",
                    deviceName=[{"name": told["source"], "type": "user-friendly-name"}, {"name": family, "type": "model-name"}], modelNumber=family,
                    type=concept(DICOM_TERMS, "109100", "Synthesizing Equipment"),
                    version=[{"type": {"text": name}, "value": str(value)} for name, value in versions.items()])  # fmt: skip


def provenance(name: str, mark: str, told: dict[str, Any], targets: Sequence[Resource], maker: Resource) -> Resource:
    """Study and report were made by a device, as the record with this digest tells."""
    agent = {"type": concept(f"{TERMS}/provenance-participant-type", "performer"), "who": reference(maker)}
    return resource("Provenance", name, target=[reference(one) for one in targets], _recorded=NO_TIME, reason=[concept(f"{TERMS}/v3-ActReason", "HTEST")],
                    activity=concept(f"{TERMS}/v3-DataOperation", "CREATE"), agent=[agent], entity=[*_entities(mark, told)])  # fmt: skip


def _entities(mark: str, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    source = told.get("source_id")
    if source is not None:
        yield {"role": "source", "what": {"identifier": dicom_identifier(uid("source", source)), "display": "the image that was edited"}}
    yield _by_digest(mark, "record of the image: canonical JSON, RFC 8785")
    for what, value in told["digests"].items():
        yield _by_digest(value, f"{what} of {told['source']}")
    for parent in told["parents"]:
        name = f"{parent['source']} ({parent['kind']}), learnt or edited from"
        digests = parent["digests"]
        yield from (_by_digest(value, f"{name}: {what}") for what, value in digests.items())
        if not digests:
            yield {"role": "derivation", "what": {"display": f"{name}: no digest known"}}


def _by_digest(value: str, what: str) -> dict[str, Any]:
    return {"role": "derivation", "what": {"identifier": {"system": SHA256, "value": str(value)}, "display": what}}
