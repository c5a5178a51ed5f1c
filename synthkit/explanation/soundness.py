"""Is an editor sound? Each edit against exact truth where it is known, against itself, and in the eyes of a judge."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.kinds import require_kind
from synthkit.core.pixels import Pixels
from synthkit.core.result import Tabled
from synthkit.errors import DataError
from synthkit.explanation.edits import Edit, prepared_edits
from synthkit.explanation.making import Made, made
from synthkit.explanation.measures import Statistic, against_itself, against_truth, effective, leakage
from synthkit.generators.generator import Generator
from synthkit.metrics.phantom_judge import phantom_judge
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("factor", "edit", "n", "r2_delta", "r2_delta_low", "r2_delta_high", "r2_delta_median", "r2_delta_redraw", "r2_delta_neighbour", "tea_e", "tea_a",
           "composition_raw", "reversibility_raw", "effectiveness", "effectiveness_low", "effectiveness_high", "effectiveness_of", "outside_l1", "outside_max",
           "leakage_sd", "leaks_into")  # fmt: skip
INTERVALS = ("r2_delta", "effectiveness")


@dataclass(frozen=True, eq=False, repr=False)
class Soundness(Tabled):
    """One row per factor and edit; doing nothing scores 0 in r2_delta by definition."""

    def figure(self) -> "Figure":
        """r2_delta of every edit with its interval (red: doing nothing), or, without the truth, what the judge reads."""
        from synthkit.core.figures import interval_plot

        name = "r2_delta" if self.rows["r2_delta"].notna().any() else "effectiveness"
        rows = self.rows[self.rows[name].notna()]
        metric = "R2_delta" if name == "r2_delta" else rows["effectiveness_of"]
        ends = {"value": rows[name], "low": rows[f"{name}_low"], "high": rows[f"{name}_high"]}
        shown = pd.DataFrame({"metric": metric, "group": rows["edit"], **ends, "floor": 0.0 if name == "r2_delta" else np.nan})
        return interval_plot(shown, title=self.title, names=("edit", "doing nothing"))

    def failing(self) -> list[str]:
        """The edits that are not surely better than doing nothing, the redraw and the neighbour; all, where no truth is known."""
        best = self.rows[["r2_delta_redraw", "r2_delta_neighbour"]].max(axis=1).clip(lower=0).fillna(0)
        return self.rows.loc[~(self.rows["r2_delta_low"] > best), "edit"].tolist()


def soundness(
    generator: Generator, patients: Cohort, *, truth: Phantom | None = None, judge: Predictor | Phantom | None = None,
    edits: Sequence[Mapping[str, object]] | None = None, library: Cohort | None = None, count: int = 64, seed: int = 0,
) -> Soundness:  # fmt: skip
    """How right a generator's edits are, one row per factor and edit.

    Against the truth: r2_delta (pooled and median; 1 is exact, 0 as good as doing nothing), beside that of a redraw (the wanted
    factors from other noise) and of the nearest other patient who has the wanted value; TEA e and a; the error outside the region
    that truly changes. Against itself: raw composition and reversibility, without the residual that makes them trivially zero.
    By a judge: effectiveness, and leakage into other factors, in SD of its readings.

    Args:
        patients: images that the generator has not learnt from.
        truth: the phantom that drew them; without it the exact scores stay blank.
        judge: a predictor of the factors that learnt from other patients, or a phantom; left out, that of `truth`.
        edits: interventions of one factor each; left out, up to three that the patients allow.
        library: where the nearest patients are looked for; left out, `patients`.
        count: images per edit, at most.
        seed: of the redraw.
    Raises:
        LeakageError: a patient whom generator or judge learnt from.
        AbilityError: a generator without an encoder.
        DataError: no edit changes enough images, or neither truth nor judge.

    Example:
        sk.soundness(gen, chest.cohort(200, seed=9), truth=chest, edits=[{"effusion": "absent"}, {"age": 80}])
    """
    require_kind("generator", generator, Generator, "a fitted generator")
    require_kind("patients", patients, Cohort, "the images to edit, as a cohort")
    generator.require_editable("edit")
    generator.require_unseen(patients)
    require_kind("truth", truth, (Phantom, type(None)), "the phantom that drew the patients, or None")
    require_kind("judge", judge, (Predictor, Phantom, type(None)), "a predictor of the factors, or a phantom")
    require_kind("library", library, (Cohort, type(None)), "a cohort of other patients, or None")
    if library is not None and not library.space.matches(patients.space):
        raise DataError(f"library: its images differ from the patients': {patients.space.difference(library.space)}")
    if edits is not None and not len(edits):
        raise DataError("edits=[]: name one edit or more, such as [{'effusion': 'absent'}], or leave it out")
    judge = truth if judge is None else judge
    if judge is None:
        raise DataError("soundness needs truth=, the phantom that drew the patients, or judge=, a predictor that learnt from other patients")
    reader = phantom_judge(judge) if isinstance(judge, Phantom) else judge
    reader.require_unseen(patients)
    ready, notes = prepared_edits(edits, patients, truth, most=count)
    if not ready:
        raise DataError(f"soundness: no edit changes enough images; {' '.join(notes)}")
    unread = sorted({edit.factor for edit in ready if edit.factor not in reader.schema})
    if unread and truth is None:
        if len(unread) == len({edit.factor for edit in ready}):
            raise DataError(f"judge: it reads {', '.join(reader.schema.names)} and none of {', '.join(unread)}, and without truth= nobody else could tell; "
                            "give a judge that was taught what the edits change")  # fmt: skip
        notes = [*notes, f"The judge does not read {', '.join(unread)}: whether its edits do what was asked is not known."]
    spread = reader.predict(patients)
    rows = [_row(generator, edit, reader, spread, truth, patients if library is None else library, seed) for edit in ready]
    frame, said = pd.DataFrame(rows, columns=list(COLUMNS)), (*_said(truth), *notes, *patients.notes)
    return Soundness(f"Soundness of {generator.card.name}", frame, said, cohorts={"test": patients})


def _row(
    generator: Generator, edit: Edit, judge: Predictor, spread: pd.DataFrame, truth: Phantom | None, library: Cohort, seed: int
) -> dict[str, Any]:  # fmt: skip
    pictures, do = made(generator, edit, library, seed=seed), {edit.factor: edit.value}
    found: dict[str, Statistic] = against_itself(pictures)
    if truth is not None:
        found |= against_truth(pictures, truth.change_mask(edit.cohort, do))
    row: dict[str, Any] = {"factor": edit.factor, "edit": edit.name, "n": len(edit.cohort)}
    shown = _read(judge, edit, pictures)
    if edit.factor in judge.schema:
        row["effectiveness_of"], found["effectiveness"] = effective(judge, edit, shown)
    like = judge.predict(edit.cohort if edit.truth is None else edit.truth)
    row["leakage_sd"], row["leaks_into"] = leakage(judge.schema, spread, shown, like, do)
    units, every = edit.cohort.table["patient_id"].to_numpy(), np.arange(len(edit.cohort))
    for name, statistic in found.items():
        row[name] = statistic(every)
        if name in INTERVALS:
            row[f"{name}_low"], row[f"{name}_high"] = bootstrap(statistic, units, seed=seed)
    return row


def _read(judge: Predictor, edit: Edit, pictures: Made) -> pd.DataFrame:
    space = edit.cohort.space.sixteen_bit()
    return judge.predict(Cohort(Pixels([space.to_raw(pictures.edited)], space), edit.cohort.table, edit.cohort.schema, edit.cohort.provenance))


def _said(truth: Phantom | None) -> list[str]:
    judged = "The judge is a predictor with errors of its own: its readings of exact twins, or of originals, are what leakage is counted from."
    if truth is None:
        return ["Without exact truth an edit can be checked by a judge, not proven: r2_delta, TEA and the error outside stay blank.", judged]
    return ["Every factor of a phantom can be observed, which flatters an editor; on real images expect less.", judged]
