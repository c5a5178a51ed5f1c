"""Scores of a synthetic cohort against a real one: overall and by group, with intervals, n and the real floor."""
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.result import SCORE_COLUMNS, Scores
from synthkit.errors import DataError, LeakageError
from synthkit.metrics.adherence import adherence
from synthkit.metrics.comparison import Comparison
from synthkit.metrics.coverage import Coverage
from synthkit.metrics.features import Extractor, Features, features
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import Metric
from synthkit.tasks.predictor import Predictor

FEW, LEAST = 100, 12
DEFAULT: tuple[Metric, ...] = (KID(), FrechetDistance(), Coverage())


def evaluate(
    *, real: Cohort, fake: Cohort, train: Cohort | None = None, judge: Cohort | Predictor | None = None, by: Sequence[str] | str = (),
    metrics: Sequence[Metric] = DEFAULT, extractor: Features | Extractor | None = None, seed: int = 0,
) -> Scores:  # fmt: skip
    """How close, how covering and how obedient a synthetic cohort is.

    Args:
        real: test patients that no generator saw.
        fake: the synthetic cohort.
        train: what the generator was trained on, or further real images; the encoder learns from them and the floor refers to them.
        judge: patients kept for judging (a predictor is trained on them), or a fitted predictor; None leaves adherence out.
        by: factors to repeat the distances by.
        metrics: feature metrics.
        extractor: any callable from images to (N, d) features; None trains a small encoder on `train` (else on `real`).
        seed: of resampling.
    Returns:
        Scores, one row per metric and group: value, 95 % interval, n, and `floor`, the same metric between real images
        at the same n. Under 100 images a caveat says so.
    Raises:
        LeakageError: a patient in two of `train`, `judge` and `real`.
        DataError: other image sizes or channels, or fewer than 12 images in a cohort.

    Example:
        qc = sk.evaluate(real=test, fake=fake, train=train, judge=judge, by=["sex"])
    """
    by = (by,) if isinstance(by, str) else by
    _check(real, fake, train, judge)
    eyes = features(extractor, real if train is None else train)
    sets = {name: eyes.of(c) for name, c in (("real", real), ("fake", fake), ("train", train)) if c is not None}
    rows, few, notes = [], [], _notes(real, fake, train, judge)
    units = real.table["patient_id"].to_numpy()
    for group, masks in _groups({"real": real, "fake": fake, "train": train}, by):
        if min(masks[name].sum() for name in sets) < LEAST:
            notes.append(f"{group}: fewer than {LEAST} images on one side; no distance is given.")
            continue
        pieces = {name: sets[name][masks[name]] for name in sets}
        comparison = Comparison.of(pieces["real"], pieces["fake"], units[masks["real"]], pieces.get("train"), seed=seed)
        rows += [{**comparison.row(metric, seed=seed), "group": group, "extractor": eyes.name} for metric in metrics]
        few += [f"{group} (n = {len(comparison.real)})"] if len(comparison.real) < FEW else []
    if few:
        notes.append(f"Compared at equal n, fewer than {FEW} images a side: {', '.join(few)}. Read these scores as rough.")
    if judge is not None:
        obedience, more = adherence(judge, real=real, fake=fake, eyes=eyes, seed=seed)
        rows, notes = rows + obedience, notes + more
    title = f"Quality of {fake.provenance.source} against {real.provenance.source}"
    return Scores(title, pd.DataFrame(rows, columns=list(SCORE_COLUMNS)), tuple(dict.fromkeys(notes)))


def _check(real: Cohort, fake: Cohort, train: Cohort | None, judge: Cohort | Predictor | None) -> None:
    named = {"real": real, "train": train, "judge": judge if isinstance(judge, Cohort) else None}
    given = [(name, cohort) for name, cohort in named.items() if cohort is not None]
    for name, cohort in [*given, ("fake", fake)]:
        if not cohort.space.matches(real.space):
            raise DataError(f"real images are {real.space.shape} and {name} ones {cohort.space.shape}; load both with the same size= and channels")
        if len(cohort) < LEAST:
            raise DataError(f"{name}: {len(cohort)} images are too few to score; give at least {LEAST} ({FEW} for a score worth reading)")
    if isinstance(judge, Predictor) and train is not None:
        both = sorted(judge.patients & set(train.table["patient_id"]))
        if both:
            raise LeakageError(f"the judge was fitted on {len(both)} patient(s) of train (first: {both[0]!r}); fit it on patients that no generator saw")
    for i, (name, cohort) in enumerate(given):
        for other_name, other in given[i + 1 :]:
            require_disjoint(cohort, other, names=(name, other_name))


def _notes(real: Cohort, fake: Cohort, train: Cohort | None, judge: Cohort | Predictor | None) -> list[str]:
    notes = []
    if train is None:
        notes.append("No train cohort was given: the floor compares two halves of the real cohort, at half its n.")
    if judge is None:
        notes.append("No judge was given: whether the images show what was asked for is not assessed.")
    return [*notes, *real.notes, *fake.notes]


def _groups(cohorts: dict[str, Cohort | None], by: Sequence[str]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    given = {name: cohort for name, cohort in cohorts.items() if cohort is not None}
    yield "all", {name: np.ones(len(cohort), bool) for name, cohort in given.items()}
    for factor in by:
        labels = {name: cohort.schema.groups(cohort.table, factor).to_numpy(object) for name, cohort in given.items()}
        for level in sorted({value for value in labels["real"] if isinstance(value, str)}):
            yield f"{factor}={level}", {name: np.array([v == level for v in values], bool) for name, values in labels.items()}
