"""The twenty sections of a dossier: what each asks, and what fills it."""
from dataclasses import dataclass

from synthkit.errors import DataError


@dataclass(frozen=True)
class Chapter:
    """One section of the dossier.

    Args:
        key: what rules and explicit placing call it.
        asks: the question it answers.
        filled_by: the evidence that fills it.
        scorecard: whether it is one of the seven Cs of the scorecard for synthetic medical data (Commun Eng 2025;4:130).
    """

    number: int
    key: str
    title: str
    asks: str
    filled_by: str
    scorecard: bool = False


CHAPTERS = (
    Chapter(1, "intended_use", "Intended use and out of scope", "What are the synthetic images for, and what are they not for?",
            "what the plan or the author says"),
    Chapter(2, "fit_for_purpose", "Fit for purpose", "Which rules were fixed before the run, and has final validation on real patients been made?",
            "the frozen plan; a study of utility on real patients whom nothing was fitted or chosen on"),
    Chapter(3, "generator", "Generator and its training data", "What made the images, and what had it learnt from?", "the fitted generator with its card"),
    Chapter(4, "generation", "Generation: specification, counts, rejections", "What was asked for, how many images came out, and what was rejected?",
            "synthetic cohorts with their lineage"),
    Chapter(5, "congruence", "Congruence", "Are the images distributed as images of patients are?",
            "scores of sk.evaluate: KID, Fréchet distance, precision, C2ST", True),
    Chapter(6, "coverage", "Coverage", "Do they span the variety of patients?", "scores of sk.evaluate: recall, coverage, Vendi", True),
    Chapter(7, "constraint", "Constraint", "Do they keep the rules of anatomy and physics?", "sk.check of every image, with limits from other images", True),
    Chapter(8, "completeness", "Completeness", "Are all factors stated, and does every level of them occur?", "synthetic cohorts with their tables", True),
    Chapter(9, "compliance", "Compliance", "Are images marked, licensed, valid, and no copies of patients?",
            "sk.privacy; marking and licence of synthetic cohorts; a validator's findings, placed here", True),
    Chapter(10, "comprehension", "Comprehension", "Can what the generator does be understood and checked?",
            "sk.soundness, sk.explanation_audit, counterfactuals, explanations", True),
    Chapter(11, "consistency", "Consistency", "Do the same request and seed give the same image, and do groups fare alike?",
            "sk.replay; scores by group; the seeds of hybrid experiments", True),
    Chapter(12, "adherence", "Adherence", "Do the images show the factors that were asked for?", "scores of sk.evaluate with a judge"),
    Chapter(13, "utility", "Utility", "Do they help on patients whom nothing was fitted on, and what did not help?",
            "sk.hybrid, sk.utility; negative results included"),
    Chapter(14, "bias", "Bias", "Does what is built with them serve groups of patients alike?", "sk.audit of a classifier; scores by group"),
    Chapter(15, "reader_study", "Reader study", "What do blinded readers see?", "a reader study with its readings"),
    Chapter(16, "risk", "Risk file", "What can go wrong, to whose harm, and what measures it here?", "hazards with the values that this dossier holds"),
    Chapter(17, "independence", "Independence", "Did the generator learn from any patient of a test set?",
            "patient ids of the cohorts that results were measured on"),
    Chapter(18, "change_control", "Change control", "Exactly what was assessed, so that a change can be seen?",
            "digests of weights, settings, code, cohorts and plan; sk.verify, sk.diff"),
    Chapter(19, "traceability", "Traceability, human oversight and sign-off", "Which guidance does each section relate to, and who answers for it?",
            "a general table; lines to be filled in by hand"),
    Chapter(20, "unmet", "Unmet, open and not assessed", "What is missing?", "every item above that is not passed"),
)  # fmt: skip
BY_KEY = {chapter.key: chapter for chapter in CHAPTERS}
WRITTEN = ("risk", "independence", "unmet")  # by the dossier itself
PLACES = tuple(key for key in BY_KEY if key not in WRITTEN)
RULED = tuple(key for key in BY_KEY if key not in ("intended_use", "fit_for_purpose", "risk", "traceability", "unmet"))


def chapter_key(name: str) -> str:
    """The key of a section by its key or title ("reader study"); DataError for another name."""
    plain = str(name).strip().lower().replace(" ", "_")
    by_title = {chapter.title.lower().replace(" ", "_"): chapter.key for chapter in CHAPTERS}
    key = by_title.get(plain, plain)
    if key not in PLACES:
        raise DataError(f"{name!r} is no section that takes results; there are {', '.join(PLACES)}")
    return key
