"""What results hold, in the words of the rules."""
from collections.abc import Iterator
from functools import singledispatch

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import wilson
from synthkit.core.result import Measured, Scores, Section
from synthkit.errors import DataError
from synthkit.evidence.difference import Difference
from synthkit.evidence.replay import EXACT, TOLERANT, Replay
from synthkit.evidence.verify import FAILED, Verification
from synthkit.explanation.audit import ExplanationAudit
from synthkit.explanation.soundness import Soundness
from synthkit.metrics.arms import BASELINE
from synthkit.metrics.checks.result import ImageChecks
from synthkit.metrics.utility import Utility
from synthkit.report.dossier.fact import NAN, Fact, facts_in
from synthkit.report.dossier.from_cohorts import cohort_facts
from synthkit.report.dossier.rule import ALL
from synthkit.studies.audit.result import Audit
from synthkit.studies.hybrid.result import Hybrid
from synthkit.studies.privacy.result import COPYING, NOT_ASSESSED, Privacy
from synthkit.studies.reader.result import Readings

CONGRUENCE, COVERAGE = "congruence", "coverage"
OF_METRIC = {"Recall": COVERAGE, "Coverage": COVERAGE, "Vendi": COVERAGE, "MSSSIM": COVERAGE, "Adherence AUC": "adherence", "Adherence R2": "adherence"}
MEASURED = ("measure", "value", "low", "high", "n")
EVENNESS = ("Precision", "Recall", "KID")
SCORE = {"measure": "metric", "group": "group", "value": "value", "low": "low", "high": "high", "floor_low": "floor_low", "floor_high": "floor_high", "n": "n"}


@singledispatch
def facts_of(item: object) -> list[Fact]:
    """The measured values of a result; none where it is only to be looked at."""
    return []


@facts_of.register
def _(item: Cohort) -> list[Fact]:
    return [*cohort_facts(item)]


@facts_of.register
def _(item: Scores) -> list[Fact]:
    frame = item.frame().assign(n=lambda rows: rows[["n_real", "n_fake"]].min(axis=1), group=lambda rows: rows["group"].fillna(ALL).astype(str))
    section = frame["metric"].map(lambda name: OF_METRIC.get(name, CONGRUENCE))
    found = [fact for key, part in frame.groupby(section, sort=False) for fact in facts_in(part, section=str(key), **SCORE)]
    return [*found, *_evenness(frame)]


def _evenness(frame: pd.DataFrame) -> Iterator[Fact]:
    """How far a score lies apart in the groups of one factor."""
    cells = frame[frame["group"].str.count("=").eq(1) & ~frame["group"].str.contains(", ")]
    factor = cells["group"].str.split("=").str[0]
    for (metric, _eye, name), part in cells.groupby([cells["metric"], cells["extractor"], factor], sort=False):
        if metric in EVENNESS and len(part) > 1:
            apart = float(part["value"].max() - part["value"].min())
            yield Fact(section="consistency", measure=f"spread of {metric} over groups", group=name, value=apart, n=float(part["n"].min()))


@facts_of.register
def _(item: ImageChecks) -> list[Fact]:
    shares = item.shares().assign(measure="images failing")
    return [*facts_in(shares, section="constraint", measure="measure", group="rule", value="value", low="low", high="high", n="n")]


@facts_of.register
def _(item: Privacy) -> list[Fact]:
    if item.verdict == NOT_ASSESSED:
        return [Fact(section="compliance", measure="evidence of copying", value=NAN, n=0)]
    images = len(item.cohorts["synthetic"]) if "synthetic" in item.cohorts else float(item.attacks["n"].max())
    found = [Fact(section="compliance", measure="evidence of copying", value=float(item.verdict == COPYING), n=images)]
    for row in item.power.itertuples():
        found.append(Fact(section="compliance", measure="planted copies found", group=f"{100 * row.share:g} %", value=float(row.found), n=float(row.of)))
    return found


@facts_of.register
def _(item: Soundness) -> list[Fact]:
    known = item.frame()[item.frame()["r2_delta"].notna()].assign(measure="r2_delta", group=lambda rows: rows["edit"].str.replace("=", " to ", regex=False))
    told = {"measure": "measure", "group": "group", "n": "n"}
    return [*facts_in(known, section="comprehension", value="r2_delta", low="r2_delta_low", high="r2_delta_high", **told)]


@facts_of.register
def _(item: ExplanationAudit) -> list[Fact]:
    return [] if item.sound is None else facts_of(item.sound)


@facts_of.register
def _(item: Replay) -> list[Fact]:
    again, count = int(item.frame()["grade"].isin([EXACT, TOLERANT]).sum()), len(item.frame())
    low, high = wilson(again, count)
    return [Fact(section="consistency", measure="images made again", value=again / count, low=low, high=high, n=count)]


@facts_of.register
def _(item: Hybrid) -> list[Fact]:
    first = item.headline[item.headline["measure"].isin(["AUPRC", "AUC"])]
    told = first.assign(measure=first["measure"] + " difference", group="to " + first["against"])
    ends = {"value": "difference", "low": "diff_low", "high": "diff_high", "n": "n_test"}
    return [*facts_in(told, section="utility", measure="measure", group="group", **ends), _seeds(first["seeds"])]


@facts_of.register
def _(item: Utility) -> list[Fact]:
    known = item.frame()[item.frame()["difference"].notna() & (item.frame()["arm"] != BASELINE)]
    told = known.assign(measure=known["measure"] + " difference", group=known["factor"] + ", " + known["arm"])
    ends = {"value": "difference", "low": "diff_low", "high": "diff_high", "n": "n_test"}
    return [*facts_in(told, section="utility", measure="measure", group="group", **ends), _seeds(item.frame()["seeds"])]


def _seeds(counts: pd.Series) -> Fact:
    fewest = float(counts.min())
    return Fact(section="consistency", measure="training seeds", value=fewest, n=fewest)


@facts_of.register
def _(item: Audit) -> list[Fact]:
    gaps = item.gaps().assign(measure=lambda rows: rows["metric"] + " gap")
    return [*facts_in(gaps, section="bias", measure="measure", group="attribute", value="gap", low="low", high="high", n="n")]


@facts_of.register
def _(item: Readings) -> list[Fact]:
    return [*facts_in(item.frame(), section="reader_study", measure="measure", group="reader", value="value", low="low", high="high", n="n")]


@facts_of.register
def _(item: Verification) -> list[Fact]:
    wrong = float((item.frame()["result"] == FAILED).sum())
    return [Fact(section="change_control", measure="findings that differ", value=wrong, n=len(item.frame()))]


@facts_of.register
def _(item: Difference) -> list[Fact]:
    return [Fact(section="change_control", measure="differences between versions", value=len(item.frame()), n=1)]


def placed_facts(item: Section, key: str) -> list[Fact]:
    """The values of a plain table of measurements, for the section that its author names; DataError where it lacks a column."""
    if not isinstance(item, Measured):
        return []
    lacking = [name for name in MEASURED if name not in item.frame()]
    if lacking:
        raise DataError(f"{item.title}: the table has no {', '.join(lacking)}; give the columns {', '.join(MEASURED)}, blank where there is no value")
    return [*facts_in(item.frame(), section=key, **{name: name for name in MEASURED})]
