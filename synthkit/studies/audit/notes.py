"""What must be said beside the figures of an audit."""
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.studies.audit.figures import Figures
from synthkit.studies.audit.gaps import NOT_SHOWN, SHOWN, TOO_FEW, verdict_frame
from synthkit.studies.audit.groups import CROSS
from synthkit.studies.audit.threshold import Threshold


def caveats(
    figures: Figures, gaps: pd.DataFrame, labels: pd.DataFrame, limit: Threshold, *, test: Cohort, blank: int, alpha: float, permutations: int
) -> tuple[str, ...]:  # fmt: skip
    """The verdicts in words, then what limits them."""
    judged = figures.judged
    notes = [*_verdicts(gaps, figures), *limit.notes,
             f"{len(judged)} images of {judged.patients} patients, {int(judged.truth.sum())} of them positive; threshold {limit.how}.",
             f"Verdicts: the chance of any false accusation is {alpha:g} over all attributes and TPR, FPR, AUC together ({permutations} exchanges of "
             "the groups among patients of equal truth). Brier and ECE are shown but accuse nobody: they differ where prevalence does.",
             "A gap between groups as they are is no proof of its reason: groups may differ in how severe, how filmed and how labelled their cases are.",
             "Underdiagnosis is the share of the positives that are called negative; of one finding it is 1 - TPR.",
             "ECE has ten bins of equal mass; `expected` is what a calibrated classifier would show with so many images."]  # fmt: skip
    if blank:
        notes.append(f"{blank} images without a known true value were left out.")
    for name in labels:
        if CROSS not in str(name) and labels[name].isna().any():
            notes.append(f"{name}: unknown for {int(labels[name].isna().sum())} images, which count in no group of it.")
    every = [(one, code) for one in figures.attributes for code in range(len(one.groups))]
    few = [f"{one.name}: {one.groups[code]}" for one, code in every if not all(large[code] for large in one.large.values())]
    if few:
        notes.append(f"Too few patients for some or all numbers (min_positives={figures.fewest}): {'; '.join(few)}.")
    if figures.fewest < 10:
        notes.append(f"min_positives={figures.fewest} shows numbers of very small groups: they say little, and may point at single patients.")
    return tuple(dict.fromkeys([*notes, *test.notes]))


def _verdicts(gaps: pd.DataFrame, figures: Figures) -> list[str]:
    said = []
    for row in verdict_frame(gaps, figures.measures).itertuples():
        interval = f"95 % interval of this gap by itself {row.low:.3f} to {row.high:.3f}, n = {row.n}"
        figure = f"{row.metric} differs by {row.gap:.3f} ({interval}; p = {row.p_adjusted:.3g} among all gaps)"
        if row.verdict == SHOWN:
            said.append(f"{row.attribute}: gap shown. {figure}, worst in {row.worst}, best in {row.best}.")
        elif row.verdict == NOT_SHOWN:
            said.append(f"{row.attribute}: no gap shown, which is not the same as none. {figure}.")
        elif row.verdict == TOO_FEW:
            said.append(f"{row.attribute}: not assessed, fewer than two groups are large enough.")
    return said
