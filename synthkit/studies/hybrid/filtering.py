"""Which synthetic images a filter keeps that knows the k-shot training images alone."""
import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import wilson
from synthkit.metrics.checks.check import check
from synthkit.phantoms.phantom import one_thread
from synthkit.studies.hybrid.arms import BALANCED
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.fits import learn
from synthkit.studies.hybrid.rare import Rare
from synthkit.tasks.predictor import Predictor

SIDES = ("rare", "other")
COPY, BY_HEART = "duplicate", 0.5


def kept(design: Design, rare: Cohort, other: Cohort, most: int) -> tuple[tuple[Cohort, Cohort] | None, str, tuple[str, ...]]:
    """The first `most` of each side that pass, or None and why; and notes on how many passed.

    An image passes when a classifier trained on the k-shot images (class-balanced, augmented) sees the level that was asked for,
    and when `sk.check` with limits from these images finds no fault, nor a near copy of one of them or of another synthetic image.
    """
    good, notes, real = [], [], design.images(design.real)
    with one_thread():
        judge = learn(design.task, BALANCED, real=real, added=None, steps=design.steps, seed=design.rare.seed)
    for name, side in zip(SIDES, (rare, other)):
        agrees, failed = agreeing(judge, side, design.rare), failing(real, side)
        both, copies = agrees & ~failed.any(axis=1).to_numpy(), failed[COPY].to_numpy()
        low, high = wilson(int(both.sum()), len(both))
        notes.append(f"Filter, {name} class: {both.mean():.0%} of {len(both)} images pass (95 % interval {low:.0%} to {high:.0%}); "
                     f"the classifier agrees with {agrees.mean():.0%}, {copies.mean():.0%} are near copies, other faults in "
                     f"{failed.drop(columns=COPY).any(axis=1).mean():.0%}.")  # fmt: skip
        if copies.mean() > BY_HEART:
            notes.append(f"Most images of the {name} class are near copies of its training images or of each other: the generator has learnt them by heart. "
                         "They teach a classifier nothing new, and give the patients away.")  # fmt: skip
        good.append(side[np.flatnonzero(both)[:most]])
    short = [name for name, side in zip(SIDES, good) if not len(side)]
    if short:
        return None, f"no synthetic image of the {short[0]} class passed the filter", tuple(notes)
    return (good[0], good[1]), "", tuple(notes)


def agreeing(judge: Predictor, side: Cohort, rare: Rare) -> np.ndarray:
    """(N,) bool: where the judge sees the level that the image was asked to have."""
    seen = judge.predict(side).drop(columns="image_id").idxmax(axis=1).to_numpy(str)
    return seen == np.array([f"p_{rare.factor}_{level}" for level in side.table[rare.factor]])


def failing(real: Cohort, side: Cohort) -> pd.DataFrame:
    """(N, checks) bool: which check fails. The training images come first, so that of two copies the synthetic one fails."""
    return check(real + side, like=real).fails().iloc[len(real) :].reset_index(drop=True)
