"""Whether the generator learnt from patients of a test set, and whether training data and test set share any."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite

from synthkit.core.cohort import Cohort
from synthkit.generators.generator import Generator
from synthkit.report.dossier.defaults import KNOWN, SHARED
from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.fact import NAN, Fact
from synthkit.report.dossier.registered import patients_of

JUDGED_ON, LEARNT_ON = ("test", "holdout"), ("train", "valid", "judge")


def with_independence(evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
    """Evidence with a fact for each test cohort: how many of its patients the generators, and the training data given, know."""
    generators = [one.item for one in evidence if isinstance(one.item, Generator)]
    learnt = {id(cohort): cohort for one in evidence for part, cohort in one.cohorts.items() if part in LEARNT_ON}
    trained = set().union(*map(patients_of, learnt.values())) if learnt else None
    return tuple(_told(one, generators, trained) for one in evidence)


def _told(one: Evidence, generators: Sequence[Generator], trained: set[str] | None) -> Evidence:
    tests = {part: cohort for part, cohort in one.cohorts.items() if part in JUDGED_ON and len(cohort)}
    added = [fact for part, cohort in tests.items() for fact in _facts(f"{one.name}, {part}", cohort, generators, trained)]
    sections = one.sections if not added or "independence" in one.sections else (*one.sections, "independence")
    return replace(one, facts=(*one.facts, *added), sections=sections)


def _facts(group: str, cohort: Cohort, generators: Sequence[Generator], trained: set[str] | None) -> Iterator[Fact]:
    own = patients_of(cohort)
    # A generator that names no patient may have learnt from anybody.
    known = [float(len(own & one.patients)) if one.patients else NAN for one in generators]
    value = max(known) if known and all(map(isfinite, known)) else NAN
    yield Fact(section="independence", measure=KNOWN, group=group, value=value, n=len(own))
    yield Fact(section="independence", measure=SHARED, group=group, value=NAN if trained is None else float(len(own & trained)), n=len(own))
