"""The rows of a comparison: every family's scores, and what the differences from the first family show."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import Z
from synthkit.metrics.adherence import adherence
from synthkit.metrics.ceiling import common_levels
from synthkit.metrics.paired import Paired
from synthkit.studies.families.editing import Trial
from synthkit.studies.families.yardstick import Difference, Yardstick
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

COLUMNS = (
    "family", "aspect", "measure", "group", "value", "low", "high", "n", "floor", "floor_low", "floor_high", "better", "reading",
    "difference", "diff_low", "diff_high", "against_first",
)  # fmt: skip
COVERING = ("Recall", "Coverage", "Vendi")  # the other metrics tell of fidelity
FIDELITY, COVERAGE, ADHERENCE, EDITING, COST = "fidelity", "coverage", "adherence", "editing", "cost"
BASELINE, SAME = "the first", "no difference shown"


@dataclass(eq=False)
class Scoreboard:
    """Rows as they come, with the standard error of each difference until all are known."""

    rows: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, family: str, aspect: str, difference: Difference | None = None, **row: object) -> None:
        """One row; `difference` is that from the first family, whose own rows have none."""
        apart = {} if difference is None else {"difference": difference.value, "_error": difference.error, "_freedom": difference.freedom}
        self.rows.append({"family": family, "aspect": aspect, **row, **apart})

    def frame(self) -> pd.DataFrame:
        """All rows, the verdicts in them; the intervals of the differences (Student's) share the 5 % of error (Bonferroni)."""
        from scipy.stats import t

        table = pd.DataFrame(self.rows).reindex(columns=[*COLUMNS, "_error", "_freedom"])
        count = max(1, int(table["_error"].notna().sum()))
        reach = t.ppf(1 - 0.025 / count, table["_freedom"].to_numpy(float)) * table["_error"]
        table["diff_low"], table["diff_high"] = table["difference"] - reach, table["difference"] + reach
        first = self.rows[0]["family"] if self.rows else ""
        table["against_first"] = [_verdict(row, first) for row in table.to_dict("records")]
        return table[list(COLUMNS)]


def _verdict(row: Mapping[str, object], first: str) -> str:
    if row["aspect"] == COST:
        return ""
    if row["family"] == first:
        return BASELINE
    if not np.isfinite(row["diff_low"]):
        return "not assessed"
    # Rounding is no difference.
    if row["diff_low"] <= 1e-9 and row["diff_high"] >= -1e-9:
        return SAME
    return "better" if (row["difference"] > 0) == (row["better"] == "higher") else "worse"


def quality_rows(board: Scoreboard, yardstick: Yardstick, fakes: Mapping[str, Cohort]) -> None:
    """Fidelity and coverage of every family."""
    seen = {family: yardstick.look(fake) for family, fake in fakes.items()}
    first = next(iter(fakes))
    for family in fakes:
        for metric in yardstick.metrics:
            mine, theirs = seen[family][metric.name], seen[first][metric.name]
            row = yardstick.row(metric, mine)
            apart = None if family == first else yardstick.difference(metric, mine, theirs)
            aspect = COVERAGE if type(metric).__name__ in COVERING else FIDELITY
            kept = {name: row[name] for name in ("value", "low", "high", "floor", "floor_low", "floor_high", "better", "reading")}
            board.add(family, aspect, apart, measure=metric.name, group="all", n=row["n_fake"], **kept)


def adherence_rows(board: Scoreboard, judge: Predictor, yardstick: Yardstick, real: Cohort, fakes: Mapping[str, Cohort]) -> None:
    """Whether each family shows the factors that were asked for; differences are paired by request."""
    first = next(iter(fakes))
    on_real = judge.predict(real)
    guesses = {family: judge.predict(fake) for family, fake in fakes.items()}
    for family, fake in fakes.items():
        rows, notes = adherence(judge, real=real, fake=fake, eyes=yardstick.eyes, seed=yardstick.seed)
        board.notes += [note if len(fakes) == 1 or family == first else f"{family}: {note}" for note in notes if note not in board.notes]
        for row in rows:
            apart = None
            if family != first and row["group"] in judge.schema:
                apart = _paired(judge, str(row["group"]), real, on_real, [(fakes[name], guesses[name]) for name in (family, first)], yardstick.seed)
            kept = {name: row[name] for name in ("group", "value", "low", "high", "floor", "floor_low", "floor_high", "better", "reading")}
            board.add(family, ADHERENCE, apart, measure=row["metric"], n=row["n_fake"], **kept)


def _paired(
    judge: Predictor, name: str, real: Cohort, on_real: pd.DataFrame, pair: Sequence[tuple[Cohort, pd.DataFrame]], seed: int
) -> Difference | None:  # fmt: skip
    """The judge's score on one family minus that on another, resampled by request."""
    truth = Reading.of(judge.schema[name], on_real, real.table)
    readings = [Reading.of(judge.schema[name], guess, fake.table) for fake, guess in pair]
    if truth is None or any(one is None for one in readings):
        return None
    shared = [common_levels(one, truth) for one in readings]
    if any(one is None for one in shared):
        return None
    apart = Paired.of({"this": [shared[0][0]], "first": [shared[1][0]]}, seed=seed).difference("this", "first")
    return Difference(apart.value, (apart.high - apart.value) / Z)


def editing_rows(board: Scoreboard, trials: Mapping[str, Sequence[Trial]]) -> None:
    """Round trips and edits; a family without an encoder has one row that says so."""
    first = next(iter(trials))
    known = {(trial.measure, trial.group): trial for trial in trials[first]}
    for family, found in trials.items():
        if not found:
            board.add(family, EDITING, measure="edits images", group="all", reading="no: its network has no encoder")
        for trial in found:
            other = known.get((trial.measure, trial.group))
            apart = None if other is None or family == first else Difference(*trial.minus(other))
            low, high = trial.interval
            board.add(family, EDITING, apart, measure=trial.measure, group=trial.group, value=trial.value, low=low, high=high, n=trial.n,
                       floor=trial.ceiling, better=trial.better, reading="")  # fmt: skip
