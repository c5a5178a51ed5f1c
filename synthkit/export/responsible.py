"""What a cohort can say of itself to whoever wants to use it responsibly: how it was made, of whom, its limits; nothing is guessed."""
from collections.abc import Sequence
from typing import Any

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance

NOT_STATED = "not stated"
LIMITS = ("Not a medical device; final validation of anything built with these images needs real patients.",)
MADE = {"synthetic", "edited"}


def responsible(cohort: Cohort, biases: str | Sequence[str], limitations: str | Sequence[str]) -> dict[str, Any]:
    """The responsible-AI properties (`rai:`) of Croissant, with what its owner says of biases and limits beside what is counted."""
    kinds = {maker.kind for maker in cohort.makers().values()}
    made = {"rai:dataCollectionType": ["Software Collection"]} if kinds <= MADE else {}
    return {
        "rai:hasSyntheticData": bool(kinds & MADE), "rai:dataCollection": "; ".join(how_made(maker) for maker in cohort.makers().values()), **made,
        "rai:dataBiases": [*shares(cohort), *lines(biases)] or [NOT_STATED], "rai:dataLimitations": [*cohort.caveats(), *LIMITS, *lines(limitations)],
        "rai:personalSensitiveInformation": sensitive(cohort, kinds), "rai:dataUseCases": [NOT_STATED],
    }  # fmt: skip


def lines(said: str | Sequence[str]) -> list[str]:
    """One sentence or several, as a list."""
    return [said] if isinstance(said, str) else [*said]


def how_made(maker: Provenance) -> str:
    """One line: what made images, with which seed and weights, and what it learnt from or edited."""
    if maker.kind == "real":
        return f"real images: {maker.source}"
    seed = "" if maker.seed is None else f", seed {maker.seed}"
    digests = "".join(f", {name} sha256 {value}" for name, value in maker.digests.items())
    parents = ", ".join(dict.fromkeys(f"{parent.source} ({parent.kind})" for parent in maker.parents))
    return f"{maker.kind} images made by {maker.source}{seed}{digests}" + (f", which learnt from or edited {parents}" if parents else "")


def shares(cohort: Cohort) -> list[str]:
    """How many images each group of a sensitive factor has."""
    counts = cohort.counts()
    found = []
    for name in cohort.schema.sensitive:
        rows = counts[counts["factor"] == name]
        if len(rows):
            found.append(f"{name}: " + ", ".join(f"{row.level} {row.images}" for row in rows.itertuples()) + f" of {len(cohort)} images")
    return found


def sensitive(cohort: Cohort, kinds: set[str]) -> list[str]:
    """Which columns are sensitive, and of whom they speak."""
    columns = [name for name in cohort.schema.sensitive if name in cohort.table]
    said = [f"Sensitive columns: {', '.join(columns)}."] if columns else ["No column is declared sensitive."]
    whose = {"real": "Real images and their rows are of patients.", "edited": "Edited images keep what their originals show of a person.",
             "synthetic": "Rows of synthetic images are what was asked for; whether the images give away training patients is not said here."}  # fmt: skip
    return [*said, *(text for kind, text in whose.items() if kind in kinds)]
