"""A cohort as a plan remembers it: by its pixels and by digests of its patients, so that it is known again and nothing of it is shown."""
from dataclasses import asdict, dataclass
from typing import Any

from synthkit.core.cohort import Cohort
from synthkit.core.lineage import manifest_root
from synthkit.core.provenance import patient_digest


@dataclass(frozen=True)
class Registered:
    """The cohort that results will be judged on.

    Args:
        root: Merkle root over the pixels, whatever the order of the images.
        patients: their digests, sorted.
    """

    kind: str
    source: str
    images: int
    root: str
    patients: tuple[str, ...]

    @staticmethod
    def of(cohort: Cohort) -> "Registered":
        return Registered(cohort.provenance.kind, cohort.provenance.source, len(cohort), manifest_root(cohort), tuple(sorted(patients_of(cohort))))

    @staticmethod
    def from_json(told: dict[str, Any]) -> "Registered":
        return Registered(**{**told, "patients": tuple(told["patients"])})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def holds(self, cohort: Cohort) -> bool:
        """Whether all patients of a cohort are among these, of the same source."""
        origin = cohort.provenance
        return len(cohort) > 0 and (origin.kind, origin.source) == (self.kind, self.source) and patients_of(cohort) <= set(self.patients)


def patients_of(cohort: Cohort) -> set[str]:
    """Digests of the patients of a cohort."""
    return {patient_digest(name) for name in cohort.table["patient_id"].unique()}
