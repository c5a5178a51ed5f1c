"""Claims: every rule of the plan against every value that it speaks of, each with the digest of the evidence behind it."""
from collections.abc import Iterator, Sequence

import pandas as pd

from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.fact import Fact
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.rule import ALL, EACH, NOT_ASSESSED, PassRule

COLUMNS = ("section", "measure", "group", "claim", "rule", "measured", "n", "result", "reason", "evidence", "sha256")


def claims(plan: DossierPlan, evidence: Sequence[Evidence]) -> pd.DataFrame:
    """One row per rule and value; a rule that no value answers is not assessed."""
    doubt = plan.doubt()
    rows = [row for rule in plan.rules for row in _held(rule, plan, evidence, frozen=not doubt)]
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _held(rule: PassRule, plan: DossierPlan, evidence: Sequence[Evidence], *, frozen: bool) -> Iterator[dict[str, object]]:
    found = [(one, fact) for one in evidence for fact in one.facts if fact.section == rule.section and rule.matches(fact.measure, fact.group)]
    for one, fact in found:
        lacking = unfit(plan, one)
        result, reason = (NOT_ASSESSED, lacking) if lacking else rule.judge(fact.row(), frozen=frozen)
        yield {"section": rule.section, "measure": rule.measure, "group": fact.group, "claim": rule.says(fact.group), "rule": rule.words,
               "measured": fact.words, "n": fact.n, "result": result, "reason": reason, "evidence": one.name, "sha256": one.sha256}  # fmt: skip
    if not found:
        yield {"section": rule.section, "measure": rule.measure, "group": rule.group, "claim": rule.says(ALL if rule.group == EACH else rule.group),
               "rule": rule.words, "measured": "", "n": None, "result": NOT_ASSESSED, "reason": _absent(rule, evidence), "evidence": "",
               "sha256": ""}  # fmt: skip


def unfit(plan: DossierPlan, one: Evidence) -> str:
    """Why values of this evidence say nothing under the plan; empty where they do."""
    if plan.frozen is not None and one.cohorts and "given" not in one.cohorts:
        if not one.at:
            return "the result does not say when it was measured, and so not whether the rules were there before"
        if one.at < plan.frozen.at:
            return f"measured at {one.at}, before the rules were fixed at {plan.frozen.at}"
    if plan.test is not None and "test" in one.cohorts and not plan.test.holds(one.cohorts["test"]):
        return f"measured on other patients than the plan names ({plan.test.source})"
    return ""


def _absent(rule: PassRule, evidence: Sequence[Evidence]) -> str:
    others: list[Fact] = [fact for one in evidence for fact in one.facts if fact.section == rule.section]
    near = sorted({fact.group for fact in others if fact.measure == rule.measure})
    if near:
        return f"no value of {rule.measure} for {rule.group}; there are values for {', '.join(near[:4])}"
    names = sorted({fact.measure for fact in others})
    return f"no result holds {rule.measure}" + (f"; this section has {', '.join(names[:4])}" if names else "")
