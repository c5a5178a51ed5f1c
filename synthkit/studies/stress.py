"""Stress tests: how a classifier fares as one factor after another grows, with all else of every image held."""
from collections.abc import Mapping, Sequence

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.errors import SchemaError
from synthkit.generators.generator import Generator
from synthkit.metrics.phantom_judge import phantom_judge
from synthkit.phantoms.phantom import Phantom
from synthkit.studies.sweeps.examination import Examination
from synthkit.studies.sweeps.fitting import require_fitting, target_of, truth_of
from synthkit.studies.sweeps.images import Subjects, require_editable, require_source, require_sweeps
from synthkit.studies.sweeps.notes import caveats
from synthkit.studies.sweeps.result import COLUMNS, Stress
from synthkit.tasks.predictor import Predictor


def stress(
    classifier: Predictor, source: Generator | Phantom, *, sweeps: Mapping[str, Sequence[object]], base: Cohort | pd.DataFrame | None = None,
    count: int = 64, target: str | None = None, threshold: float | None = None, share: float = 0.9, judge: Predictor | Phantom | None = None,
    truth: Phantom | None = None, seed: int = 0,
) -> Stress:  # fmt: skip
    """Graded test sets: severity, rare and emerging findings, marks of surgery, views and sites, one factor at a time.

    For each value of a factor the same subjects are shown with that factor set and all else held: patients of `base` edited, or
    requests sampled from the same noise. Whether the classifier finds its target then can be followed value by value.

    Args:
        classifier: fitted; it must not know the patients of `base`.
        source: a generator, or a phantom, whose images are exact.
        sweeps: factor to two or more values, the reference first, for instance `{"opacity": (0, .2, .4), "clips": ("absent", "present")}`.
        base: patients to edit, or a table of requests to sample; left out, subjects of the phantom, else requests of the target alone.
        count: subjects, where `base` is left out.
        target: the finding, of two levels; needed where the classifier predicts several.
        threshold: from which chance on the finding is called present.
        share: of the reference score; a score surely below it counts as broken.
        judge: reads the swept factors off the images, to say whether a sweep shows what it says; patients of `base` must be new to it.
            A phantom stands for `sk.phantom_judge` of it, which is taught once and then kept.
        truth: the phantom that drew `base`: the exact sweep then stands beside the generator's.
        seed: of sampling and resampling.
    Returns:
        Stress: AUC, sensitivity, specificity and mean predicted chance, with intervals over patients; `.breaks()` says where they break.
    Raises:
        SchemaError: an unknown factor or value, the target among the sweeps.
        DataError: under 5 patients of either class, other images than the classifier reads.
        AbilityError: patients to edit, and a generator without an encoder.
        LeakageError: a patient of `base` whom classifier or judge learnt from.

    Example:
        sk.stress(clf, gen, sweeps={"opacity": (0, 0.1, 0.2, 0.3, 0.4), "view": ("PA", "AP")}, base=test).breaks()
    """
    target = target_of(classifier, target)
    require_fitting(classifier, source, judge, truth, share, threshold)
    wanted = require_sweeps(sweeps, source.schema, target)
    require_editable(source, base)
    if target not in source.schema:
        raise SchemaError(f"the generator does not know {target!r}, which the classifier predicts; it has {', '.join(source.schema.names)}")
    subjects = Subjects.of(source, base, truth=truth, target=target, count=count, seed=seed)
    positive = truth_of(subjects, target, classifier)
    require_source(source, subjects, truth, wanted)
    reader = phantom_judge(judge, [*wanted]) if isinstance(judge, Phantom) else judge
    _require_unseen(subjects, classifier, reader)
    examined = Examination(classifier, target, source, truth, subjects, positive, reader, threshold, share, seed)
    rows, samples = [], {}
    for factor, values in wanted.items():
        made = examined.shown(factor, values)
        samples[factor] = dict(zip(values, next(iter(made.values())), strict=True))
        rows += examined.rows(factor, values, made)
    frame = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    frame["broken"] = frame["broken"].eq(True)
    title = f"Stress test of {target} over {', '.join(wanted)}"
    return Stress(title, frame, tuple(caveats(frame, examined, samples)), target, share, samples)


def _require_unseen(subjects: Subjects, *readers: Predictor | None) -> None:
    for one in readers if subjects.cohort is not None else ():
        if one is not None:
            one.require_unseen(subjects.cohort)
