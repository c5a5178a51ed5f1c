"""What must be said beside the numbers of a hybrid experiment."""
from synthkit.core.budget import Budget
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.studies.hybrid.arms import BALANCED
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.fits import PRETRAINING
from synthkit.studies.hybrid.measures import SPECIFICITY
from synthkit.studies.hybrid.pools import Pools
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
        f"Every arm trained {design.steps} steps from the same weights per seed; pretraining took {PRETRAINING:.0%} of them. All arms but "
        "'real only' were augmented, and all but it and 'standard augmentation' drew the levels equally often.",
        f"Arm and share were chosen among {tried} by AUPRC on validation, with {counts['valid'][1]} patients of the rare class where {rare.k} taught; "
        "the choice was stored before any test image was predicted. The headline reads that choice once; 'exploratory' rows are many comparisons, of "
        "which some look good by chance.",
        "Intervals carry the test patients and the training seeds. They do not carry another draw of the k patients, of the synthetic images or of the "
        'generator: repeat with another "seed" in rare= for that.',
        f"Sensitivity is that at the threshold which leaves specificity {SPECIFICITY:g} on validation; 'specificity' shows what it leaves on test.",
        f"Brier score and calibration error are those of raw chances: arms that draw levels equally often, as '{BALANCED.name}', overstate a rare class.",
    ]
    if len(design.seeds) < FEWEST_SEEDS:
        said.append(f"{len(design.seeds)} seed(s): training runs differ by chance, and under {FEWEST_SEEDS} no verdict is given.")
    said += [f"Left out: arms with {kind} images: {why}." for kind, why in made.skipped.items()]
    cohorts = (design.real, design.valid, design.test)
    return tuple(dict.fromkeys([*said, *made.notes, *(note for cohort in cohorts for note in cohort.notes)]))
