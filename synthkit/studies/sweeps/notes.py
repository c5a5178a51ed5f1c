"""What must be said beside a stress test."""
from collections.abc import Mapping

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.studies.sweeps.examination import THRESHOLD, Examination
from synthkit.studies.sweeps.images import EDITED, EXACT, SAMPLED
from synthkit.studies.sweeps.scores import AUC

MADE = {SAMPLED: "images sampled from the same noise", EDITED: "edits of the same patients", EXACT: "the phantom's exact images of the same subjects"}


def caveats(frame: pd.DataFrame, one: Examination, samples: Mapping[str, Mapping[object, Cohort]]) -> list[str]:
    """How the images came about, what broken means, and what is not assessed."""
    way, count = one.subjects.way(one.source), len(one.subjects)
    notes = [
        "Pre-clinical evidence on synthetic images: it shows where to look, and does not replace validation on real patients.",
        f"Each sweep shows {MADE[way]} (n = {count}, {len(set(one.subjects.units))} patients) with one factor set and the others held.",
        f"Broken: the interval lies below {one.share:.0%} of the score at the first value, and so does the paired one; 'none shown' is not 'none'.",
        f"Every interval is a 95 % one of a single value and measure: over the {_looked_at(frame)} that could be called broken, some may be by chance alone.",
    ]
    if one.threshold is None:
        notes.append(f"No threshold was given: sensitivity and specificity are taken at a chance of {THRESHOLD}, which may not be the one in use.")
    unread = [name for name in samples if one.reader is None or name not in one.reader.schema]
    if way != EXACT and one.truth is None and unread:
        notes.append(f"Whether the images show what they say is not assessed for {', '.join(unread)}: no judge reads it.")
    for name, cohorts in samples.items():
        blank = int(next(iter(cohorts.values())).table[name].isna().sum())
        if blank:
            notes.append(f"{name} does not apply in {blank} of {count} images, which stay as they are.")
    return list(dict.fromkeys([*notes, *one.subjects.notes, *_unable(frame)]))


def _looked_at(frame: pd.DataFrame) -> int:
    """Values and measures that are held against a limit, the first of each sweep aside."""
    return int((frame["limit"].notna() & frame["change"].notna()).sum())


def _unable(frame: pd.DataFrame) -> list[str]:
    """What cannot break, since it was no better than chance to begin with."""
    first = frame[(frame["measure"] == AUC) & frame["change"].isna()]
    names = [f"{row.factor} ({row.images})" for row in first.itertuples() if not row.low > 0.5]
    return [f"At the first value the AUC is not surely above 0.5 for {', '.join(names)}: there is little to break."] if names else []
