"""Scores of a synthetic cohort against a real one: overall and by group, with intervals, n and the real floor."""
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.notice import EVALUATION, told
from synthkit.core.result import SCORE_COLUMNS, Scores
from synthkit.core.schema import Category
from synthkit.errors import DataError
from synthkit.metrics.adherence import adherence
from synthkit.metrics.alike import doubts, in_order
from synthkit.metrics.asked import LEAST, require_cohorts, require_distinct, required_metrics, taught
from synthkit.metrics.comparison import FEW, Comparison
from synthkit.metrics.defaults import default_metrics
from synthkit.metrics.extractors import features, judge_eyes
from synthkit.metrics.features import Extractor, Features, described
from synthkit.metrics.metric import ImageMetric, Metric
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor


def evaluate(
    *, real: Cohort, fake: Cohort, train: Cohort | None = None, judge: Cohort | Predictor | Phantom | None = None, by: Sequence[str] | str = (),
    metrics: Sequence[Metric] | None = None, extractor: str | Features | Extractor | Sequence[str | Features | Extractor] | None = None, seed: int = 0,
) -> Scores:  # fmt: skip
    """How close, how diverse, how covering and how obedient a synthetic cohort is.

    Args:
        real: test patients that no generator saw.
        fake: the synthetic cohort.
        train: what the generator was trained on, or further real images; the encoder learns from them.
        judge: patients kept for judging (a predictor is trained on them: under 1,000 images lines on encoder, radiomics and pixels, or
            on the first `extractor` that is given), a fitted predictor, or the phantom that drew the images; None leaves adherence out.
        by: factors to repeat the scores by.
        metrics: of features (`sk.KID()`) or of images (`sk.SpectrumDistance()`); None takes all that fit the size of the images.
        extractor: the eye or, in a list, several: "encoder" (the default: a small network trained on `train`, else on `real`),
            "radiomics", a name such as "timm:resnet18" or the file of a network (see `synthkit.metrics.pretrained`), or any callable
            or module from images to (N, d) features. Teaching the encoder takes most of the time; it is kept for the next.
        seed: of resampling.
    Returns:
        Scores, one row per metric, extractor and group: value, 95 % interval, n, and `floor` with its interval, the same metric
        between `real` and other real patients at the same n: those of `judge` or, where they are too few, a part of `train`,
        from which the encoder then does not learn. `reading` says what both mean together, and whether n is under 100.
    Raises:
        LeakageError: a patient in two of `train`, `judge` and `real`.
        DataError: other image sizes, channels or windows, or fewer than 12 images in a cohort.

    Example:
        qc = sk.evaluate(real=test, fake=fake, train=train, judge=judge, by=["sex"])
    """
    by = (by,) if isinstance(by, str) else tuple(by)
    asked = tuple(extractor) if isinstance(extractor, (list, tuple)) else (extractor,)
    require_cohorts(real, fake, train, judge)
    taken = default_metrics(real.space) if metrics is None else required_metrics(metrics)
    given = {"test": real, "synthetic": fake, "train": train, "judge": judge if isinstance(judge, Cohort) else None}
    used = {part: cohort for part, cohort in given.items() if cohort is not None}  # as they were given, so that their versions are known again
    real, fake, train = in_order(real), in_order(fake), train if train is None else in_order(train)
    learns = any(one is None or one == "encoder" for one in asked)
    learn, other = taught(real, fake, train, judge, learns=learns, seed=seed)
    cohorts = {name: cohort for name, cohort in (("real", real), ("fake", fake), ("other", other)) if cohort is not None}
    comparisons, notes = _comparisons(cohorts, by, seed)
    eyes = [features(one, learn) for one in asked]
    require_distinct("extractors", [eye.name for eye in eyes])
    rows = list(_rows(taken, eyes, cohorts, comparisons, seed))
    notes = [*_notes(train, judge, other), *doubts(cohorts | ({"train": train} if train is not None else {})), *notes, *real.notes, *fake.notes]
    if judge is not None:
        own = extractor is not None or not isinstance(judge, Cohort)
        looks = eyes[0] if own else judge_eyes(judge, None if train is None else learn)
        obedience, more = adherence(judge, real=real, fake=fake, eyes=looks, seed=seed, by=by)
        rows, notes = rows + [_rough(row) for row in obedience], [*notes, *more, *_constant(real, fake)]
    title = f"Quality of {fake.provenance.source} against {real.provenance.source}"
    scores = Scores(title, pd.DataFrame(rows, columns=list(SCORE_COLUMNS)), tuple(dict.fromkeys(notes)), cohorts=used)
    return told(EVALUATION, scores, seed=seed)


def _constant(real: Cohort, fake: Cohort) -> list[str]:
    same = [name for name in fake.schema.names if name in real.schema and fake.table[name].nunique() == 1 < real.table[name].nunique()]
    return [f"Adherence is not assessed for {', '.join(same)}: only one value was asked for."] if same else []


def _rough(row: dict[str, object]) -> dict[str, object]:
    few = min(row["n_real"] or row["n_fake"], row["n_fake"]) < FEW
    return {**row, "reading": "; ".join(filter(None, (str(row["reading"]), f"n < {FEW}: rough" if few else "")))}


def _rows(
    metrics: Sequence[Metric], eyes: Sequence[Features], cohorts: Mapping[str, Cohort], comparisons: Mapping[str, Comparison], seed: int
) -> Iterator[dict[str, object]]:
    """One row per metric, extractor and group; the images of a cohort are described once per extractor."""
    plain = [metric for metric in metrics if not isinstance(metric, ImageMetric)]
    for eye in eyes if plain else ():
        sets = {name: eye.of(cohort) for name, cohort in cohorts.items()}
        if not max(float(rows.std(0).max()) for rows in sets.values()):
            raise DataError(f"the extractor {eye.name!r} gives one and the same features for all images; no score can be taken with it")
        for group, comparison in comparisons.items():
            yield from ({**comparison.row(metric, sets, seed=seed), "group": group, "extractor": eye.name} for metric in plain)
    for metric in metrics:
        if isinstance(metric, ImageMetric):
            sets = {name: described(cohort, metric.describe, name=metric.origin) for name, cohort in cohorts.items()}
            for group, comparison in comparisons.items():
                yield {**comparison.row(metric, sets, seed=seed), "group": group, "extractor": metric.origin}


def _comparisons(cohorts: Mapping[str, Cohort], by: Sequence[str], seed: int) -> tuple[dict[str, Comparison], list[str]]:
    """Who is compared with whom, for all images and for each group that is large enough; and what to say of the others."""
    units = {name: cohort.table["patient_id"].to_numpy() for name, cohort in cohorts.items()}
    found, notes = {}, []
    for group, rows in _groups(cohorts, by):
        counts = {name: len(part) for name, part in rows.items()}
        fewest = min(counts, key=lambda name: counts[name])
        if counts[fewest] < LEAST:
            notes.append(f"{group}: no score is given, {fewest} has {counts[fewest]} of these images and at least {LEAST} are needed.")
            continue
        found[group] = Comparison.of(rows, units, seed=seed)
    whole = {name: len(cohort) for name, cohort in cohorts.items()}
    fewest = min(whole, key=lambda name: whole[name])
    if whole[fewest] < min(whole["real"], whole["fake"]):
        notes.append(f"All sets are cut to n = {whole[fewest]}, as many as there are {fewest} real images for the floor.")
    few = [f"{group} (n = {comparison.n})" for group, comparison in found.items() if comparison.n < FEW]
    if few:
        notes.append(f"Compared at equal n, fewer than {FEW} images a side: {', '.join(few)}. Read these scores as rough.")
    return found, notes


def _groups(cohorts: Mapping[str, Cohort], by: Sequence[str]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Rows per set, of all images and of each level that occurs in any of the sets."""
    yield "all", {name: np.arange(len(cohort)) for name, cohort in cohorts.items()}
    for factor in by:
        labels = {name: cohort.schema.groups(cohort.table, factor).to_numpy(object) for name, cohort in cohorts.items()}
        declared = cohorts["real"].schema[factor]
        occur = {value for part in labels.values() for value in part if isinstance(value, str)}
        for level in (name for name in (declared.levels if isinstance(declared, Category) else declared.group_names) if name in occur):
            yield f"{factor}={level}", {name: np.flatnonzero([value == level for value in part]) for name, part in labels.items()}


def _notes(train: Cohort | None, judge: object, other: Cohort | None) -> list[str]:
    notes = []
    if train is None:
        notes.append("No train cohort was given: encoders learn from the very real images that are compared.")
    if other is None:
        notes.append("No further real cohort was given: the floor compares two halves of the real one, at half its n, so no reading is given.")
    if judge is None:
        notes.append("No judge was given: whether the images show what was asked for is not assessed.")
    return notes
