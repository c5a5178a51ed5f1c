"""What a piece of evidence is: its digest, the cohorts that it was measured on, and when."""
from collections.abc import Mapping
from functools import singledispatch

from synthkit.core.cohort import Cohort
from synthkit.core.lineage import canonical_json
from synthkit.core.provenance import digest
from synthkit.core.result import Section, Tabled
from synthkit.explanation.attribution import Explanation
from synthkit.explanation.counterfactual import Counterfactual
from synthkit.explanation.dose import DoseResponse
from synthkit.explanation.exactness import Exactness
from synthkit.explanation.flip_result import Flip
from synthkit.generators.generator import Generator
from synthkit.metrics.checks.result import ImageChecks
from synthkit.report.gallery import Gallery
from synthkit.studies.completion import Completion
from synthkit.studies.privacy.result import Privacy


@singledispatch
def sha256_of(item: object) -> str:
    """By which a piece of evidence is known again: of a result all that it says, of a cohort its root, of a generator weights and settings."""
    raise TypeError(type(item))


@sha256_of.register
def _(item: Section) -> str:
    told = {"kind": type(item).__name__, "title": item.title, "rows": item.frame().to_dict("records"), "caveats": item.caveats(),
            "at": time_of(item), "cohorts": {part: cohort.root for part, cohort in cohorts_of(item).items()}}  # fmt: skip
    return digest(canonical_json(told))


@sha256_of.register
def _(item: Cohort) -> str:
    return item.root


@sha256_of.register
def _(item: Generator) -> str:
    return item.identity()


@singledispatch
def cohorts_of(item: object) -> Mapping[str, Cohort]:
    """What a result was measured on."""
    return {}


@cohorts_of.register
def _(item: Tabled) -> Mapping[str, Cohort]:
    return item.cohorts


@cohorts_of.register
def _(item: Privacy) -> Mapping[str, Cohort]:
    return item.cohorts


@cohorts_of.register
def _(item: ImageChecks) -> Mapping[str, Cohort]:
    return {"checked": item.cohort} | ({} if item.like is None else {"like": item.like})


@cohorts_of.register
def _(item: Cohort) -> Mapping[str, Cohort]:
    return {"given": item}


@cohorts_of.register
def _(item: Gallery) -> Mapping[str, Cohort]:
    return {"real": item.real, "synthetic": item.fake}


@cohorts_of.register(Counterfactual)
@cohorts_of.register(Flip)
def _(item: Counterfactual | Flip) -> Mapping[str, Cohort]:
    return {"edited": item.factual}


@cohorts_of.register
def _(item: Exactness) -> Mapping[str, Cohort]:
    return {"edited": item.twin.factual}


@cohorts_of.register
def _(item: DoseResponse) -> Mapping[str, Cohort]:
    return {"edited": item.patients}


@cohorts_of.register
def _(item: Explanation) -> Mapping[str, Cohort]:
    return {"explained": item.twin.factual}


@cohorts_of.register
def _(item: Completion) -> Mapping[str, Cohort]:
    return {"given": item.given}


@singledispatch
def time_of(item: object) -> str:
    """When a result was measured (ISO 8601, UTC); empty where it does not say."""
    return ""


@time_of.register(Tabled)
@time_of.register(Privacy)
@time_of.register(ImageChecks)
def _(item: Tabled | Privacy | ImageChecks) -> str:
    return item.at
