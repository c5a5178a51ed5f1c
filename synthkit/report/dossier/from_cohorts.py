"""What a cohort says by itself: counts, rejections, whether factors are stated, and whether its images are marked."""
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Category
from synthkit.report.dossier.fact import Fact

UNSTATED = "not stated"


def cohort_facts(cohort: Cohort) -> Iterator[Fact]:
    """Completeness and compliance of images that were made; real ones prove nothing here."""
    if cohort.provenance.kind == "real" or not len(cohort):
        return
    count = len(cohort)
    stated = applied = occurring = levels = 0
    for factor in cohort.schema.factors:
        fits = cohort.schema.applies(factor, cohort.table)
        stated, applied = stated + int((cohort.table[factor.name].notna().to_numpy() & fits).sum()), applied + int(fits.sum())
        names = factor.levels if isinstance(factor, Category) else factor.group_names
        seen = set(cohort.schema.groups(cohort.table, factor.name).dropna())
        occurring, levels = occurring + len(seen & set(names)), levels + len(names)
    yield Fact(section="completeness", measure="values stated", value=stated / max(1, applied), n=count)
    yield Fact(section="completeness", measure="levels that occur", value=occurring / max(1, levels), n=count)
    kinds = [cohort.makers()[key].kind for key in cohort.made_by()]
    yield Fact(section="compliance", measure="images marked as synthetic", value=float(np.mean([kind != "real" for kind in kinds])), n=count)
    yield Fact(section="compliance", measure="licence stated", value=float(_licensed(cohort.provenance.licence)), n=count)


def _licensed(said: str) -> bool:
    """Whether every part of a merged licence is stated."""
    return all(part.strip() not in ("", UNSTATED) for part in said.split(";"))


def specification(cohort: Cohort) -> dict[str, Any]:
    """How images were asked for and made, how many came out, and how many were rejected."""
    makers = cohort.makers().values()
    return {
        "cohort": cohort.provenance.source, "images": len(cohort), "made by": ", ".join(sorted({_family(maker) for maker in makers})),
        "seed": ", ".join(sorted({str(maker.seed) for maker in makers})), "rejected": rejected(cohort.provenance), "version": cohort.version,
    }  # fmt: skip


def _family(maker: Provenance) -> str:
    recipe = maker.recipe.get("recipe") or {}
    settings = ", ".join(f"{name}={value}" for name, value in recipe.items() if name in ("steps", "solver", "guidance", "shift"))
    family = str(recipe.get("family", maker.recipe.get("phantom", maker.source))).rpartition(".")[2].rpartition(":")[2]
    return f"{family} ({settings})" if settings else family


def rejected(record: Provenance) -> str:
    """Images that were left out after they were drawn, in words."""
    apart: Mapping[str, Any] = record.recipe.get("reject_copies_of") or {}
    # Where images were drawn by many, the number stands beside their common record.
    counted = next((step for step in record.recipe.get("steps", ()) if "rejected" in step), apart)
    said = [f"{counted['rejected']} near copies of {apart['from']}"] if "rejected" in counted else []
    checks = [step for step in record.recipe.get("steps", ()) if "check" in step]
    said += [f"{step['dropped']} of {step['images']} by quality control" for step in checks]
    return "; ".join(said) or "none recorded"


def request(cohort: Cohort) -> pd.DataFrame:
    """Images by level of every factor, as they were asked for."""
    counts = cohort.counts()
    return counts[counts["level"] != "not applicable"][["factor", "level", "images"]]
