"""Adherence: do synthetic images show the factors that were asked for, in the eyes of a predictor trained on real ones?"""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.errors import SchemaError
from synthkit.metrics.ceiling import ABOVE, BELOW, RARE, UNEQUAL, against, common_levels, one_against_rest, sees
from synthkit.metrics.features import Features
from synthkit.metrics.phantom_judge import phantom_judge
from synthkit.metrics.probe import fit_probe
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

ENOUGH = 1_000
LEAST = 12  # images of a group on either side

Judge = Cohort | Predictor | Phantom
MEANING = "Adherence: a predictor's score; `floor` holds its own score on real test images, what images as plain as these can reach."
SAYINGS = {
    ABOVE: "Adherence is surely above the judge's own score on real images for {}: the generator draws it more plainly than it looks in real patients.",
    BELOW: "Adherence is surely below the judge's own score on real images for {}: not all that was asked for can be seen.",
    UNEQUAL: "The asked values of {} are spread otherwise than the real ones, and R² grows with the spread: it is not held against `floor`.",
}


def fit_judge(cohort: Cohort, fake: Cohort, eyes: Features, *, seed: int) -> Predictor:
    """A predictor of every factor that was varied in `fake` and that varies in the judge's real patients.

    A network of its own from 1,000 images on; below, lines on the encoder's features, which see more from few images.
    """
    names = [n for n in fake.schema.names if n in cohort.schema and _varies(fake.table[n]) and _varies(cohort.table[n])]
    if not names:
        raise SchemaError("no factor varies both in the synthetic cohort and in the judge cohort; ask for images of differing factors")
    return Classifier(target=tuple(names)).fit(cohort, seed=seed) if len(cohort) >= ENOUGH else fit_probe(cohort, tuple(names), eyes)


def _varies(values: pd.Series) -> bool:
    return values.dropna().nunique() > 1


@dataclass(frozen=True)
class _Seen:
    """A cohort's table and what the judge reads off its images."""

    table: pd.DataFrame
    predicted: pd.DataFrame

    def where(self, mask: np.ndarray) -> "_Seen":
        return _Seen(self.table[mask].reset_index(drop=True), self.predicted[mask].reset_index(drop=True))


def adherence(
    judge: Judge, *, real: Cohort, fake: Cohort, eyes: Features, seed: int, by: Sequence[str] = ()
) -> tuple[list[dict[str, object]], list[str]]:
    """Rows of AUC (categories) and R² (quantities) per factor, and notes.

    `floor` holds the judge's own score on real test patients: the ceiling that a perfect generator would reach. A factor
    that applies under a condition is judged where it applies; of more than two levels each also stands in a row of its own.

    Args:
        judge: patients to learn from, a fitted predictor, or the phantom that the images are of.
        by: factors to repeat the rows by; a group needs 12 images on either side.
    """
    fitted = phantom_judge(judge) if isinstance(judge, Phantom) else judge if isinstance(judge, Predictor) else fit_judge(judge, fake, eyes, seed=seed)
    known = [name for name in fitted.schema.names if name in fake.table and name in real.table]
    if not known:
        names = ", ".join(fitted.schema.names)
        raise SchemaError(f"the judge predicts {names}, which the real or the synthetic cohort does not have; give a judge of a shared factor")
    for cohort in (real, fake):
        fitted.require_unseen(cohort)
    on_real, on_fake = (_Seen(cohort.table, fitted.predict(cohort)) for cohort in (real, fake))
    known = [name for name in known if _varies(fake.table[name])]
    pairs = {name: _pair(fitted, name, on_real, on_fake) for name in known}
    rare = [name for name, pair in pairs.items() if pair is None]
    blind = [name for name, pair in pairs.items() if pair and pair[1] and not sees(pair[1], seed=seed)]
    judged = [name for name in known if name not in {*blind, *rare}]
    wanted = [row for name in judged for row in _with_levels(*pairs[name], name)]
    whole = len(wanted)
    for label, here, there in _groups(real, fake, on_real, on_fake, by):
        for name in [name for name in known if name not in blind and name != label.split("=")[0]]:
            pair = _pair(fitted, name, here, there)
            wanted += [(*pair, f"{name}, {label}")] if pair and pair[1] and min(map(len, pair)) >= LEAST else []
    # Every row that may be called above or below shares the error, levels and groups too.
    rows = [against(*row, count=len(wanted), seed=seed) for row in wanted]
    notes = [MEANING, *_notes(rows[:whole], blind, judged, fake)]
    if rare:
        notes.append(f"Adherence is not assessed for {', '.join(rare)}: a level has fewer than {RARE} real or synthetic images.")
    origin = f"judge of {fitted.trained.get('source', 'your own')}"
    return [{**row, "extractor": origin} for row in rows], notes


def _pair(judge: Predictor, name: str, on_real: _Seen, on_fake: _Seen) -> tuple[Reading, Reading | None] | None:
    """What the judge reads of one factor off synthetic and off real images, where real ones tell its values apart; None without two common levels."""
    fake, real = (Reading.of(judge.schema[name], seen.predicted, seen.table) for seen in (on_fake, on_real))
    return None if fake is None else (fake, None) if real is None else common_levels(fake, real)


def _with_levels(fake: Reading, real: Reading | None, name: str) -> Iterator[tuple[Reading, Reading | None, str]]:
    """The pair itself and, of more than two levels, each against the rest."""
    yield fake, real, name
    if real and len(set(fake.truth)) > 2:
        yield from one_against_rest(fake, real, name)


def _groups(real: Cohort, fake: Cohort, on_real: _Seen, on_fake: _Seen, by: Sequence[str]) -> Iterator[tuple[str, _Seen, _Seen]]:
    for factor in by:
        mine, theirs = (cohort.schema.groups(cohort.table, factor).to_numpy(object) for cohort in (real, fake))
        for level in sorted({value for value in mine if isinstance(value, str)}):
            a, b = (np.array([value == level for value in values], bool) for values in (mine, theirs))
            yield f"{factor}={level}", on_real.where(a), on_fake.where(b)


def _notes(rows: list[dict[str, object]], blind: list[str], assessed: list[str], fake: Cohort) -> list[str]:
    notes = []
    if blind:
        notes.append(f"Adherence is not assessed for {', '.join(blind)}: on real test images the judge itself is not surely better than chance.")
    for reading, text in SAYINGS.items():
        names = [str(row["group"]) for row in rows if row["reading"] == reading]
        notes += [text.format(", ".join(names))] if names else []
    partly = [(name, fake.schema[name].when) for name in assessed if name in fake.schema and fake.schema[name].when]
    if partly:
        said = "; ".join(f"{name} (where {' and '.join(f'{k} = {v}' for k, v in when.items())} was asked)" for name, when in partly)
        notes.append(f"Adherence is judged only where it applies for {said}.")
    return notes
