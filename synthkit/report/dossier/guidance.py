"""Which section speaks to which guidance: for orientation, to be checked against the texts in force."""
import pandas as pd

from synthkit.report.dossier.chapters import BY_KEY

GUIDANCE = (
    ("FDA, draft guidance on AI-enabled device software functions (2025), VIII Data management",
     "Data collection, representativeness, reference standard, separation of development and test data",
     ("intended_use", "generator", "generation", "congruence", "coverage", "completeness", "independence", "bias")),
    ("Scorecard for synthetic medical data: seven Cs (Commun Eng 2025;4:130; a paper by scientists of the FDA, not a guidance)",
     "Congruence, coverage, constraint, completeness, compliance, comprehension, consistency",
     ("congruence", "coverage", "constraint", "completeness", "compliance", "comprehension", "consistency")),
    ("EMA, reflection paper on AI in the medicinal product lifecycle (2024)",
     "Data acquisition and augmentation, training, validation and test data, model performance",
     ("fit_for_purpose", "generator", "generation", "utility", "bias", "independence")),
    ("MHRA, software and AI as a medical device", "Intended purpose, evidence of performance, bias, change management",
     ("intended_use", "fit_for_purpose", "utility", "bias", "risk", "change_control")),
    ("EU AI Act, Art. 10 Data and data governance", "Relevance, representativeness, errors and gaps of data; detection and mitigation of bias",
     ("generator", "generation", "coverage", "completeness", "bias", "independence")),
    ("EU AI Act, Art. 14 Human oversight", "Who watches, understands and can stop", ("comprehension", "traceability")),
    ("EU AI Act, Art. 50 Transparency", "Synthetic images are marked in a machine-readable way", ("compliance",)),
    ("ISO 14971 Risk management", "Hazards, controls, verification; residual risk judged by people", ("risk",)),
    ("CLAIM 2024", "Data sources, ground truth, partitions, model, evaluation, limitations",
     ("intended_use", "generator", "generation", "independence", "utility", "bias", "unmet")),
    ("STARD-AI", "Participants, test methods, reference standard, estimates of accuracy with their precision", ("utility", "reader_study", "independence")),
)  # fmt: skip


def traceability(status: dict[str, str]) -> pd.DataFrame:
    """Guidance, what it asks about, the sections that speak to it, and how each of them stands.

    Args:
        status: of each section by key.
    """
    rows = [(name, topic, ", ".join(f"{BY_KEY[key].number} {BY_KEY[key].title}: {status[key]}" for key in keys)) for name, topic, keys in GUIDANCE]
    return pd.DataFrame(rows, columns=["guidance", "asks about", "sections and how they stand"])
