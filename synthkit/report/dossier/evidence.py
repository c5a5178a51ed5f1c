"""Evidence as a dossier keeps it: numbered, put into its sections, known by digests."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from synthkit.causal.result import TableCounterfactual
from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.result import Scores, Section
from synthkit.errors import DataError
from synthkit.evidence.difference import Difference
from synthkit.evidence.replay import Replay
from synthkit.evidence.trace import Trace
from synthkit.evidence.verify import Verification
from synthkit.explanation.attribution import Explanation
from synthkit.explanation.audit import ExplanationAudit
from synthkit.explanation.counterfactual import Counterfactual
from synthkit.explanation.dose import DoseResponse
from synthkit.explanation.exactness import Exactness
from synthkit.explanation.flip_result import Flip
from synthkit.explanation.scorecard import Scorecard
from synthkit.explanation.shapley import Agreement
from synthkit.explanation.shortcut import Shortcut
from synthkit.explanation.soundness import Soundness
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.lifecycle.drift import Drift
from synthkit.lifecycle.promote import Promotion
from synthkit.metrics.checks.result import ImageChecks
from synthkit.metrics.utility import Utility
from synthkit.report.dossier.chapters import BY_KEY, PLACES, chapter_key
from synthkit.report.dossier.fact import Fact
from synthkit.report.dossier.from_results import facts_of, placed_facts
from synthkit.report.dossier.identity import cohorts_of, sha256_of, time_of
from synthkit.report.fragment import holds_pictures, title_of
from synthkit.report.gallery import Gallery
from synthkit.scale.federated.record import Federation
from synthkit.scale.generation.result import Generation
from synthkit.studies.audit.result import Audit
from synthkit.studies.completion import Completion
from synthkit.studies.families.result import Comparison
from synthkit.studies.hybrid.result import Hybrid
from synthkit.studies.privacy.result import Privacy
from synthkit.studies.reader.result import Readings
from synthkit.studies.sweeps.result import Stress

Item = Section | Cohort | Generator
HOMES: Mapping[type, tuple[str, ...]] = {
    Scores: ("congruence",), ImageChecks: ("constraint",), Privacy: ("compliance",), Replay: ("consistency", "change_control"),
    Verification: ("change_control",), Trace: ("change_control",), Difference: ("change_control",), Utility: ("utility",), Hybrid: ("utility",),
    Audit: ("bias",), Readings: ("reader_study",), Generator: ("generator", "change_control"), Gallery: ("congruence",), Stress: ("bias",),
    Completion: ("comprehension",), Promotion: ("change_control",), Drift: ("change_control",),
    Generation: ("generation", "change_control"), Federation: ("generator",), Comparison: ("generator",),
    **dict.fromkeys((Soundness, ExplanationAudit, Counterfactual, DoseResponse, Exactness, Flip, Explanation, Scorecard, Agreement, Shortcut,
                     TableCounterfactual), ("comprehension",)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evidence:
    """One piece of evidence.

    Args:
        number: E1, E2 and so on, in the order in which it was given.
        sections: keys of the sections that it stands in.
        sha256: of what it is: weights and settings, the records of a cohort, or title, table, caveats, time and cohorts of a result.
        cohorts: what it was measured on, by part.
        at: when it was measured; empty where it does not say.
    """

    number: int
    item: Item
    sections: tuple[str, ...]
    facts: tuple[Fact, ...]
    sha256: str
    cohorts: Mapping[str, Cohort] = field(default_factory=dict)
    at: str = ""

    @property
    def name(self) -> str:
        return f"E{self.number}"

    @property
    def shows_patients(self) -> bool:
        """Whether its figure holds pictures that are of real patients, edited ones included, or of which it is not known."""
        if isinstance(self.item, Generator) or (self.cohorts and not any(map(_of_patients, self.cohorts.values()))):
            return False
        return holds_pictures(self.item.figure())

    @property
    def title(self) -> str:
        return f"Generator: {self.item.card.name}" if isinstance(self.item, Generator) else title_of(self.item)


def _of_patients(cohort: Cohort) -> bool:
    origin = cohort.provenance
    return origin.kind == "real" or (origin.kind in ("edited", "mixed") and any(record.kind == "real" for record in origin.all()))


def gathered(given: Sequence[object]) -> tuple[Evidence, ...]:
    """Numbered evidence.

    Args:
        given: results, cohorts and generators; `("compliance", result)` puts one where its author wants it.
    Raises:
        DataError: something else, or a result of which nobody knows where it belongs.
    """
    return tuple(_one(number, one) for number, one in enumerate(given, start=1))


def _one(number: int, given: object) -> Evidence:
    key, item = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
    hint = "; a recipe gives a generator when it was fitted: recipe.fit(train)" if isinstance(item, Recipe) else ""
    hint = "; the kept cases of a view are its .kept" if isinstance(item, (list, tuple)) else hint
    require_kind(f"sections, number {number}", item, (Section, Cohort, Generator), f"results, cohorts, generators, or (section, result){hint}")
    if isinstance(item, Cohort) and not len(item):
        raise DataError(f"sections, number {number}: {item.provenance.source} has no image; leave it out")
    facts = facts_of(item)
    if key is not None:
        place = chapter_key(str(key))
        facts, homes = [*facts, *placed_facts(item, place)] if isinstance(item, Section) else facts, (place,)
    else:
        homes = _homes(item, number)
    sections = tuple(dict.fromkeys((*homes, *(fact.section for fact in facts))))
    return Evidence(number, item, tuple(sorted(sections, key=lambda name: BY_KEY[name].number)), tuple(facts), sha256_of(item), cohorts_of(item), time_of(item))


def _homes(item: Item, number: int) -> tuple[str, ...]:
    if isinstance(item, Cohort):
        return ("independence",) if item.provenance.kind == "real" else ("generation", "completeness", "compliance", "change_control")
    found = next((homes for kind, homes in HOMES.items() if isinstance(item, kind)), None)
    if found is None:
        raise DataError(f"sections: nobody knows where number {number} ({type(item).__name__}: {item.title}) belongs; say it: ('comprehension', result), "  # type: ignore[union-attr]
                        f"with one of {', '.join(PLACES)}")  # fmt: skip
    return found
