"""The dossier as one page that opens offline and prints well."""
import html
import json
from collections.abc import Sequence

import pandas as pd

from synthkit.generators.generator import Generator
from synthkit.report.dossier.chapters import CHAPTERS, Chapter
from synthkit.report.dossier.evidence import Evidence
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.rule import MEETS, NOT_ASSESSED, NOT_MET, OPEN, PASS
from synthkit.report.dossier.status import STATED, unmet
from synthkit.report.dossier.written import WHOLE, written
from synthkit.report.fragment import STYLE, body_of, list_html, page_html, table_html

BANNER = "Evidence for review; not a conformity assessment. Images are synthetic unless they are marked otherwise. Not a medical device."
LIMITS = (
    "Times are those of the machines that measured; only a signature or a registry outside can prove that the plan was there before.",
    "What a cohort says by itself (completeness, marks, licence) is counted when the dossier is made, whenever its images were.",
    "No overall score is formed: a section passes only if all its claims do.",
)
WITHHELD = "Images of patients, or of unknown origin, are left out of this dossier; Dossier(..., patient_images=True) puts them in, where that is allowed."
COLOURS = {PASS: "#1b7f4b", MEETS: "#7a6a00", STATED: "#5b6b7b", OPEN: "#a35a00", NOT_ASSESSED: "#a35a00", NOT_MET: "#b3261e"}
SHOWN = ["claim", "rule", "measured", "n", "result", "reason", "evidence"]
MORE = """
.badge{color:#fff;border-radius:4px;padding:.05rem .5rem;font-size:13px;white-space:nowrap}.asks{color:#4a5866;font-style:italic}
td.blank{min-width:9rem;height:2rem;border:1px solid #9aa7b4}.form td{border:1px solid #9aa7b4}code{font-size:12px;overflow-wrap:anywhere}
.claims table{font-size:13px}.digest{font-size:12px;color:#4a5866;overflow-wrap:anywhere}td{vertical-align:top}
.hashes td:last-child{overflow-wrap:anywhere;font-size:12px}
@page{size:A4;margin:16mm}
@media print{body{margin:0;max-width:none;font-size:11px}nav{display:none}h2{break-after:avoid;margin-top:1.2rem}h3,h4{break-after:avoid}
table,.dense table,.claims table{font-size:8.5px;margin:.4rem 0}tr{break-inside:avoid}
.badge{border:1px solid #333;color:#000!important;background:none!important}
.modebar-container{display:none}.wide{overflow:hidden!important}.plotly-graph-div{zoom:.6}
.caveats,.caveats li{font-size:9px}.hashes td:last-child,code{font-size:7.5px}.digest{font-size:8px}}
"""


def dossier_html(
    title: str, plan: DossierPlan, evidence: Sequence[Evidence], claims: pd.DataFrame, overview: pd.DataFrame, *, made: str, patient_images: bool
) -> str:
    """The whole page: overview, scorecard, twenty sections, evidence, and the same in machine-readable form."""
    head = f'<h1>{html.escape(title)}</h1><p>{made}</p><p class="banner">{BANNER}</p>{_counts(claims)}{list_html([*LIMITS])}'
    links = "".join(f'<a href="#{one.key}">{one.number} {html.escape(one.title)}</a>' for one in CHAPTERS)
    sections = "".join(_chapter(one, plan, evidence, claims, overview) for one in CHAPTERS)
    shown = "".join(_evidence(one, patient_images) for one in evidence) or "<p>None was given.</p>"
    body = (f'{head}<nav>{links}<a href="#evidence">Evidence</a></nav>{_overview(overview)}{_scorecard(overview, claims)}{sections}'
            f'<section id="evidence"><h2>Evidence</h2>{shown}</section>{_machine(plan, evidence, claims, overview)}')  # fmt: skip
    return page_html(title, body, style=STYLE + MORE)


def badge(result: str) -> str:
    """A result as a coloured label."""
    return f'<span class="badge" style="background:{COLOURS[result]}">{html.escape(result)}</span>'


def _counts(claims: pd.DataFrame) -> str:
    found = claims["result"].value_counts()
    said = ", ".join(f"{found[name]} {name}" for name in COLOURS if name in found) or "none"
    return f"<p>{len(claims)} claims: {html.escape(said)}.</p>"


def _overview(overview: pd.DataFrame) -> str:
    rows = "".join(
        f'<tr><td>{row.number}</td><td><a href="#{row.section}">{html.escape(row.title)}</a></td><td>{badge(row.status)}</td>'
        f"<td>{f'{row.passed} of {row.claims}' if row.claims else ''}</td><td>{row.evidence}</td><td>{html.escape(row.why)}</td></tr>"
        for row in overview.itertuples()
    )
    heads = "".join(f"<th>{name}</th>" for name in ("", "section", "stands", "claims passed", "evidence", "why"))
    return f"<h2>Overview</h2><div class='claims'><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"


def _scorecard(overview: pd.DataFrame, claims: pd.DataFrame) -> str:
    """The seven Cs, each with its measured values."""
    rows = []
    for row in overview[overview["scorecard"]].itertuples():
        held = claims[(claims["section"] == row.section) & claims["measured"].ne("")]
        values = "; ".join(f"{one.measure}{'' if one.group == 'all' else f' ({one.group})'} {one.measured}, n = {one.n:g}" for one in held.head(6).itertuples())
        more = f"; {len(held) - 6} more in the section" if len(held) > 6 else ""
        rows.append(f"<tr><td>{html.escape(row.title)}</td><td>{badge(row.status)}</td><td>{html.escape(values + more) or 'nothing measured'}</td></tr>")
    heads = "<th>C</th><th>stands</th><th>measured, with 95 % interval</th>"
    return f"<h2>Scorecard: the seven Cs</h2><div class='claims'><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _chapter(one: Chapter, plan: DossierPlan, evidence: Sequence[Evidence], claims: pd.DataFrame, overview: pd.DataFrame) -> str:
    row = overview[overview["section"] == one.key].iloc[0]
    held = claims[claims["section"] == one.key][SHOWN]
    told = f'<div class="claims">{table_html(held, folded=WHOLE)}</div>' if len(held) else ""
    here = [piece for piece in evidence if one.key in piece.sections]
    links = ", ".join(f'<a href="#{piece.name}">{piece.name} {html.escape(piece.title)}</a>' for piece in here)
    own = table_html(unmet(overview, claims), folded=WHOLE) if one.key == "unmet" else written(one.key, plan, evidence, claims, overview)
    why = f"<p>{html.escape(row['why'])}</p>" if row["why"] else ""
    filled = f"<p>Evidence: {links}</p>" if here else f"<p>Filled by: {html.escape(one.filled_by)}.</p>"
    return (f'<section id="{one.key}"><h2>{one.number} {html.escape(one.title)} {badge(row["status"])}</h2><p class="asks">{html.escape(one.asks)}</p>'
            f"{why}{told}{own}{filled}</section>")  # fmt: skip


def _evidence(one: Evidence, patient_images: bool) -> str:
    hidden = one.shows_patients and not patient_images
    body = "" if isinstance(one.item, Generator) else body_of(one.item, pictures=not hidden)
    note = list_html([WITHHELD]) if hidden else ""
    when = f" · measured {html.escape(str(one.at))}" if one.at else ""
    return (f'<div class="evidence" id="{one.name}"><h3>{one.name} {html.escape(one.title)}</h3><p class="digest">sha256 <code>{one.sha256}</code>{when}</p>'
            f"{note}{body}</div>")  # fmt: skip


def _machine(plan: DossierPlan, evidence: Sequence[Evidence], claims: pd.DataFrame, overview: pd.DataFrame) -> str:
    """The same as JSON inside the page, for whoever reads it by program."""
    told = {"plan": plan.frozen.sha256 if plan.frozen else None, "evidence": {one.name: one.sha256 for one in evidence},
            "sections": json.loads(overview.to_json(orient="records")), "claims": json.loads(claims.to_json(orient="records"))}  # fmt: skip
    return f'<script type="application/json" id="dossier">{json.dumps(told).replace("<", chr(92) + "u003c")}</script>'
