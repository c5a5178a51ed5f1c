"""Which family of generators for these data: all held against the same patients, requests, seeds and budget."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.budget import Budget
from synthkit.core.cohort import Cohort
from synthkit.core.figures import interval_plot, picture_figure, plane
from synthkit.core.randomness import permutation
from synthkit.core.result import Tabled
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
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
from synthkit.studies.families.editing import prepared_edits, trials
from synthkit.studies.families.family import Candidates, announced, fitted, named, require_usable
from synthkit.studies.families.ledger import ADHERENCE, COST, Ledger, adherence_rows, editing_rows, quality_rows
from synthkit.studies.families.notes import notes_of
from synthkit.studies.families.yardstick import Yardstick
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

USUAL: tuple[Metric, ...] = (KID(), FrechetDistance(), Precision(), SpectrumDistance(), Recall(), Coverage(), Vendi())
SHARES, WITHOUT_JUDGE = (0.6, 0.2, 0.2), (0.75, 0.25)
SHOWN = 10  # images of each family in the sheet
DRAWN_COSTS = ("training (min)", "time per image (ms)", "memory of sampling (MB)", "parameters (millions)")
MARKS = ("family", "real against real, or the judge on real images")


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Tabled):
    """Families of generators side by side.

    Args:
        rows: one per family and measure: value, 95 % interval, n, the real floor, and the difference from the first family with a
            simultaneous 95 % interval and what it shows (`against_first`).
        notes: what must be said beside them.
        real: the test images whose factors were asked for.
        samples: each family's images of these requests, row by row.
        generators: the families, ready to use.
    """

    real: Cohort | None = None
    samples: Mapping[str, Cohort] = field(default_factory=dict)
    generators: Mapping[str, Generator] = field(default_factory=dict)

    def overview(self) -> pd.DataFrame:
        """Families side by side: one row per measure, its value and interval as text, `*` where it differs from the first family."""
        lines = self.rows.assign(text=[_text(row) for row in self.rows.to_dict("records")], order=range(len(self.rows)))
        lines["measure"] = lines["measure"].where(lines["group"] == "all", lines["measure"] + ", " + lines["group"].astype(str))
        table = lines.pivot_table(index=["aspect", "measure"], columns="family", values="text", aggfunc="first", sort=False)
        return table[list(self.samples)].fillna("").reset_index().rename_axis(columns=None)

    def figure(self) -> "Figure":
        """One panel per measure: each family with its interval, and the real floor in red."""
        kept = (self.rows["aspect"] != COST) | self.rows["measure"].isin(DRAWN_COSTS)
        levels = (self.rows["aspect"] == ADHERENCE) & self.rows["group"].astype(str).str.contains("=", regex=False)
        frame = self.rows[kept & ~levels & self.rows["value"].notna()]
        panel = frame["measure"].where(frame["group"] == "all", frame["measure"] + ", " + frame["group"].astype(str))
        return interval_plot(frame.assign(metric=panel, group=frame["family"]), title=self.title, names=MARKS)

    def sheet(self, *, images: int = SHOWN) -> "Figure":
        """Images of every family for the same requests: a column is one request, the first row the patient whose factors it names."""
        if self.real is None or not self.samples:
            raise DataError("this comparison carries no images; sheet() needs one made by sk.compare")
        cohorts = {"test image": self.real, **self.samples}
        rows = [[plane(cohort.images[i]) for i in range(min(images, len(cohort)))] for cohort in cohorts.values()]
        return picture_figure(rows, title="The same requests to every family", row_names=list(cohorts), caption="all but the first row are synthetic")


def _text(row: Mapping[str, object]) -> str:
    if not np.isfinite(row["value"]):
        return str(row["reading"])
    apart = " *" if row["against_first"] in ("better", "worse") else ""
    ends = f" [{row['low']:.3g}, {row['high']:.3g}]" if np.isfinite(row["low"]) else ""
    return f"{row['value']:.4g}{ends}{apart}"


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
    real = test[np.sort(permutation(len(test), seed=seed, identity="requests", stream="compare")[: _whole(count)])]
    wanted, notes = prepared_edits(edits, real, truth)
    say(f"{announced(families, budget)}; then {len(real)} images of each, for the factors of test patients")
    ready = fitted(families, train, budget=budget, seed=seed, run=Path(run) if run else None, say=say)
    say("sample, look and score")
    yardstick = Yardstick.of(real, train=train, judge=judge, metrics=asked, extractor=extractor, seed=seed)
    fakes = {family.name: family.generator.sample(real.table, seed=seed) for family in ready}
    predictor = _judge(judge, real, yardstick, own=extractor is not None, seed=seed)
    ledger = Ledger()
    quality_rows(ledger, yardstick, fakes)
    if predictor is not None:
        adherence_rows(ledger, predictor, yardstick, real, fakes)
    editing_rows(ledger, {family.name: trials(family.generator, real, wanted, predictor, seed=seed) for family in ready})
    for family in ready:
        say(f"costs of {family.name}")
        cost_rows(ledger, family, real, measure=footprints)
    frame = ledger.frame()
    told = [*notes_of(frame, ready, budget, len(real), yardstick), *notes, *ledger.notes, *real.notes]
    title = f"{len(ready)} families on {data.provenance.source}"
    return Comparison(title, frame, tuple(dict.fromkeys(told)), real, fakes, {family.name: family.generator for family in ready})


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
