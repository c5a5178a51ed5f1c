"""Utility: do synthetic images teach a classifier what real ones teach it? Trained on either, tested on real patients."""
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from synthkit.core.budget import Budget, Steps, resolve
from synthkit.core.cohort import Cohort
from synthkit.core.result import Tabled
from synthkit.errors import DataError
from synthkit.metrics.arms import BASELINE, MIXED, SYNTHETIC, Arms, prepared
from synthkit.metrics.paired import Paired, verdict
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import CHANCE, Reading

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BUDGETS = {"smoke": 20, "lesson": 300, "full": 5_000}
FEWEST_SEEDS = 3
REVERSED = "train real, test synthetic"
NAMES = ("trained and tested as named at the left, or its difference", "train real, test real, or no difference")
COLUMNS = ("factor", "arm", "measure", "value", "low", "high", "difference", "diff_low", "diff_high", "n_train", "n_test", "seeds", "steps", "verdict")


@dataclass(frozen=True, eq=False, repr=False)
class Utility(Tabled):
    """What classifiers learnt from synthetic images is worth on real patients, beside the same classifiers learnt from real ones.

    Args:
        rows: one per factor and arm: the mean over seeds with its 95 % interval, the paired difference to the real-only
            arm with its own, images, seeds, steps and a verdict.
        notes: what must be said beside them.
    """

    def figure(self) -> "Figure":
        """Each arm with its interval (the real-only arm as a red mark), and below its difference to that arm (zero as the mark)."""
        from synthkit.core.figures import interval_plot

        base = self.rows[self.rows["arm"] == BASELINE].set_index("factor")["value"]
        values = self.rows.assign(metric=self.rows["measure"] + " of " + self.rows["factor"], group=self.rows["arm"], floor=self.rows["factor"].map(base))
        paired = values[values["difference"].notna() & (values["arm"] != BASELINE)]
        ends = {"value": paired["difference"], "low": paired["diff_low"], "high": paired["diff_high"]}
        paired = paired.assign(metric="Difference in " + paired["metric"], floor=0.0, **ends)
        return interval_plot(pd.concat([values, paired]), title=self.title, names=NAMES)


def utility(
    task: Classifier | str, *, real: Cohort, fake: Cohort, test: Cohort, seeds: Iterable[int] = range(3), budget: Budget = "lesson", mixed: bool = False,
    progress: bool = True,
) -> Utility:  # fmt: skip
    """What synthetic images are worth for training: train on synthetic, test on real (TSTR), beside the real-only baseline.

    Every arm trains the same recipe for the same number of steps on equally many images (the mixed arm on both sets), without
    early stopping; arms of one seed start from the same weights. The paired difference to the real-only arm decides the verdict.
    Train on real, test on synthetic (TRTS) is scored on other images and therefore not compared.

    Args:
        task: a classifier recipe, or the factor to predict.
        real: real patients to train on; the larger of `real` and `fake` is cut to the size of the smaller.
        fake: synthetic images from a generator that never saw a patient of `test`.
        test: real patients of neither.
        seeds: of the training runs; under 3 there is no verdict.
        budget: "smoke", "lesson", "full" or steps, of each run.
        mixed: also train on both sets together, for as many steps.
    Returns:
        Utility: AUC (categories) or R² (quantities) by factor and arm. Intervals carry the choice of the test patients and
        of the seeds, not of the training patients.
    Raises:
        LeakageError: a patient of `test` in `real` or `fake`.
        DataError: other image sizes or windows, a level of `test` that `real` or `fake` does not have, a budget in minutes.
        SchemaError: a factor that a cohort lacks or declares otherwise.

    Example:
        sk.utility("effusion", real=train, fake=generator.sample(train.table, seed=0), test=test)
    """
    task = Classifier(task) if isinstance(task, str) else task
    seeds, steps = _seeds(seeds), resolve(budget, BUDGETS)
    if not isinstance(steps, Steps):
        raise DataError(f"budget={budget!r}: arms are compared at equal steps, which minutes do not give; give Steps({BUDGETS['lesson']}), say")
    arms = prepared(task, real=real, fake=fake, test=test, mixed=mixed)
    taught = _fitted(task, arms, seeds, steps, progress)
    rows = [row for name in task.targets for row in _rows(name, arms, taught, seeds, steps)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    title, used = f"Utility of {fake.provenance.source} for training, tested on {test.provenance.source}", {"test": test, "synthetic": fake, "train": real}
    return Utility(title, frame, tuple(_notes(frame, arms, seeds, task)), cohorts=used)


def _seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    given = (seeds,) if isinstance(seeds, int) else tuple(int(seed) for seed in seeds)
    if not given or len(set(given)) < len(given):
        raise DataError(f"seeds={given}: give distinct whole numbers, three or more for a verdict")
    return given


def _fitted(task: Classifier, arms: Arms, seeds: tuple[int, ...], steps: Steps, progress: bool) -> dict[str, list[Predictor]]:
    """One predictor per arm and seed."""
    from tqdm.auto import tqdm

    runs = [(arm, seed) for arm in arms.train for seed in seeds]
    taught: dict[str, list[Predictor]] = {arm: [] for arm in arms.train}
    for arm, seed in tqdm(runs, desc="Utility", unit="run", mininterval=1.0, disable=not progress):
        taught[arm].append(task.fit(arms.train[arm], budget=steps, seed=seed, early_stopping=False, progress=False))
    return taught


def _rows(name: str, arms: Arms, taught: Mapping[str, list[Predictor]], seeds: tuple[int, ...], steps: Steps) -> list[dict[str, Any]]:
    """The rows of one factor."""

    def read(arm: str, cohort: Cohort) -> list[Reading]:
        return [found for one in taught[arm] if (found := Reading.of(one.schema[name], one.predict(cohort), cohort.table))]

    readings = {arm: read(arm, arms.test) for arm in taught}
    scores = Paired.of(readings)
    base = scores.mean(BASELINE)
    measure = readings[BASELINE][0].measure
    common = {"factor": name, "measure": measure, "seeds": len(seeds), "steps": steps.count}
    sure = len(seeds) >= FEWEST_SEEDS
    rows = []
    for arm in taught:
        difference = scores.difference(arm, BASELINE)
        said = "baseline" if arm == BASELINE else verdict(difference, able=base.low > CHANCE[measure]) if sure else "not assessed"
        rows.append({**common, "arm": arm, **asdict(scores.mean(arm)), "difference": difference.value, "diff_low": difference.low, "diff_high": difference.high,
                     "n_train": len(arms.train[arm]), "n_test": len(readings[arm][0]), "verdict": said})  # fmt: skip
    if arms.reversible:
        other = read(BASELINE, arms.fake)
        mean = Paired.of({REVERSED: other}).mean(REVERSED)
        rows.append({**common, "arm": REVERSED, **asdict(mean), "n_train": len(arms.train[BASELINE]), "n_test": len(other[0]), "verdict": "not compared"})
    return rows


def _notes(frame: pd.DataFrame, arms: Arms, seeds: tuple[int, ...], task: Classifier) -> list[str]:
    notes = [
        f"Every arm trained {frame['steps'].iloc[0]} steps from the same starting weights per seed, without early stopping, on {arms.cut}",
        "The synthetic images must come from a generator trained on `real` or on other patients than `test`; a synthetic cohort does not name its patients.",
        "Intervals carry the choice of the test patients and of the training seeds, not another draw of the training patients or of the generator.",
    ]
    if len(seeds) < FEWEST_SEEDS:
        notes.append(f"{len(seeds)} seed(s): training runs differ by chance, and under {FEWEST_SEEDS} no verdict is given.")
    for row in frame.itertuples():
        if row.verdict == "no difference shown":
            notes.append(f"{row.factor}, {row.arm}: no difference shown, which leaves open anything from {row.diff_low:+.3f} to {row.diff_high:+.3f}.")
        if row.arm == BASELINE and not row.low > CHANCE[row.measure]:
            notes.append(f"{row.factor}: trained on real images, the task itself is not surely learnt; more steps or images are needed for a verdict.")
    if arms.reversible:
        notes.append(f"'{REVERSED}' is scored on synthetic images, so it is not compared with the other arms.")
    else:
        notes.append(f"'{REVERSED}' is left out: the synthetic images are edits of patients in `real`.")
    if task.batch_size * frame["steps"].iloc[0] < len(arms.train[MIXED if MIXED in arms.train else SYNTHETIC]):
        notes.append("The steps do not reach every training image once.")
    return [*notes, *arms.notes]
