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
    test, doubt = plan.test, plan.doubt()
    if doubt:
        return OPEN, f"no rules were fixed before the run: {doubt}"
    if test is None:
        return OPEN, "the plan names no test cohort; freeze one that does: sk.DossierPlan(..., test=cohort)"
    if test.kind != "real":
        return OPEN, f"the plan's test cohort ({test.source}) is {test.kind}: only real patients can validate"
    studies = [one for one in evidence if isinstance(one.item, (Utility, Hybrid)) and "test" in one.cohorts and not unfit(plan, one)]
    if not studies:
        return OPEN, f"no study of utility was measured on {test.source}"
    generators = [one.item for one in evidence if isinstance(one.item, Generator)]
    if not generators or not all(one.patients for one in generators):
        return OPEN, "no generator that names the patients it learnt from is among the evidence"
    named = set(test.patients)
    touched = {name: len(named & set(one.patients)) for name, one in ((generator.card.name, generator) for generator in generators)}
    touched |= {f"{part} of {one.name}": len(named & patients_of(cohort)) for one in evidence for part, cohort in one.cohorts.items() if part in LEARNT_ON}
    leaks = {name: count for name, count in touched.items() if count}
    if leaks:
        return OPEN, "the test cohort is not untouched: " + ", ".join(f"{count} of its patients in {name}" for name, count in leaks.items())
    return _by_claims(claims, studies)


def _by_claims(claims: pd.DataFrame, studies: Sequence[Evidence]) -> tuple[str, str]:
    held = claims[(claims["section"] == "utility") & claims["evidence"].isin([one.name for one in studies])]
    if held.empty:
        return OPEN, "no rule speaks of what was measured on it"
    missed = held[held["result"] != PASS]
    if len(missed):
        return OPEN, f"{missed['evidence'].iloc[0]} does not pass: {missed['claim'].iloc[0]} ({missed['reason'].iloc[0]})"
    return PASS, f"measured by {', '.join(one.name for one in studies)} on patients of whom nothing else in this dossier learnt"
