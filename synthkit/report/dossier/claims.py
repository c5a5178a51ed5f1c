"""Claims: every rule of the plan against every value that it speaks of, each with the digest of the evidence behind it."""
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pandas as pd

from synthkit.core.result import Section
from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.fact import Fact
from synthkit.report.dossier.handed import Handed
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.registered import patients_of
from synthkit.report.dossier.rule import ALL, EACH, NOT_ASSESSED, PassRule

OF_PATIENTS = {"congruence", "coverage", "adherence", "utility", "bias", "reader_study"}  # sections whose results are measured on patients
COLUMNS = ("section", "measure", "group", "claim", "rule", "measured", "n", "result", "reason", "evidence", "sha256")


def claims(plan: DossierPlan, evidence: Sequence[Evidence]) -> pd.DataFrame:
    """One row per rule and value; a rule that no value answers is not assessed."""
    doubt, handed = plan.doubt(), Handed.of(evidence)
    rows = [row for rule in plan.rules for row in _held(rule, plan, evidence, handed, frozen=not doubt)]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _held(rule: PassRule, plan: DossierPlan, evidence: Sequence[Evidence], handed: Handed, *, frozen: bool) -> Iterator[dict[str, object]]:
    found = [(one, fact) for one in evidence for fact in one.facts if fact.section == rule.section and rule.matches(fact.measure, fact.group)]
    for one, fact in found:
        lacking = unfit(plan, one) or handed.others(one)
        result, reason = (NOT_ASSESSED, lacking) if lacking else rule.judge(fact.row(), frozen=frozen)
        reason += "" if lacking else _part(plan, one)
        yield {"section": rule.section, "measure": rule.measure, "group": fact.group, "claim": rule.says(fact.group), "rule": rule.words,
               "measured": fact.words, "n": fact.n, "result": result, "reason": reason, "evidence": one.name, "sha256": one.sha256}  # fmt: skip
    for name, count in handed.left_out([one for one, _ in found]):
        yield _unanswered(rule, f"not measured on {name} ({count} images)")
    if not found:
        yield _unanswered(rule, _absent(rule, evidence))


def _unanswered(rule: PassRule, reason: str) -> dict[str, object]:
    return {"section": rule.section, "measure": rule.measure, "group": rule.group, "claim": rule.says(ALL if rule.group == EACH else rule.group),
            "rule": rule.words, "measured": "", "n": None, "result": NOT_ASSESSED, "reason": reason, "evidence": "", "sha256": ""}  # fmt: skip


def unfit(plan: DossierPlan, one: Evidence) -> str:
    """Why values of this evidence say nothing under the plan; empty where they do. What a cohort says by itself is counted now, and of nobody."""
    return (_at_another_time(plan, one) or _on_others(plan, one)) if isinstance(one.item, Section) else ""


def _at_another_time(plan: DossierPlan, one: Evidence) -> str:
    if plan.frozen is None:
        return ""
    measured = _time(one.at)
    if measured is None:
        return "the result does not say when it was measured, and so not whether the rules were there before"
    if measured < datetime.fromisoformat(plan.frozen.at):
        return f"measured at {one.at}, before the rules were fixed at {plan.frozen.at}"
    return f"it says that it was measured at {one.at}, which is still to come" if measured > datetime.now(UTC) else ""


def _time(told: str) -> datetime | None:
    """A time that can be held against others: ISO 8601 with its zone."""
    try:
        found = datetime.fromisoformat(told)
    except (TypeError, ValueError):
        return None
    return None if found.tzinfo is None else found


def _on_others(plan: DossierPlan, one: Evidence) -> str:
    if plan.test is None:
        return ""
    if "test" in one.cohorts:
        return "" if plan.test.holds(one.cohorts["test"]) else f"measured on other patients than the plan names ({plan.test.source})"
    return f"the result does not say on which patients it was measured; the plan names {plan.test.source}" if OF_PATIENTS & {*one.sections} else ""


def _part(plan: DossierPlan, one: Evidence) -> str:
    """That only some of the patients named were judged, so that nobody takes a chosen part for the whole."""
    if plan.test is None or "test" not in one.cohorts:
        return ""
    count, named = len(patients_of(one.cohorts["test"])), len(plan.test.patients)
    return f"; on {count} of the {named} patients that the plan names" if count < named else ""


def _absent(rule: PassRule, evidence: Sequence[Evidence]) -> str:
    others: list[Fact] = [fact for one in evidence for fact in one.facts if fact.section == rule.section]
    near = sorted({fact.group for fact in others if fact.measure == rule.measure})
    if near:
        return f"no value of {rule.measure} for {rule.group}; there are values for {', '.join(near[:4])}"
    names = sorted({fact.measure for fact in others})
    return f"no result holds {rule.measure}" + (f"; this section has {', '.join(names[:4])}" if names else "")
