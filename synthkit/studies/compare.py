"""Which family of generators for these data: all held against the same patients, requests, seeds and budget."""
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from synthkit.core.budget import Budget
from synthkit.core.cohort import Cohort
from synthkit.core.randomness import permutation
from synthkit.errors import DataError
from synthkit.explanation.edits import Edit, prepared_edits
from synthkit.metrics.adherence import ENOUGH, fit_judge
from synthkit.metrics.asked import LEAST, require_cohorts, required_metrics
from synthkit.metrics.comparison import FEW
from synthkit.metrics.extractors import judge_eyes
from synthkit.metrics.features import Extractor, Features
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import ImageMetric, Metric
from synthkit.metrics.neighbours import Coverage, Precision, Recall
from synthkit.metrics.phantom_judge import phantom_judge
from synthkit.metrics.spectrum import SpectrumDistance
from synthkit.metrics.vendi import Vendi
from synthkit.phantoms.phantom import Phantom
from synthkit.studies.families.costs import cost_rows
from synthkit.studies.families.editing import trials
from synthkit.studies.families.family import Candidates, Family, announced, fitted, named, require_usable
from synthkit.studies.families.notes import notes_of
from synthkit.studies.families.result import Comparison
from synthkit.studies.families.scoreboard import Scoreboard, adherence_rows, editing_rows, quality_rows
from synthkit.studies.families.yardstick import Yardstick
from synthkit.tasks.predictor import Predictor

USUAL: tuple[Metric, ...] = (KID(), FrechetDistance(), Precision(), SpectrumDistance(), Recall(), Coverage(), Vendi())
SHARES, WITHOUT_JUDGE = (0.6, 0.2, 0.2), (0.75, 0.25)


def compare(
    candidates: Candidates, data: Cohort, *, test: Cohort | None = None, judge: Cohort | Predictor | Phantom | None = None,
    truth: Phantom | None = None, budget: Budget = "lesson", seed: int = 0, count: int = 512, run: str | Path | None = None,
    edits: Sequence[Mapping[str, object]] | None = None, metrics: Sequence[Metric] | None = None,
    extractor: str | Features | Extractor | None = None, footprints: bool = True, say: Callable[[str], None] = print,
) -> Comparison:  # fmt: skip
    """Fidelity, coverage, adherence, editability and cost of several families, on the same patients and requests.

    Recipes are fitted here in one budget each; fitted generators are taken as they are. Every family is asked for the same
    images (the factors of test patients) from the same seeds, so that differences from the first family are paired.

    Args:
        candidates: recipes and fitted generators, in a list or by name; the first one is what the others are held against.
        data: patients to learn from; with `test` left out they are split by patient, 60 % to learn, 20 % for the judge, 20 % to test.
        test: patients that no family sees, whose factors are asked for.
        judge: as of `sk.evaluate`: patients, a fitted predictor, or the phantom that drew the data; with `test` given and no judge,
            adherence is left out.
        truth: the phantom that drew the data: edits are then scored against exact counterfactuals. Left out, `judge` where it is a phantom.
        budget: of each recipe: `sk.Minutes(5)` for equal time, steps for equal steps (an equal number of which differs in cost).
        seed: of every fit, sample, split and resample.
        count: images to ask for, at most as many as there are test images.
        run: folder; interrupted fits found there go on, finished ones are read back, and every generator is saved.
        edits: interventions of one factor each, such as `{"effusion": "absent"}`; left out, up to three that the test images allow.
        metrics, extractor: as of `sk.evaluate`; left out, KID, Fréchet, precision, spectrum, recall, coverage and Vendi.
        footprints: measure time and memory, in processes of their own.
        say: called with a line of progress.
    Raises:
        DataError: no family, unlike images, too few of them, an edit that nothing allows.
        LeakageError: a patient in two of train, judge and test, or one that a fitted generator learnt from in judge or test.

    Example:
        sk.compare([sk.VAE(), sk.GAN(), sk.Diffusion()], data, budget=sk.Minutes(5), run="families")
    """
    families = named(candidates)
    train, judge, test = _parts(data, judge, test, seed)
    truth = judge if truth is None and isinstance(judge, Phantom) else truth
    asked = required_metrics(_fitting(data) if metrics is None else metrics)
    require_cohorts(test, test, train, judge)
    require_usable(families, train, {"test": test, **({"judge": judge} if isinstance(judge, Cohort) else {})}, budget)
    real = _asked_like(test, count, seed)
    wanted, notes = prepared_edits(edits, real, truth)
    say(f"{announced(families, budget)}; then {len(real)} images of each, for the factors of test patients")
    ready = fitted(families, train, budget=budget, seed=seed, run=Path(run) if run else None, say=say)
    say("sample, look and score")
    yardstick = Yardstick.of(real, train=train, judge=judge, metrics=asked, extractor=extractor, seed=seed)
    fakes = {family.name: family.generator.sample(real.table, seed=seed) for family in ready}
    predictor = _judge(judge, real, yardstick, own=extractor is not None, seed=seed)
    board = _scored(ready, real, fakes, yardstick, predictor, wanted)
    for family in ready:
        say(f"costs of {family.name}")
        cost_rows(board, family, real, measure=footprints)
    frame = board.frame()
    told = [*notes_of(frame, ready, budget, len(real), yardstick), *notes, *board.notes, *real.notes]
    title = f"{len(ready)} families on {data.provenance.source}"
    return Comparison(title, frame, tuple(dict.fromkeys(told)), real, fakes, {family.name: family.generator for family in ready})


def _scored(
    ready: Sequence[Family], real: Cohort, fakes: Mapping[str, Cohort], yardstick: Yardstick, predictor: Predictor | None, edits: Sequence[Edit]
) -> Scoreboard:  # fmt: skip
    """Fidelity, coverage, adherence and edits of every family."""
    board = Scoreboard()
    quality_rows(board, yardstick, fakes)
    if predictor is not None:
        adherence_rows(board, predictor, yardstick, real, fakes)
    editing_rows(board, {family.name: trials(family.generator, real, edits, predictor, seed=yardstick.seed) for family in ready})
    return board


def _asked_like(test: Cohort, count: int, seed: int) -> Cohort:
    """The test images whose factors are asked for, at most `count` of them, drawn at random."""
    return test[np.sort(permutation(len(test), seed=seed, identity="requests", stream="compare")[: _whole(count)])]


def _whole(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < LEAST:
        raise DataError(f"count={count!r}: ask for {LEAST} images or more ({FEW} for a score worth reading)")
    return int(count)


def _fitting(data: Cohort) -> tuple[Metric, ...]:
    return tuple(metric for metric in USUAL if not isinstance(metric, ImageMetric) or min(data.space.size) >= metric.smallest)


def _parts(data: Cohort, judge: object, test: Cohort | None, seed: int) -> tuple[Cohort, object, Cohort]:
    """Whom the families learn from, who judges, and who is tested."""
    if not isinstance(data, Cohort):
        raise DataError(f"compare: data is {type(data).__name__}; give a cohort, from sk.load or a phantom")
    if test is not None:
        return data, judge, test
    if judge is None:
        return data.split(SHARES, by="patient_id", seed=seed)
    train, test = data.split(WITHOUT_JUDGE, by="patient_id", seed=seed)
    return train, judge, test


def _judge(judge: object, real: Cohort, yardstick: Yardstick, *, own: bool, seed: int) -> Predictor | None:
    """The judge, fitted once for all families: they are asked for the same factors."""
    if judge is None or isinstance(judge, Predictor):
        return judge
    if isinstance(judge, Phantom):
        return phantom_judge(judge)
    eyes = yardstick.eyes if own or len(judge) >= ENOUGH else judge_eyes(judge, yardstick.learn)
    return fit_judge(judge, real, eyes, seed=seed)
