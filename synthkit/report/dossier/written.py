"""What a dossier writes into its sections beside claims and evidence: the plan, the generator, counts, risks, digests and lines for people."""
import html
from collections.abc import Sequence

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.environment import environment
from synthkit.generators.generator import Generator
from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.from_cohorts import request, specification
from synthkit.report.dossier.guidance import traceability
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.risk import risk_table
from synthkit.report.fragment import list_html, table_html

WHOLE = 10_000  # rows of a table that is never folded, since a print cannot unfold it
OVERSIGHT = ("Who releases synthetic images for use, and may stop it", "How a person checks images before they are used",
             "What a person does when a finding is doubted",
             "How users learn that images are synthetic, and what they must not be used for", "When the evidence is looked at again")
SIGNERS = ("Author of the dossier", "Clinical reviewer", "Quality and regulatory affairs")


def written(key: str, plan: DossierPlan, evidence: Sequence[Evidence], claims: pd.DataFrame, overview: pd.DataFrame) -> str:
    """HTML of what one section says by itself; empty for most."""
    status = dict(zip(overview["section"], overview["status"]))
    if key == "intended_use":
        return _said("Intended use", plan.intended_use) + _said("Out of scope", plan.out_of_scope or "not stated")
    if key == "fit_for_purpose":
        return _hashes(plan.facts()) + table_html(plan.frame(), folded=WHOLE)
    if key == "generator":
        return "".join(one.item.card._repr_html_() for one in evidence if isinstance(one.item, Generator))
    if key == "generation":
        return _generation([one.item for one in evidence if isinstance(one.item, Cohort) and one.item.provenance.kind != "real"])
    if key == "risk":
        return table_html(risk_table(claims), folded=WHOLE)
    if key == "change_control":
        return _hashes(digests(plan, evidence))
    if key == "traceability":
        return table_html(traceability(status), folded=WHOLE) + list_html([ORIENTATION]) + _by_hand()
    return ""


ORIENTATION = "For orientation only: whoever hands this in checks the sections against the texts in force."


def _hashes(frame: pd.DataFrame) -> str:
    return f'<div class="hashes">{table_html(frame, folded=WHOLE)}</div>'


def _said(name: str, text: str) -> str:
    return f"<p><b>{name}.</b> {html.escape(text)}</p>"


def _generation(cohorts: Sequence[Cohort]) -> str:
    if not cohorts:
        return ""
    told = table_html(pd.DataFrame([specification(cohort) for cohort in cohorts]), folded=WHOLE)
    return told + "".join(_said("Images by factor", cohort.provenance.source) + table_html(request(cohort)) for cohort in cohorts)


def digests(plan: DossierPlan, evidence: Sequence[Evidence]) -> pd.DataFrame:
    """All that the dossier stands on, by sha256."""
    here = environment()
    versions = ", ".join(f"{name} {value}" for name, value in here.items() if name != "source")
    rows = [("code", versions, here.get("source", "")), ("plan", "rules", plan.frozen.sha256 if plan.frozen else "not frozen")]
    rows += [(f"weights of {one.name}", one.item.card.name, one.item.weights_digest()) for one in evidence if isinstance(one.item, Generator)]
    seen = {id(cohort): (f"{part} of {one.name}", cohort) for one in evidence for part, cohort in one.cohorts.items()}
    rows += [(name, f"{cohort.provenance.kind}: {cohort.provenance.source}, {len(cohort)} images", cohort.root) for name, cohort in seen.values()]
    rows += [(one.name, one.title, one.sha256) for one in evidence]
    return pd.DataFrame(rows, columns=["what", "which", "sha256"])


def _by_hand() -> str:
    lines = "".join(f"<tr><td>{line}</td><td class='blank'></td></tr>" for line in OVERSIGHT)
    signs = "".join(f"<tr><td>{line}</td><td class='blank'></td><td class='blank'></td><td class='blank'></td></tr>" for line in SIGNERS)
    return (f"<h4>Human oversight</h4><table class='form'><tbody>{lines}</tbody></table><h4>Sign-off</h4><table class='form'>"
            f"<thead><tr><th>role</th><th>name</th><th>date</th><th>signature</th></tr></thead><tbody>{signs}</tbody></table>")  # fmt: skip
