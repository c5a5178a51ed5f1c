"""What must be said beside the numbers of a hybrid experiment."""
from synthkit.core.budget import Budget
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.studies.hybrid.arms import BALANCED, BALANCED_MIX, BY_CLASS, BY_ORIGIN, DUPLICATED, NAIVE, UNIFORM
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.fits import PRETRAINING
from synthkit.studies.hybrid.measures import SPECIFICITY
from synthkit.studies.hybrid.pools import Pools
from synthkit.studies.hybrid.rare import FEWEST_RARE
from synthkit.studies.hybrid.result import FEWEST_SEEDS
from synthkit.studies.hybrid.source import origin


def notes(design: Design, made: Pools, generator: Generator | Recipe, fine_tune: Budget | None) -> tuple[str, ...]:
    """The caveats, the design first."""
    rare, ill = design.rare, design.rare.positive
    found = f"{rare.factor} = {rare.level}"
    counts = {name: (int(ill(c).sum()), len(rare.patients(c)), len(c)) for name, c in (("train", design.real), ("valid", design.valid), ("test", design.test))}
    tried = sum(candidate.arm.synthetic and candidate.arm.added not in made.skipped for candidate in design.candidates)
    shown = "; ".join(f"{name}: {images} of {total} images, {patients} patients" for name, (images, patients, total) in counts.items())
    said = [
        f"{found}: {shown}. Shares of the rare class in these cohorts set the level of AUPRC, and need not be those of a clinic.",
        origin(generator, design, fine_tune),
        f"Every arm trained {design.steps} steps from the same weights per seed; pretraining took {PRETRAINING:.0%} of them. {drawing(design, made)} "
        f"So '{NAIVE.name}' differs from '{DUPLICATED.name}' in the images alone, and '{BALANCED_MIX.name}' from '{BALANCED.name}'.",
        f"Arm and share were chosen among {tried} by AUPRC on validation, with {counts['valid'][1]} patients of the rare class where {rare.k} taught; "
        "the choice was stored before any test image was predicted. The headline reads that choice once, on runs from other seeds than those that "
        "chose it; 'exploratory' rows are the runs of the choice and many comparisons, of which some look good by chance.",
        "Intervals carry the test patients and the training seeds. They do not carry another draw of the k patients, of the synthetic images, of the "
        'generator or of the validation patients, who chose the arm and set the thresholds: repeat with another "seed" in rare= and another split.',
        f"Sensitivity is that at the threshold which leaves specificity {SPECIFICITY:g} on validation; 'specificity' shows what it leaves on test. "
        "The threshold counts as fixed: how much it would move with other validation patients is in no interval.",
        f"Brier score and calibration error are those of raw chances: arms that draw levels equally often, as '{BALANCED.name}', overstate a rare class.",
    ]
    if len(design.seeds) < FEWEST_SEEDS:
        said.append(f"{len(design.seeds)} seed(s): training runs differ by chance, and under {FEWEST_SEEDS} no verdict is given.")
    said += few(counts)
    said += [f"Left out: arms with {kind} images: {why}." for kind, why in made.skipped.items()]
    cohorts = (design.real, design.valid, design.test)
    return tuple(dict.fromkeys([*said, *made.notes, *(note for cohort in cohorts for note in cohort.notes)]))


def drawing(design: Design, made: Pools) -> str:
    """How the arms draw their training images, in words."""
    arms = dict.fromkeys(candidate.arm for candidate in design.candidates if candidate.arm.added not in made.skipped)
    named = {balance: [f"'{arm.name}'" for arm in arms if arm.balance == balance] for balance in (UNIFORM, BY_CLASS, BY_ORIGIN)}
    within = "every level, and within it real and added images, equally often"
    how = {UNIFORM: "every image equally often", BY_CLASS: "every level equally often", BY_ORIGIN: within}
    plain = [f"'{arm.name}'" for arm in arms if not arm.augment]
    said = [f"{', '.join(names)} drew {how[balance]}" for balance, names in named.items() if names]
    return f"All arms but {', '.join(plain)} were augmented; {'; '.join(said)}."


def few(counts: dict[str, tuple[int, int, int]]) -> list[str]:
    """What is said where few patients have the rare class; `counts` holds images, patients and all images."""
    told = {"valid": "which arm is chosen, and with which threshold, is largely chance",
            "test": "no verdict and no relative difference is given, since resamples of so few show too little of their spread"}  # fmt: skip
    found = {name: counts[name][1] for name in told}
    return [f"{name}: {found[name]} patients of the rare class, under {FEWEST_RARE}: {what}." for name, what in told.items() if found[name] < FEWEST_RARE]
