"""What must be said beside a comparison of families."""
from collections.abc import Sequence

import pandas as pd

from synthkit.core.budget import Budget, Minutes
from synthkit.explanation.counterfactual import EXACT
from synthkit.metrics.comparison import FEW
from synthkit.studies.families.editing import SEEN, SKILL, TRIP
from synthkit.studies.families.family import Family
from synthkit.studies.families.scoreboard import ADHERENCE, EDITING, SAME
from synthkit.studies.families.yardstick import Yardstick


def notes_of(frame: pd.DataFrame, families: Sequence[Family], budget: Budget, n: int, yardstick: Yardstick) -> list[str]:
    """How the families were trained, what the differences mean, and what is not assessed."""
    here = [family.name for family in families if family.trained_here]
    brought = [family.name for family in families if not family.trained_here]
    notes = ["Each family was trained once: the verdicts are about these fitted generators, and another seed of training may order them otherwise."]
    if len(here) > 1:
        equal = "equal time on this machine" if isinstance(budget, Minutes) or "min" in str(budget) else f"the budget {budget!r}: steps, whose cost differs"
        notes.append(f"Trained here in {equal}: {', '.join(here)}.")
    if brought:
        notes.append(f"Taken as they were, trained in a budget and perhaps on patients of their own: {', '.join(brought)}.")
    first = families[0].name
    shown = frame["against_first"].isin(["better", "worse", SAME])
    notes.append(f"Differences are from {first}, paired by patient and request; their intervals hold for all {int(shown.sum())} together (Bonferroni).")
    if (frame["against_first"] == SAME).any():
        notes.append("'No difference shown' is not 'equal': diff_low and diff_high say what remains possible.")
    if n < FEW:
        notes.append(f"{n} requests: under {FEW}, read the scores as rough.")
    if (frame["aspect"] == EDITING).any():
        notes.append("Edits hold the other factors; the raw round trip is what inversion and network lose before anything is edited.")
        if (frame["measure"] == SKILL).any():
            notes.append(f"{SKILL}: against the exact counterfactual; 1 is exact, 0 as good as changing nothing, below 0 worse.")
        if (frame["measure"] == SEEN).any():
            notes.append(f"{SEEN}: the share of edited images in which the judge finds the asked level likeliest.")
    whole = frame[(frame["measure"] == TRIP) & (frame["value"] < EXACT)]["family"]
    if len(whole):
        notes.append(f"{', '.join(whole)}: the latent holds the whole image, so that its round trip is exact whatever was learnt; look at the edits.")
    if not (frame["aspect"] == ADHERENCE).any():
        notes.append("Whether the images show what was asked for is not assessed: no judge was given, or none sees these factors.")
    return [*notes, f"Extractor: {yardstick.eyes.name}.", "Whether a family repeats training patients is another question, and not answered here."]
