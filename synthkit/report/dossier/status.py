"""How each section stands: by the worst of its claims; nothing that is missing or unfinished can read PASS."""
from collections.abc import Sequence

import pandas as pd

from synthkit.report.dossier.chapters import CHAPTERS
from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.rule import MEETS, NOT_ASSESSED, NOT_MET, OPEN, PASS

STATED = "STATED"  # told, with no rule to hold it against
ORDER = (PASS, MEETS, STATED, OPEN, NOT_ASSESSED, NOT_MET)
BY_PEOPLE = {
    "risk": "severity, probability and residual risk are for the manufacturer to judge",
    "traceability": "oversight and sign-off are filled in by hand",
}


def overview(plan: DossierPlan, evidence: Sequence[Evidence], claims: pd.DataFrame, validation: tuple[str, str]) -> pd.DataFrame:
    """One row per section: number, section, title, scorecard, status, why, and how many claims stand where."""
    rows = []
    for chapter in CHAPTERS:
        own, here = claims[claims["section"] == chapter.key], [one.name for one in evidence if chapter.key in one.sections]
        status, why = _status(chapter.key, plan, own, here, validation)
        rows.append({"number": chapter.number, "section": chapter.key, "title": chapter.title, "scorecard": chapter.scorecard, "status": status, "why": why,
                     "claims": len(own), "passed": int((own["result"] == PASS).sum()), "evidence": ", ".join(here)})  # fmt: skip
    frame = pd.DataFrame(rows)
    left = int((~frame["status"].isin([PASS, STATED])).sum())
    frame.loc[frame["section"] == "unmet", "why"] = f"{left} sections do not pass"
    return frame


def _status(key: str, plan: DossierPlan, own: pd.DataFrame, here: Sequence[str], validation: tuple[str, str]) -> tuple[str, str]:
    if key == "fit_for_purpose":
        return validation
    if key in BY_PEOPLE:
        return OPEN, BY_PEOPLE[key]
    if key == "unmet":
        return STATED, ""
    if key == "intended_use":
        return STATED, "" if plan.out_of_scope else "what is out of scope is not stated"
    if len(own):
        worst = max(own["result"], key=ORDER.index)
        first = own[own["result"] == worst].iloc[0]
        return worst, "" if worst == PASS else f"{first['claim']}: {first['reason']}"
    if not here:
        return NOT_ASSESSED, "no evidence was given"
    return STATED, "the plan has no rule for it"


def unmet(frame: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """Every claim and every section that does not pass, with the reason."""
    bad = claims[claims["result"] != PASS]
    titles = dict(zip(frame["section"], frame["number"].astype(str) + " " + frame["title"]))
    rows = [(titles[row.section], row.claim, row.result, row.reason) for row in bad.itertuples()]
    whole = frame[~frame["section"].isin(bad["section"]) & ~frame["status"].isin([PASS, STATED])]
    rows += [(titles[row.section], "the section as a whole", row.status, row.why) for row in whole.itertuples()]
    order = {title: place for place, title in enumerate(titles.values())}
    return pd.DataFrame(sorted(rows, key=lambda row: order[row[0]]), columns=["section", "what", "result", "reason"])
