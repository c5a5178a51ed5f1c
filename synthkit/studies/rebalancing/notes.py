"""What must be said beside a rebalanced training set."""
import pandas as pd

from synthkit.studies.rebalancing.cells import Cells
from synthkit.studies.rebalancing.plan import OWN


def caveats(plan: pd.DataFrame, cells: Cells, blank: tuple[str, ...]) -> list[str]:
    """Whose factors were asked for, and what the generator could not be asked for.

    Args:
        plan: one row per cell.
        blank: factors of the cohort that the synthetic images do not have.
    """
    notes = [
        "Synthetic images repeat what the generator learnt of a group: they add numbers, not people. Train with and without them and audit both "
        "on real patients.",
    ]
    added = plan[plan["synthetic"] > 0]
    if (added["asked like"] == OWN).any():
        notes.append(f"Factors other than {', '.join(cells.names)} are those of real people of the same cell where these are enough.")
    for row in added[added["asked like"] != OWN].to_dict("records"):
        cell = ", ".join(str(row[name]) for name in cells.names)
        notes.append(f"{cell}: {row['patients']} real patient(s), too few to know what such people look like; the other factors are {row['asked like']}.")
    unknown = int(cells.labels.isna().any(axis=1).sum())
    if unknown:
        notes.append(f"{unknown} real images belong to no cell, since a value is not known or does not apply; they stay in the training set.")
    if blank:
        notes.append(f"The generator does not know {', '.join(blank)} (or declares it otherwise): blank in the synthetic images.")
    return notes
