"""Resources of FHIR R4 bundles: read from files, checked for the version, and found by reference."""
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from synthkit.errors import DataError

Resource = Mapping[str, Any]
WANTED = ("Patient", "Condition", "Observation", "ImagingStudy")
ENDINGS = (".json", ".ndjson")


class Resources:
    """All wanted resources of some files.

    Attributes:
        kinds: {type: [resource, ...]}, in the order of the files.
    """

    def __init__(self, source: Path):
        self.kinds: dict[str, list[Resource]] = {name: [] for name in WANTED}
        self._known: dict[str, Resource] = {}
        for place, address, resource in _resources(source):
            kind = resource["resourceType"]
            if kind not in WANTED:
                continue
            require_r4(resource, place)
            names = {address, f"{kind}/{resource['id']}" if "id" in resource else ""} - {""}
            if names & set(self._known):  # the same patient in several bundles
                continue
            self._known |= dict.fromkeys(names, resource)
            self.kinds[kind].append(resource)
        if not self.kinds["Patient"]:
            there = ", ".join(f"{len(found)} {name}" for name, found in self.kinds.items() if found) or "none of " + ", ".join(WANTED)
            raise DataError(f"{source}: no Patient among its resources ({there}); a record needs the patients that its entries refer to")

    def patient_of(self, resource: Resource) -> Resource | None:
        """The patient whom a resource is about; None where the reference leads nowhere."""
        target = str((resource.get("subject") or {}).get("reference", ""))
        found = self._known.get(target) or self._known.get("/".join(target.split("/")[-2:]))
        return found if found is not None and found["resourceType"] == "Patient" else None


def _resources(source: Path) -> Iterator[tuple[str, str, Resource]]:
    """File name, full URL and resource of everything in a file or folder."""
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in ENDINGS) if source.is_dir() else [source]
    if not files:
        raise DataError(f"{source}: no {' or '.join(ENDINGS)} file in this folder; give FHIR R4 bundles or resources")
    for path in files:
        for content in _contents(path):
            if content.get("resourceType") != "Bundle":
                yield path.name, "", content
            entries = content.get("entry", []) if content.get("resourceType") == "Bundle" else []
            if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
                raise DataError(f"{path.name}: its entry is no list of objects, as a Bundle has; export it again")
            for entry in entries:
                if isinstance(entry.get("resource"), dict) and "resourceType" in entry["resource"]:
                    yield path.name, str(entry.get("fullUrl", "")), entry["resource"]


def _contents(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix.lower() == ".ndjson" else [json.loads(text)]
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name}: not readable as JSON ({error}); give FHIR R4 as JSON or NDJSON") from error
    for content in found:
        if not isinstance(content, dict) or "resourceType" not in content:
            raise DataError(f"{path.name}: JSON without a resourceType; give FHIR bundles or resources")
        yield content


def require_r4(resource: Resource, place: str) -> None:
    """Raise DataError for a resource with marks of FHIR STU3 or R5."""
    kind = resource["resourceType"]
    status, series = resource.get("clinicalStatus"), resource.get("series") or [{}]
    marks = {
        "STU3": {"animal", "context", "uid", "assertedDate"} & set(resource) | ({"clinicalStatus as text"} if isinstance(status, str) else set()),
        "R5": {"participant", "triggeredBy"} & set(resource) | ({"series.modality as a concept"} if "coding" in (series[0].get("modality") or {}) else set()),
    }  # fmt: skip
    profiles = " ".join((resource.get("meta") or {}).get("profile") or ())
    marks["R5"] |= {"meta.profile of 5.0"} if "/fhir/5.0/" in profiles else set()
    for version, found in marks.items():
        if found:
            raise DataError(f"{place}: a {kind} with {sorted(found)[0]!r}, which is FHIR {version}; FHIR R4 (4.0.1) is read: export or convert it as R4")
