"""How well a family edits: its raw round trip, its edits against exact truth, and in the eyes of a judge."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import Z, percentile_interval, resampled, wilson
from synthkit.core.schema import Category
from synthkit.explanation.counterfactual import counterfactual
from synthkit.explanation.edits import EDITED, Edit
from synthkit.explanation.exactness import pooled_skill
from synthkit.generators.generator import Generator
from synthkit.metrics.ceiling import sees
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

TIMES = 300
TRIP, SKILL, SEEN = "raw round trip (/255)", "edit R2_delta", "edits read as asked"


@dataclass(frozen=True, eq=False)
class Trial:
    """One measure of one family's edits: the value, and its draws on resamples of the patients that all families share.

    Args:
        measure, group: which measure, and of which edit.
        better: "lower" or "higher".
        ceiling: how many real images with the value the judge reads so; not a number elsewhere.
        least: standard error that the draws of a share cannot show at 0 and 1.
    """

    measure: str
    group: str
    value: float
    draws: np.ndarray
    n: int
    better: str
    ceiling: float = float("nan")
    least: float = 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """95 % over patients; a share's is no narrower than Wilson's."""
        low, high = percentile_interval(self.draws)
        if self.measure != SEEN:
            return low, high
        least, most = wilson(round(self.value * self.n), self.n)
        return min(low, least), max(high, most)

    def minus(self, other: "Trial") -> tuple[float, float]:
        """The difference from another family's trial on the same images, and its standard error."""
        return self.value - other.value, float(np.hypot(np.std(self.draws - other.draws), np.hypot(self.least, other.least)))


def trials(generator: Generator, cohort: Cohort, edits: Sequence[Edit], judge: Predictor | None, *, seed: int) -> list[Trial]:
    """All measures of one family's edits, `cohort` being the test images; none where its network has no encoder."""
    if not generator.can_edit:
        return []
    few = cohort[:EDITED]
    trip = (generator.decode(generator.encode(few), few.table) - few.images.tensor()).abs().flatten(1).mean(1).numpy() * 127.5
    found = [_trial(TRIP, "all", few, lambda rows: float(trip[rows].mean()), "lower", seed)]
    for edit in edits:
        if edit.factor in generator.schema:
            found += _of_edit(generator, edit, cohort, judge, seed)
    return found


def _of_edit(generator: Generator, edit: Edit, real: Cohort, judge: Predictor | None, seed: int) -> list[Trial]:
    made, found = counterfactual(generator, edit.cohort, {edit.factor: edit.value}).edited, []
    if edit.truth is not None:
        skill = pooled_skill(*(cohort.images.tensor() for cohort in (made, edit.cohort, edit.truth)))
        found.append(_trial(SKILL, edit.name, edit.cohort, skill, "higher", seed))
    if judge is not None and _reads(judge, edit.factor, real):
        reads = _read_as(judge, made, edit)
        shows = real[np.flatnonzero((real.table[edit.factor] == edit.value).to_numpy())]
        ceiling = float(_read_as(judge, shows, edit).mean()) if len(shows) else float("nan")
        found.append(_trial(SEEN, edit.name, edit.cohort, lambda rows: float(reads[rows].mean()), "higher", seed, ceiling))
    return found


def _reads(judge: Predictor, name: str, real: Cohort) -> bool:
    """Whether the judge knows this category, and surely tells its levels apart on real images."""
    if name not in judge.schema or not isinstance(judge.schema[name], Category):
        return False
    reading = Reading.of(judge.schema[name], judge.predict(real), real.table)
    return reading is not None and sees(reading, seed=0)


def _read_as(judge: Predictor, cohort: Cohort, edit: Edit) -> np.ndarray:
    """(N,) 1 where the level asked for is the likeliest to the judge, else 0."""
    chances = judge.predict(cohort)[[f"p_{edit.factor}_{level}" for level in judge.schema[edit.factor].levels]].to_numpy()
    return (chances.argmax(1) == judge.schema[edit.factor].levels.index(str(edit.value))).astype(float)


def _trial(
    measure: str, group: str, cohort: Cohort, statistic: Callable[[np.ndarray], float], better: str, seed: int, ceiling: float = float("nan")
) -> Trial:  # fmt: skip
    units = cohort.table["patient_id"].to_numpy()
    draws = resampled(statistic, units, times=TIMES, seed=seed, stream="edits")
    value = statistic(np.arange(len(cohort)))
    # A share of 0 or 1 in every draw is not certain: the standard error that Wilson's interval carries there.
    low, high = wilson(round(value * len(cohort)), len(cohort)) if measure == SEEN and value in (0, 1) else (0.0, 0.0)
    return Trial(measure, group, value, draws, len(cohort), better, ceiling, (high - low) / (2 * Z))
