"""Final validation: open until real patients, named before the run and known to nothing that was fitted or chosen, were evaluated."""
from collections.abc import Sequence

import pandas as pd

from synthkit.generators.generator import Generator
from synthkit.metrics.utility import Utility
from synthkit.report.dossier.claims import unfit
from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.independence import LEARNT_ON
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.registered import patients_of
from synthkit.report.dossier.rule import OPEN, PASS
from synthkit.studies.hybrid.result import Hybrid


def final_validation(plan: DossierPlan, evidence: Sequence[Evidence], claims: pd.DataFrame) -> tuple[str, str]:
    """PASS or OPEN, and why."""
    studies = [one for one in evidence if isinstance(one.item, (Utility, Hybrid)) and "test" in one.cohorts and not unfit(plan, one)]
    generators = [one.item for one in evidence if isinstance(one.item, Generator)]
    lacking = _unnamed(plan) or _unmeasured(plan, studies) or _unknown(studies, generators) or _touched(plan, evidence, generators)
    return (OPEN, lacking) if lacking else _by_claims(claims, studies)


def _unnamed(plan: DossierPlan) -> str:
    test, doubt = plan.test, plan.doubt()
    if doubt:
        return f"no rules were fixed before the run: {doubt}"
    if test is None:
        return "the plan names no test cohort; freeze one that does: sk.DossierPlan(..., test=cohort)"
    return "" if test.kind == "real" else f"the plan's test cohort ({test.source}) is {test.kind}: only real patients can validate"


def _unmeasured(plan: DossierPlan, studies: Sequence[Evidence]) -> str:
    if not studies:
        return f"no study of utility was measured on {plan.test.source}"  # type: ignore[union-attr]
    named = len(plan.test.patients)  # type: ignore[union-attr]
    seen = {one.name: len(patients_of(one.cohorts["test"])) for one in studies}
    return next((f"{name} was measured on {count} of the {named} patients that the plan names" for name, count in seen.items() if count < named), "")


def _unknown(studies: Sequence[Evidence], generators: Sequence[Generator]) -> str:
    """Whose patients cannot be told: of no generator, or of one that is not here."""
    if not generators or not all(one.patients for one in generators):
        return "no generator that names the patients it learnt from is among the evidence"
    weights = {one.weights_digest() for one in generators}
    made = {one.name: {maker.digests.get("weights") for maker in one.cohorts["synthetic"].makers().values()} for one in studies if "synthetic" in one.cohorts}
    return next((f"the synthetic images of {name} were not made by a generator among the evidence" for name, by in made.items() if not by <= weights), "")


def _touched(plan: DossierPlan, evidence: Sequence[Evidence], generators: Sequence[Generator]) -> str:
    named = set(plan.test.patients)  # type: ignore[union-attr]
    touched = [(one.card.name, len(named & one.patients)) for one in generators]
    touched += [(f"{part} of {one.name}", len(named & patients_of(cohort))) for one in evidence for part, cohort in one.cohorts.items() if part in LEARNT_ON]
    leaks = ", ".join(f"{count} of its patients in {name}" for name, count in touched if count)
    return f"the test cohort is not untouched: {leaks}" if leaks else ""


def _by_claims(claims: pd.DataFrame, studies: Sequence[Evidence]) -> tuple[str, str]:
    held = claims[(claims["section"] == "utility") & claims["evidence"].isin([one.name for one in studies])]
    if held.empty:
        return OPEN, "no rule speaks of what was measured on it"
    missed = held[held["result"] != PASS]
    if len(missed):
        return OPEN, f"{missed['evidence'].iloc[0]} does not pass: {missed['claim'].iloc[0]} ({missed['reason'].iloc[0]})"
    return PASS, f"measured by {', '.join(one.name for one in studies)} on patients of whom nothing else in this dossier learnt"
