"""What synthetic images, and the generator that made them, give away of the patients it was trained on."""
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy.stats import beta

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
from synthkit.metrics.alike import require_alike
from synthkit.metrics.copying.eye import FeatureEye, PixelEye
from synthkit.metrics.copying.tail import FEWEST
from synthkit.metrics.extractors import features
from synthkit.metrics.features import Extractor, Features
from synthkit.studies.privacy.membership import knows, membership
from synthkit.studies.privacy.nearness import Nearness, nearness
from synthkit.studies.privacy.planting import power
from synthkit.studies.privacy.result import COLUMNS, COPYING, NONE_SEEN, NOT_ASSESSED, Privacy

WORST = 20
USUAL = 1_000  # images drawn when none are given
CENTRED_ON = 1_000
SMALLEST = 1e-12  # p that is written out


def privacy(
    generator: Generator | None, *, train: Cohort, holdout: Cohort | None, fake: Cohort | None = None,
    extractor: str | Features | Extractor | None = None, alpha: float = 0.01, seed: int = 0,
) -> Privacy:  # fmt: skip
    """Attack a generator and its images, and say what was found.

    Args:
        generator: for membership inference by its loss; None runs the attacks on images alone.
        train: the patients it was trained on.
        holdout: patients from the same source whom it never saw: how near new patients come by chance.
        fake: its images; left out, up to 1,000 are drawn for the factors of the training patients.
        extractor: the second eye beside pixels, as of `sk.evaluate`; the built-in encoder is taught on `train`.
        alpha: chance of accusing a clean generator, over all attacks together (Bonferroni).
        seed: of drawing and shuffling.
    Returns:
        Privacy: `.verdict`, `.attacks`, `.pairs` (the 20 that stand out most), `.power`. Under 20 patients in train or holdout, or without a
        holdout, the verdict is NOT ASSESSED.
    Raises:
        LeakageError: a patient in both train and holdout, or a holdout patient whom the generator learnt from.
        DataError: other image sizes or channels, no images and no generator, or a generator that never saw `train`.

    Example:
        sk.privacy(gen, train=train, holdout=test).verdict
    """
    _require(generator, train, holdout, fake, alpha, seed)
    missing = _not_assessed(train, holdout)
    if missing:
        return Privacy(NOT_ASSESSED, missing)
    require_disjoint(train, holdout, names=("train", "holdout"))
    notes = _known(generator, train, holdout) if generator is not None else ["No generator was given: membership inference was not tried."]
    if fake is None:
        fake = generator.sample(train.table[list(train.schema.names)].head(USUAL), seed=seed)
    require_alike("train", {"train": train, "holdout": holdout, "fake": fake})
    looks = features(extractor, train)
    # About the middle of both sides, so that neither lies nearer to it.
    centre = torch.stack([looks.of(side[: min(CENTRED_ON, len(side))]).mean(0) for side in (train, holdout)]).mean(0).float()
    seen = [nearness(eye, train=train, holdout=holdout, fake=fake, seed=seed) for eye in (PixelEye(train.space.dims), FeatureEye(looks, centre))]
    rows = [row for one in seen for row in one.rows]
    if generator is not None and knows(generator):
        rows += membership(generator, train=train, holdout=holdout, seed=seed)
    elif generator is not None:
        notes.append(f"{type(generator.recipe).__name__} has no loss of single images: membership inference was not tried.")
    attacks = pd.DataFrame(rows, columns=[*COLUMNS])
    tests = int(attacks["p"].notna().sum())
    verdict, reason = _judged(attacks, alpha / tests, len(fake), seen)
    pairs, shown, theirs = _worst(seen, fake, train)
    found = power(seen, train=train, alpha=alpha / tests, seed=seed)
    used = {"synthetic": fake, "train": train, "holdout": holdout}
    return Privacy(verdict, reason, attacks, pairs, shown, theirs, found, (*notes, *_sizes(seen, tests, alpha)), used)


def _require(generator: Generator | None, train: Cohort, holdout: Cohort | None, fake: Cohort | None, alpha: float, seed: int) -> None:
    require_kind("generator", generator, (Generator, type(None)), "a fitted generator, or None to attack images alone")
    require_kind("train", train, Cohort, "the cohort that the generator was trained on")
    require_kind("holdout", holdout, (Cohort, type(None)), "a cohort of patients whom the generator never saw")
    require_kind("fake", fake, (Cohort, type(None)), "a cohort of its images")
    require_number("seed", seed, "a whole number", whole=True)
    require_number("alpha", alpha, "a chance between 0 and 0.5, usually 0.01")
    if not 0 < alpha < 0.5:
        raise DataError(f"alpha={alpha}: give a chance between 0 and 0.5, usually 0.01")
    if generator is None and fake is None:
        raise DataError("there is nothing to attack: give a generator, or fake= with its images")
    if fake is not None and not len(fake):
        raise DataError("fake is empty; give the images to attack")


def _not_assessed(train: Cohort, holdout: Cohort | None) -> str:
    """Why nothing can be said, or an empty text."""
    if holdout is None:
        return "No holdout was given: how near new patients come to the training patients by chance is not known."
    counts = {name: cohort.table["patient_id"].nunique() for name, cohort in (("train", train), ("holdout", holdout))}
    few = [f"{name} has {count} patient(s)" for name, count in counts.items() if count < FEWEST]
    return f"{' and '.join(few)}, and at least {FEWEST} are needed in each." if few else ""


def _known(generator: Generator, train: Cohort, holdout: Cohort) -> list[str]:
    generator.require_unseen(holdout)
    patients, known = train.table["patient_id"].nunique(), train.table["patient_id"][generator.knows(train)].nunique()
    if generator.patients and not known:
        raise DataError(f"{generator.card.name} learnt from none of the {patients} patients of train; give the cohort that it was trained on")
    few = known < patients or known < len(generator.patients)
    counts = f"the generator learnt from {len(generator.patients)} patients and {known} of the {patients} in train are among them"
    return [f"Only a part is looked at: {counts}."] if generator.patients and few else []


def _judged(attacks: pd.DataFrame, level: float, images: int, seen: Sequence[Nearness]) -> tuple[str, str]:
    convicting = attacks[attacks["p"] < level]
    if len(convicting):
        said = [f"{row.attack} ({row.eye.split(' (')[0]}): {row.value:.4f}, expected {row.expected:.4f}, p {_short(row.p)}" for row in convicting.itertuples()]
        return COPYING, f"{'; '.join(said)}."
    copies = int(np.any([one.isolated > one.tail.limit for one in seen], axis=0).sum())
    bound = float(beta.ppf(0.95, copies + 1, images - copies))  # Clopper & Pearson 1934; with none found about 3 / n
    few = ", too few to convict but worth looking at (the first of .pairs)" if copies else ""
    found = f"{copies or 'None'} of {images} images {'are near copies' if copies > 1 else 'is a near copy'}{few}"
    return NONE_SEEN, f"{found}: of all that it makes at most {bound:.2%} are that these eyes would know (95 % bound)."


def _short(p: float) -> str:
    return f"= {p:.2g}" if p >= SMALLEST else f"< {SMALLEST:g}"


def _worst(seen: Sequence[Nearness], fake: Cohort, train: Cohort) -> tuple[pd.DataFrame, Cohort, Cohort]:
    """The images that stand out most from the crowd, by the eye in which they do so most."""
    beyond = np.stack([one.isolated / one.tail.limit for one in seen])
    order = np.argsort(-beyond.max(0), kind="stable")[:WORST]
    eyes = beyond.argmax(0)[order]
    partners = np.array([seen[eye].found.row[row, 0] for eye, row in zip(eyes, order)])
    names = fake.table["image_id"].to_numpy()[order], train.table["image_id"].to_numpy()[partners]
    rows = [{"image_id": name, "train_image_id": partner, "eye": seen[eye].eye.split(" (")[0], "similarity": seen[eye].found.similarity[row, 0],
             "isolation": seen[eye].isolated[row], "limit": seen[eye].tail.limit}
            for name, partner, eye, row in zip(*names, eyes, order)]  # fmt: skip
    return pd.DataFrame(rows), fake[order], train[np.unique(partners)]


def _sizes(seen: Sequence[Nearness], tests: int, alpha: float) -> list[str]:
    held = seen[0].tail
    return [f"{tests} attacks take part in the verdict, at {alpha:g} together. A near copy is nearer to one training patient, against the next "
            f"ones, than one in 10,000 new patients would be, extrapolated from {held.images} images of {held.patients} held-out patients."]  # fmt: skip
