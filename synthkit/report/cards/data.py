"""The card of a cohort."""
from collections.abc import Sequence

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.provenance import code_version
from synthkit.core.result import Section
from synthkit.export.responsible import LIMITS, MADE, how_made, lines, sensitive, shares
from synthkit.report.cards.markdown import MarkdownCard, evaluated, facts, listing, table, text_of


def data_card(
    cohort: Cohort, *, intended: str | Sequence[str] = "", out_of_scope: str | Sequence[str] = "", limitations: str | Sequence[str] = (),
    evaluation: Section | Sequence[Section] = (),
) -> MarkdownCard:  # fmt: skip
    """A data card in Markdown with a YAML head: what the images are, how they were made, how many of each group, sensitive columns, and their limits.

    All of it comes from the cohort and from what is given here; the rest says "not stated". No row of its table is shown.

    Args:
        intended, out_of_scope: what the images are for, and what they must not be used for.
        limitations: known ones, beside the cohort's own caveats.
        evaluation: results to show, such as `sk.evaluate(...)` or `sk.privacy(...)`.
    Returns:
        The card; `.save("DATA_CARD.md")` writes it.

    Example:
        sk.data_card(fake, intended="Teaching", evaluation=[qc, study]).save("DATA_CARD.md")
    """
    require_kind("cohort", cohort, Cohort, "a cohort, as sk.load(...) or gen.sample(...) answers")
    origin, kinds = cohort.provenance, {maker.kind for maker in cohort.makers().values()}
    counts = {"images": len(cohort), "patients": int(cohort.table["patient_id"].nunique())}
    head = {"pretty_name": origin.source, "card": "data", "license": origin.licence, "tags": ["medical-imaging", origin.kind],
            "has_synthetic_data": bool(kinds & MADE), **counts, "version": cohort.version}  # fmt: skip
    parts = {
        "What it is": _what(cohort, counts), "How it was made": listing(how_made(maker) for maker in cohort.makers().values()) + _lineage(cohort),
        "Intended use": text_of(intended), "Out of scope": text_of(out_of_scope), "Factors": table(cohort.schema.frame()),
        "Counts by factor": table(cohort.counts()), "Sensitive columns": listing([*sensitive(cohort, kinds), *shares(cohort)]),
        "Left out": _left_out(cohort), "Evaluation": "\n\n".join(evaluated(evaluation)) or text_of(""),
        "Limits": listing([*cohort.caveats(), *LIMITS, *lines(limitations)]),
    }  # fmt: skip
    return MarkdownCard(head, parts)


def _what(cohort: Cohort, counts: dict[str, int]) -> str:
    space, origin = cohort.space, cohort.provenance
    spacing = " × ".join(f"{step:g}" for step in space.spacing_mm) + " mm" if space.spacing_mm else None
    channels = ", ".join(f"{channel.name} {channel.low:g}..{channel.high:g} {channel.unit}".rstrip() for channel in space.channels)
    return facts({
        "kind": origin.kind, "source": origin.source, **counts, "size": f"{' × '.join(map(str, space.size))} pixels", "channels": channels, "spacing": spacing,
        "licence": origin.licence, "Merkle root over the records begins": cohort.version, "written by": code_version(),
    })  # fmt: skip


def _lineage(cohort: Cohort) -> str:
    lines = "\n".join(cohort.provenance.lines())
    return f"\n\n```text\n{lines}\n```"


def _left_out(cohort: Cohort) -> str:
    """Files that could not be read, by reason; no file is named, since names may tell of patients."""
    skipped = cohort.skipped
    if not len(skipped):
        return "No file was skipped."
    return table(pd.DataFrame({"reason": skipped["reason"].astype(str)}).value_counts().rename("files").reset_index())
