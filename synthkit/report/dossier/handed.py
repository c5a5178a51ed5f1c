"""Which of the images that are handed in a result was measured on: known by their pixels, so that a result on other images proves nothing."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import pixel_digest
from synthkit.core.result import Section
from synthkit.report.dossier.evidence import Evidence

MADE = ("synthetic", "checked")  # parts of a result that hold images which were made


@dataclass(frozen=True)
class Handed:
    """The images of the cohorts among the evidence that were made, and those that results were measured on.

    Args:
        cohorts: by name of the evidence.
        measured: by name of the evidence; results that say on which images they were measured.
    """

    cohorts: dict[str, frozenset[str]]
    measured: dict[str, frozenset[str]]

    @staticmethod
    def of(evidence: Sequence[Evidence]) -> "Handed":
        made = {one.name: one.item for one in evidence if isinstance(one.item, Cohort) and one.item.provenance.kind != "real"}
        studied = {one.name: _made(one) for one in evidence if isinstance(one.item, Section)} if made else {}
        seen = {id(cohort): _images(cohort) for cohort in (*made.values(), *(cohort for found in studied.values() for cohort in found))}
        return Handed({name: seen[id(cohort)] for name, cohort in made.items()},
                      {name: frozenset().union(*(seen[id(cohort)] for cohort in found)) for name, found in studied.items() if found})  # fmt: skip

    def others(self, one: Evidence) -> str:
        """Why a result is of other images than those handed in; empty where it is not, or where none were."""
        mine = self.measured.get(one.name)
        if mine is None or not self.cohorts or any(mine & images for images in self.cohorts.values()):
            return ""
        return f"measured on images that are not handed in ({', '.join(self.cohorts)})"

    def left_out(self, found: Sequence[Evidence]) -> Iterator[tuple[str, int]]:
        """The cohorts, and their images, on which none of these results was measured, where they say on which they were."""
        studied = [self.measured[one.name] for one in found if one.name in self.measured]
        for name, images in self.cohorts.items():
            if studied and not any(images & mine for mine in studied):
                yield name, len(images)


def _made(one: Evidence) -> list[Cohort]:
    return [cohort for part, cohort in one.cohorts.items() if part in MADE]


def _images(cohort: Cohort) -> frozenset[str]:
    return frozenset(pixel_digest(cohort.images.raw([row])[0]) for row in range(len(cohort)))
