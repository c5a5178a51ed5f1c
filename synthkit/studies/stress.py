"""Stress tests: how a classifier fares as one factor after another grows, with all else of every image held."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.figures import interval_plot, picture_figure, plane
from synthkit.core.result import Tabled
from synthkit.errors import SchemaError
from synthkit.generators.generator import Generator
from synthkit.metrics.phantom_judge import phantom_judge
from synthkit.phantoms.phantom import Phantom
from synthkit.studies.sweeps.fitting import require_fitting, target_of, truth_of
from synthkit.studies.sweeps.images import EDITED, EXACT, SAMPLED, Subjects, require_editable, require_source, require_sweeps
from synthkit.studies.sweeps.scores import AUC, CHANCE, SENSITIVITY, SPECIFICITY, Watched
from synthkit.studies.sweeps.seen import SHOWN, exact_rows, judged_rows
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("factor", "value", "images", "measure", "score", "low", "high", "change", "change_low", "change_high", "n", "patients", "limit", "broken")
MEASURES = (AUC, SENSITIVITY, SPECIFICITY)
DRAWN = (*MEASURES, CHANCE, SHOWN)
THRESHOLD = 0.5


@dataclass(frozen=True, eq=False, repr=False)
class Stress(Tabled):
    """A classifier under sweeps of single factors.

    Args:
        rows: one per factor, value, kind of images and measure: score, 95 % interval over patients, paired change from the
            reference (the first value of the sweep), the limit, and whether the score is surely below it.
        notes: what must be said beside them.
        target: what the classifier predicts.
        share: of the reference score, below which the classifier counts as broken.
        samples: the images, by factor and value.
    """

    target: str = ""
    share: float = 0.9
    samples: Mapping[str, Mapping[object, Cohort]] = field(default_factory=dict)

    def breaks(self) -> pd.DataFrame:
        """Per factor and measure the first value at which the classifier is surely below the limit, or that none is."""
        found = []
        for (factor, images, measure), part in self.rows[self.rows["measure"].isin(MEASURES)].groupby(["factor", "images", "measure"], sort=False):
            broken = part[part["broken"].astype(bool)]
            at = broken["value"].iloc[0] if len(broken) else f"none shown up to {part['value'].iloc[-1]}"
            found.append((factor, images, measure, part["value"].iloc[0], part["score"].iloc[0], part["limit"].iloc[0], at, int(part["n"].iloc[0])))
        return pd.DataFrame(found, columns=["factor", "images", "measure", "reference", "reference_score", "limit", "breaks_at", "n"])

    def figure(self) -> "Figure":
        """One panel per factor and measure: the score at each value, and the limit in red."""
        frame = self.rows[self.rows["measure"].isin(DRAWN)]
        several = frame["images"].nunique() > 1
        group = frame["value"].astype(str) + (", " + frame["images"] if several else "")
        return interval_plot(
            frame.assign(metric=frame["measure"] + ", " + frame["factor"], group=group, value=frame["score"], floor=frame["limit"]),
            title=self.title, names=("score", f"limit: {self.share:.0%} of the reference"),
        )  # fmt: skip

    def sheet(self, factor: str, *, subjects: int = 4) -> "Figure":
        """The same subjects, one a row, at each value of a factor, one a column."""
        if factor not in self.samples:
            raise SchemaError(f"{factor!r} was not swept; this result has {', '.join(self.samples)}")
        cohorts = self.samples[factor]
        rows = [[plane(cohort.images[i]) for cohort in cohorts.values()] for i in range(min(subjects, len(next(iter(cohorts.values())))))]
        return picture_figure(rows, title=f"The same subjects with {factor} set", column_names=[str(value) for value in cohorts], caption="synthetic images")


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
    found = truth_of(subjects, target, classifier)
    require_source(source, subjects, truth, wanted)
    reader = phantom_judge(judge, [*wanted]) if isinstance(judge, Phantom) else judge
    for one in (classifier, reader) if subjects.cohort is not None else ():
        if one is not None:
            one.require_unseen(subjects.cohort)
    cut = THRESHOLD if threshold is None else threshold
    rows, samples = [], {}
    for factor, values in wanted.items():
        made = {way: [subjects.shown(one, factor, value, seed=seed) for value in values] for way, one in _sources(source, truth, subjects).items()}
        samples[factor] = dict(zip(values, next(iter(made.values())), strict=True))
        for way, cohorts in made.items():
            chances = np.stack([_chances(classifier, cohort, target) for cohort in cohorts])
            part = Watched(chances, found, subjects.units, cut, seed).rows(share=share)
            if reader is not None and factor in reader.schema:
                part += judged_rows(reader, factor, values, cohorts, subjects, seed=seed)
            if way == EDITED and EXACT in made:
                part += exact_rows(cohorts, made[EXACT], subjects, seed=seed)
            rows += [{"factor": factor, "value": values[row["place"]] if row["place"] >= 0 else "all", "images": way, **row} for row in part]
    frame = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    frame["broken"] = frame["broken"].eq(True)
    title = f"Stress test of {target} over {', '.join(wanted)}"
    return Stress(title, frame, tuple([*_notes(subjects, source, wanted, samples, reader, truth, threshold, share), *_unable(frame)]), target, share, samples)


def _sources(source: Generator | Phantom, truth: Phantom | None, subjects: Subjects) -> dict[str, Generator | Phantom]:
    return {subjects.way(source): source, **({EXACT: truth} if truth is not None else {})}


def _chances(classifier: Predictor, cohort: Cohort, target: str) -> np.ndarray:
    return classifier.predict(cohort)[f"p_{target}_{classifier.schema[target].levels[-1]}"].to_numpy()


def _notes(
    subjects: Subjects, source: Generator | Phantom, sweeps: Mapping[str, Sequence[object]], samples: Mapping[str, Mapping[object, Cohort]],
    reader: Predictor | None, truth: Phantom | None, threshold: float | None, share: float,
) -> list[str]:  # fmt: skip
    way = subjects.way(source)
    made = {SAMPLED: "images sampled from the same noise", EDITED: "edits of the same patients", EXACT: "the phantom's exact images of the same subjects"}
    notes = [
        "Pre-clinical evidence on synthetic images: it shows where to look, and does not replace validation on real patients.",
        f"Each sweep shows {made[way]} (n = {len(subjects)}, {len(set(subjects.units))} patients) with one factor set and the others held.",
        f"Broken: the interval lies below {share:.0%} of the score at the first value, and so does the paired one; 'none shown' is not 'none'.",
    ]
    if threshold is None:
        notes.append(f"No threshold was given: sensitivity and specificity are taken at a chance of {THRESHOLD}, which may not be the one in use.")
    unread = [name for name in sweeps if reader is None or name not in reader.schema]
    if way != EXACT and truth is None and unread:
        notes.append(f"Whether the images show what they say is not assessed for {', '.join(unread)}: no judge reads it.")
    for name, cohorts in samples.items():
        blank = int(next(iter(cohorts.values())).table[name].isna().sum())
        if blank:
            notes.append(f"{name} does not apply in {blank} of {len(subjects)} images, which stay as they are.")
    return list(dict.fromkeys([*notes, *subjects.notes]))


def _unable(frame: pd.DataFrame) -> list[str]:
    """What cannot break, since it was no better than chance to begin with."""
    first = frame[(frame["measure"] == AUC) & frame["change"].isna()]
    names = [f"{row.factor} ({row.images})" for row in first.itertuples() if not row.low > 0.5]
    return [f"At the first value the AUC is not surely above 0.5 for {', '.join(names)}: there is little to break."] if names else []
