"""Gaps between the groups of each attribute, and what may be said of them."""
from collections.abc import Sequence

import numpy as np
import pandas as pd

from synthkit.studies.audit.attribute import Attribute
from synthkit.studies.audit.figures import Figures, largest_gap
from synthkit.studies.audit.measures import Measure
from synthkit.studies.audit.null import Null

ODDS = "equalised odds"
SHOWN, NOT_SHOWN, TOO_FEW = "gap shown", "no gap shown", "not assessed (too few)"
COLUMNS = (
    "attribute", "metric", "gap", "low", "high", "ratio", "worst", "worst_value", "best", "best_value", "groups", "left_out", "n", "p", "p_adjusted",
    "verdict",
)  # fmt: skip


def gap_frame(figures: Figures, null: Null, *, alpha: float) -> pd.DataFrame:
    """One row per attribute and measure: the largest difference between two groups, its interval, and its p values."""
    rows = []
    for one in figures.attributes:
        rows += [_gap(one, measure, figures, null, alpha) for measure in figures.measures]
        rows.append(_odds(one, figures))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _gap(one: Attribute, measure: Measure, figures: Figures, null: Null, alpha: float) -> dict[str, object]:
    kept = one.judged_groups(measure)
    row = {"attribute": one.name, "metric": measure.name, "groups": len(kept), "left_out": len(one.groups) - len(kept),
           "n": int(sum(measure.images(figures.judged[one.codes == code]).sum() for code in kept))}  # fmt: skip
    if len(kept) < 2:
        return {**row, "verdict": TOO_FEW if measure.accuses else ""}
    found = [figures.found[one.name, code, measure.name] for code in kept]
    values = np.array([figure.value for figure in found])
    worst, best = (values.argmin(), values.argmax()) if measure.better == "higher" else (values.argmax(), values.argmin())
    gap, low, high = largest_gap([found])
    p, adjusted = (book.get((one.name, measure.name), float("nan")) for book in (null.alone, null.adjusted))
    verdict = "" if not measure.accuses else SHOWN if adjusted <= alpha else NOT_SHOWN
    return {**row, "gap": gap, "low": low, "high": high, "ratio": values.min() / values.max() if values.max() > 0 else float("nan"),
            "worst": one.groups[kept[worst]], "worst_value": values[worst], "best": one.groups[kept[best]], "best_value": values[best],
            "p": p, "p_adjusted": adjusted, "verdict": verdict}  # fmt: skip


def _odds(one: Attribute, figures: Figures) -> dict[str, object]:
    """The larger of the gaps in TPR and FPR (Hardt et al. 2016), where both can be given."""
    parts = [[figures.found[one.name, code, m.name] for code in one.judged_groups(m)] for m in figures.measures if m.name in ("TPR", "FPR")]
    row = {"attribute": one.name, "metric": ODDS, "groups": min(map(len, parts)), "left_out": len(one.groups) - min(map(len, parts)), "verdict": "",
           "n": int((one.codes >= 0).sum())}  # fmt: skip
    if min(map(len, parts)) < 2:
        return row
    gap, low, high = largest_gap(parts)
    return {**row, "gap": gap, "low": low, "high": high}


def verdict_frame(gaps: pd.DataFrame, measures: Sequence[Measure]) -> pd.DataFrame:
    """One row per attribute: the verdict and the gap that decided it, the one with the smallest adjusted p value."""
    rows = []
    for name, part in gaps[gaps["metric"].isin([m.name for m in measures if m.accuses])].groupby("attribute", sort=False):
        judged = part[part["verdict"] != TOO_FEW]
        verdict = TOO_FEW if judged.empty else SHOWN if (judged["verdict"] == SHOWN).any() else NOT_SHOWN
        first = (judged if len(judged) else part).sort_values(["p_adjusted", "gap"], ascending=[True, False], kind="stable").iloc[0]
        rows.append({"attribute": name, "verdict": verdict, **first[["metric", "gap", "low", "high", "p_adjusted", "worst", "best", "n"]].to_dict()})
    return pd.DataFrame(rows, columns=["attribute", "verdict", "metric", "gap", "low", "high", "p_adjusted", "worst", "best", "n"])
