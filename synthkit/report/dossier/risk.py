"""The risk file: hazards of synthetic images in the terms of ISO 14971, with what this dossier measured of each."""
from dataclasses import dataclass

import pandas as pd

from synthkit.report.dossier.defaults import KNOWN, SHARED
from synthkit.report.dossier.rule import NOT_ASSESSED

BY_HAND = "to be estimated by the manufacturer"


@dataclass(frozen=True)
class Hazard:
    """One way in which synthetic images can lead to harm.

    Args:
        situation: the hazardous situation, with the sequence of events that leads to it.
        control: the measure that lowers the risk.
        verified_by: (section, measure) whose claims tell whether the control works.
    """

    hazard: str
    situation: str
    harm: str
    control: str
    verified_by: tuple[tuple[str, str], ...]


HAZARDS = (
    Hazard("Images unlike those of patients", "A model learns appearances that patients do not show", "Missed or false findings",
           "Distribution held against a real-against-real floor", (("congruence", "KID"), ("congruence", "C2ST"), ("congruence", "Precision"))),
    Hazard("Variety is missing", "Rare presentations are never drawn, and the model never learns them", "Findings missed in rare patients",
           "Coverage of real patients measured", (("coverage", "Recall"), ("coverage", "Coverage"))),
    Hazard("Impossible anatomy or physics", "Faulty images are taken for valid ones in training or in teaching", "Wrong conclusions about anatomy",
           "Every image checked by rules; failing ones dropped", (("constraint", "images failing"),)),
    Hazard("An image does not show what its label says", "Labels of training data are wrong", "Systematic misdiagnosis",
           "Adherence read by a judge who knows other patients", (("adherence", "Adherence AUC"), ("adherence", "Adherence R2"))),
    Hazard("Groups are served unequally", "The generator draws some groups worse; a model inherits it", "Findings missed in a group of patients",
           "Gaps between groups tested; scores by group", (("bias", "TPR gap"), ("bias", "FPR gap"), ("consistency", "spread of Precision over groups"))),
    Hazard("A training patient is given away", "An image copies a patient, or shows that somebody was a patient", "Loss of confidentiality",
           "Attacks tried, near copies rejected, power of the attacks measured",
           (("compliance", "evidence of copying"), ("compliance", "planted copies found"))),
    Hazard("A synthetic image is taken for a real one", "An unmarked file reaches a patient's record", "Treatment by images of nobody",
           "Marks in tag, table, title and file; lineage of every image", (("compliance", "images marked as synthetic"),)),
    Hazard("Benefit is overstated", "Test patients were known to the generator, or were chosen on", "A worse model is put into use",
           "Patients kept disjoint; rules fixed before the run; negative results kept",
           (("independence", KNOWN), ("independence", SHARED), ("utility", "AUPRC difference"))),
    Hazard("An edit is taken for what would have happened", "A counterfactual is wrong, or moves what it should not", "Wrong reasons are believed of a model",
           "Edits held against exact truth and against doing nothing", (("comprehension", "r2_delta"),)),
    Hazard("The evidence no longer fits the images", "Weights, code or data changed after the assessment", "Evidence is relied on that does not hold",
           "Digests, signatures, replay from lineage", (("consistency", "images made again"), ("change_control", "findings that differ"))),
)  # fmt: skip


def risk_table(claims: pd.DataFrame) -> pd.DataFrame:
    """One row per hazard: what was measured of its control and with what result; severity and probability stay blank for people."""
    return pd.DataFrame([_row(number, one, claims) for number, one in enumerate(HAZARDS, start=1)])


def _row(number: int, one: Hazard, claims: pd.DataFrame) -> dict[str, object]:
    spoken = [pair in one.verified_by for pair in zip(claims["section"], claims["measure"])]
    counts = claims.loc[spoken, "result"].value_counts()
    measured = ", ".join(f"{count} {result}" for result, count in counts.items()) or f"{NOT_ASSESSED}: no rule of the plan speaks of it"
    return {"no.": f"R{number}", "hazard": one.hazard, "hazardous situation": one.situation, "harm": one.harm, "risk control": one.control,
            "verified here": measured, "severity": BY_HAND, "probability": BY_HAND, "residual risk": BY_HAND}  # fmt: skip
