"""The dossier: evidence held against rules that were fixed before, in twenty sections."""
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.kinds import require_kind
from synthkit.core.provenance import code_version
from synthkit.core.result import Section
from synthkit.errors import DataError, StoreError
from synthkit.report.dossier.claims import claims
from synthkit.report.dossier.evidence import Evidence, gathered
from synthkit.report.dossier.independence import with_independence
from synthkit.report.dossier.page import BANNER, COLOURS, LIMITS, dossier_html
from synthkit.report.dossier.plan import DossierPlan
from synthkit.report.dossier.status import overview, unmet
from synthkit.report.dossier.validation import final_validation
from synthkit.report.fragment import write_page

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Dossier(Section):
    """Evidence on synthetic images in twenty sections, each claim against its rule and with the digest of what stands behind it.

    What is missing, or measured before its rule was fixed, is *not assessed*; without a frozen plan nothing reads PASS. There is no overall score.

    Args:
        sections: results, synthetic and real cohorts, generators; `("compliance", result)` puts a result where its author wants it.
        plan: the rules, or the file that they were frozen in; left out, the default rules, which then count as not fixed.
        intended_use: what the synthetic images are for; that of the plan where there is one.
        out_of_scope: what they are not for.
        patient_images: show pictures that hold real patients' images; otherwise they are left out.

    Raises:
        DataError: no evidence, or what is none; no intended use, or another one than the plan's.
        StoreError: a plan that was changed after it was frozen.

    Example:
        plan = sk.DossierPlan(intended_use="Teaching of effusions", test=test).freeze("dossier.plan.json")
        sk.Dossier(plan=plan, sections=[gen, fake, qc, checks, privacy, bias]).save("dossier.html")
    """

    sections: Sequence[object]
    plan: DossierPlan | str | Path | None = None
    intended_use: str = ""
    out_of_scope: str = ""
    patient_images: bool = False
    evidence: tuple[Evidence, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.sections, (list, tuple)) or not self.sections:
            raise DataError("a dossier takes a list of evidence: Dossier(intended_use=..., sections=[qc, privacy])")
        plan = DossierPlan.load(self.plan) if isinstance(self.plan, (str, Path)) else self.plan
        if plan is None:
            plan = DossierPlan(self.intended_use, out_of_scope=self.out_of_scope)
        require_kind("plan", plan, DossierPlan, "a plan, or the file that it was frozen in")
        if (self.intended_use or plan.intended_use) != plan.intended_use or (self.out_of_scope or plan.out_of_scope) != plan.out_of_scope:
            raise DataError(f"intended_use and out_of_scope belong to the plan, which says {plan.intended_use!r}; leave them out, or freeze another plan")
        if plan.frozen is not None and not plan.frozen.file.exists():
            raise StoreError(f"{plan.frozen.file} is gone: the plan must lie beside the dossier; restore it")
        require_kind("patient_images", self.patient_images, bool, "True or False")
        object.__setattr__(self, "plan", plan)
        object.__setattr__(self, "evidence", with_independence(gathered(self.sections)))

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Dossier: {self.plan.intended_use}"

    @cached_property
    def _claims(self) -> pd.DataFrame:
        return claims(self.plan, self.evidence)

    def claims(self) -> pd.DataFrame:
        """One row per rule and value: section, measure, group, claim, rule, measured, n, result, reason, evidence, and the sha256 of that evidence."""
        return self._claims

    def frame(self) -> pd.DataFrame:
        """One row per section: number, section, title, scorecard (one of the seven Cs), status, why, claims, passed, evidence."""
        return overview(self.plan, self.evidence, self._claims, final_validation(self.plan, self.evidence, self._claims))

    def unmet(self) -> pd.DataFrame:
        """What does not pass: section, what, result, reason."""
        return unmet(self.frame(), self._claims)

    def caveats(self) -> list[str]:
        return [BANNER, *LIMITS]

    def figure(self) -> "Figure":
        """How many claims of each section stand where."""
        from plotly.graph_objects import Bar, Figure

        counts = pd.crosstab(self._claims["section"], self._claims["result"])
        order = [key for key in self.frame()["section"][::-1] if key in counts.index]
        bars = [Bar(name=name, y=order, x=counts.loc[order, name], orientation="h", marker={"color": COLOURS[name]}) for name in COLOURS if name in counts]
        layout = {"title": self.title, "barmode": "stack", "xaxis_title": "claims", "template": "plotly_white", "height": 120 + 28 * len(order)}
        return Figure(bars, layout=layout)

    def html(self) -> str:
        """The whole page; plotly's script is inside it, so nothing is fetched."""
        made = f"{code_version()} · {datetime.now(UTC).strftime('%Y-%m-%d %H:%M UTC')}"
        return dossier_html(self.title, self.plan, self.evidence, self._claims, self.frame(), made=made, patient_images=self.patient_images)

    def save(self, path: str | Path) -> Path:
        """Write the page; the file is whole or absent."""
        return write_page(path, self.html())
