"""From logs to answers: who was right how often, with readers and cases both left to chance."""
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core.intervals import percentile_interval, wilson
from synthkit.core.randomness import generator
from synthkit.errors import DataError
from synthkit.studies.reader.agreement import krippendorff_alpha
from synthkit.studies.reader.log import read_log
from synthkit.studies.reader.power import equivalent
from synthkit.studies.reader.result import Readings
from synthkit.studies.reader.study import SYNTHETIC, ReaderStudy

TIMES = 400
FEW = 5  # readers of whom intervals are too narrow
COLUMNS = ("measure", "reader", "value", "low", "high", "n")
EVERYBODY = "all readers"
Statistic = Callable[[pd.DataFrame, np.ndarray], float]


def analysed(study: ReaderStudy, logs: Sequence[str | Path], *, margin: float) -> Readings:
    """See `ReaderStudy.analyse`."""
    answers, notes = _answers(study, logs)
    first, again = answers[answers["repeat_of"] < 0], answers[answers["repeat_of"] >= 0]
    rows = [row for name, part in first.groupby("reader", sort=False) for row in _of_one(study, str(name), part)]
    rows += [row for name, part in again.groupby("reader", sort=False) for row in _steadiness(str(name), part, first)]
    more, said = _of_all(study, first, margin)
    table = pd.DataFrame([*rows, *more], columns=[*COLUMNS])
    used = {"test": study.real, "synthetic": study.fake}
    began = str(answers["at"].min())  # rules that were fixed after the first answer came too late
    return Readings(f"Reader study: {study.task}", table, notes=(*said, *notes), answers=answers, task=study.asked, cohorts=used, at=began)


def _answers(study: ReaderStudy, logs: Sequence[str | Path]) -> tuple[pd.DataFrame, list[str]]:
    """One row per answer with what was shown and what is right, and what must be said of the logs."""
    rows, notes = [], []
    for path in logs:
        log = read_log(path)
        if not log.answers:
            raise DataError(f"{path} holds no answer; leave out readers who answered nothing")
        if log.broken:
            notes.append(f"{log.broken} line(s) of {Path(path).name} broke off and are left out.")
        rows += [one.__dict__ for one in log.answers]
    frame = pd.DataFrame(rows)
    foreign = frame.loc[frame["study"] != study.digest, "study"]
    if len(foreign):
        raise DataError(f"the logs hold answers to another study ({foreign.iloc[0]}, this one is {study.digest}); make the study as it was when it was read")
    twice = frame[frame.duplicated(["reader", "trial"])]
    if len(twice):
        raise DataError(f"{twice['reader'].iloc[0]!r} answered trial {twice['trial'].iloc[0]} twice: two readers under one name? Give each a name of their own")
    shown = pd.DataFrame([_shown(study, number) for number in range(len(study.trials))])
    counts = frame["reader"].value_counts()
    notes += [f"{name} answered {count} of {len(study.trials)} trials." for name, count in counts.items() if count < len(study.trials)]
    return frame.drop(columns="study").merge(shown, on="trial"), notes


def _shown(study: ReaderStudy, number: int) -> dict[str, object]:
    trial = study.trials[number]
    kind, row = trial.images[0]
    names = [(study.fake if kind == SYNTHETIC else study.real).table.iloc[row] for kind, row in trial.images]
    # Of two images the patient's counts: synthetic ones stand alone.
    unit = next((one["patient_id"] for one, (side, _) in zip(names, trial.images) if side != SYNTHETIC), names[0]["patient_id"])
    return {"trial": number, "kind": kind if len(trial.images) == 1 else "pair", "truth": trial.truth, "repeat_of": trial.repeat_of,
            "case": " | ".join(one["image_id"] for one in names), "unit": unit}  # fmt: skip


def _of_one(study: ReaderStudy, name: str, part: pd.DataFrame) -> Iterator[dict[str, object]]:
    for measure, (rows, right) in _shares(study, part).items():
        if rows.any():
            yield _row(measure, name, float(right[rows].mean()), wilson(int(right[rows].sum()), int(rows.sum())), int(rows.sum()))
    for measure, statistic in _scores(study).items():
        yield _row(measure, name, statistic(part, np.ones(len(part))), _interval(part, statistic), len(part))
    yield _row("median time (s)", name, float(part["seconds"].median()), (float("nan"),) * 2, len(part))


def _of_all(study: ReaderStudy, first: pd.DataFrame, margin: float) -> tuple[list[dict[str, object]], list[str]]:
    rows, notes, readers = [], [], first["reader"].nunique()
    for measure, (chosen, right) in _shares(study, first).items():
        part = first.assign(right=right)[chosen]
        if not len(part):
            continue
        draws = _draws(part, _mean_right)
        # Where all answers are alike, resamples cannot tell how sure that is.
        interval = wilson(int(part["right"].sum()), len(part)) if not draws.std() else percentile_interval(draws)
        rows.append(_row(measure, EVERYBODY, float(part["right"].mean()), interval, len(part)))
        if measure == "right answers" and study.task in ("real-or-synthetic", "2afc"):
            told = "is" if equivalent(draws, margin=margin) else "is not"
            notes.append(f"Equivalence: the share of right answers {told} shown to lie within {100 * margin:g} points of guessing "
                         "(two one-sided tests at 5 %). That no difference is shown would not mean that there is none.")  # fmt: skip
    for measure, statistic in _scores(study).items():
        rows.append(_row(measure, EVERYBODY, statistic(first, np.ones(len(first))), _interval(first, statistic), len(first)))
    if readers > 1:
        rows += _agreement(study, first)
        if readers < FEW:
            notes.append(f"{readers} readers: how much readers differ is hardly known of so few, and intervals and the test of equivalence are too sure.")
    else:
        notes.append("One reader: intervals carry the choice of cases only, and nothing is said of other readers.")
    return rows, notes


def _shares(study: ReaderStudy, part: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(rows that count, right or not) of every share."""
    every, kind, answer = np.ones(len(part), bool), part["kind"].to_numpy(), part["answer"].to_numpy()
    if study.task == "real-or-synthetic":
        right = (answer >= len(study.asked.answers) // 2) == part["truth"].to_numpy()
        return {"right answers": (every, right), "synthetic called synthetic": (kind == SYNTHETIC, right), "real called real": (kind != SYNTHETIC, right)}
    if study.task == "2afc":
        return {"right answers": (every, answer == part["truth"].to_numpy())}
    if study.task == "plausibility":
        good = answer >= 3
        return {"real called plausible": (kind != SYNTHETIC, good), "synthetic called plausible": (kind == SYNTHETIC, good)}
    right = answer == part["truth"].to_numpy()
    return {"right on real images": (kind != SYNTHETIC, right), "right on synthetic images": (kind == SYNTHETIC, right)}


def _scores(study: ReaderStudy) -> dict[str, Statistic]:
    if study.task == "real-or-synthetic":
        return {"AUC of the confidence": _mean_auc}
    if study.task == "plausibility":
        return {"rating, synthetic - real": _difference("answer")}
    return {"right, synthetic - real": _difference("right")} if study.task == "diagnosis" else {}


def _mean_right(part: pd.DataFrame, weight: np.ndarray) -> float:
    return float(np.average(part["right"].to_numpy(float), weights=weight)) if weight.sum() else float("nan")


def _mean_auc(part: pd.DataFrame, weight: np.ndarray) -> float:
    """Mean over the readers of the area under their ROC curves; ties count half."""
    truth, answer, found = part["truth"].to_numpy(bool), part["answer"].to_numpy(), []
    for name in part["reader"].unique():
        rows = (part["reader"] == name).to_numpy()
        made, real = (np.bincount(answer[rows & side], weights=weight[rows & side], minlength=answer.max() + 1) for side in (truth, ~truth))
        if made.sum() and real.sum():
            below = np.cumsum(real) - real / 2
            found.append((float(made @ below / made.sum() / real.sum()), weight[rows].mean()))
    return float(np.average([area for area, _ in found], weights=[share for _, share in found])) if found else float("nan")


def _difference(column: str) -> Statistic:
    def statistic(part: pd.DataFrame, weight: np.ndarray) -> float:
        values = (part["answer"] == part["truth"]) if column == "right" else part[column]
        made = (part["kind"] == SYNTHETIC).to_numpy()
        if not weight[made].sum() or not weight[~made].sum():
            return float("nan")
        means = [np.average(values.to_numpy(float)[side], weights=weight[side]) for side in (made, ~made)]
        return float(means[0] - means[1])

    return statistic


def _draws(part: pd.DataFrame, statistic: Statistic) -> np.ndarray:
    """(times,) values where readers and patients are both drawn again, each with all that belongs to it."""
    rng, sides = generator(0, "readers and cases", "reader study"), []
    for column in ("reader", "unit"):
        names, codes = np.unique(part[column].to_numpy(str), return_inverse=True)
        sides.append((len(names), codes))
    found = []
    for _ in range(TIMES):
        weights = [rng.multinomial(count, np.full(count, 1 / count))[codes] if count > 1 else np.ones(len(codes)) for count, codes in sides]
        found.append(statistic(part, np.prod(weights, axis=0).astype(float)))
    return np.array(found)


def _interval(part: pd.DataFrame, statistic: Statistic) -> tuple[float, float]:
    return percentile_interval(_draws(part, statistic))


def _agreement(study: ReaderStudy, first: pd.DataFrame) -> list[dict[str, object]]:
    from sklearn.metrics import cohen_kappa_score

    said = first.assign(said=_decision(study, first)).pivot(index="reader", columns="trial", values="said")
    kappas = []
    for one, other in combinations(said.to_numpy(), 2):
        both = np.isfinite(one) & np.isfinite(other)
        if both.any() and len(np.unique(np.concatenate([one[both], other[both]]))) > 1:
            kappas.append(cohen_kappa_score(one[both], other[both]))
    level = "nominal" if study.task in ("diagnosis", "2afc") else "interval"
    ratings, blank = first.pivot(index="reader", columns="trial", values="answer").to_numpy(float), (float("nan"),) * 2
    mean = float(np.mean(kappas)) if kappas else float("nan")
    return [_row("Cohen's kappa, mean over pairs", EVERYBODY, mean, blank, len(kappas)),
            _row(f"Krippendorff's alpha ({level})", EVERYBODY, krippendorff_alpha(ratings, level=level), blank, ratings.shape[1])]  # fmt: skip


def _decision(study: ReaderStudy, part: pd.DataFrame) -> np.ndarray:
    """The answer without its confidence."""
    cut = {"real-or-synthetic": 3, "plausibility": 3}.get(study.task)
    return (part["answer"] >= cut).to_numpy(float) if cut else part["answer"].to_numpy(float)


def _steadiness(name: str, again: pd.DataFrame, first: pd.DataFrame) -> Iterator[dict[str, object]]:
    before = first[first["reader"] == name].set_index("trial")["answer"]
    both = again[again["repeat_of"].isin(before.index)]
    same = (before.loc[both["repeat_of"]].to_numpy() == both["answer"].to_numpy()).sum()
    if len(both):
        yield _row("same answer to a repeat", name, float(same / len(both)), wilson(int(same), len(both)), len(both))


def _row(measure: str, reader: str, value: float, interval: tuple[float, float], n: int) -> dict[str, object]:
    return dict(zip(COLUMNS, (measure, reader, value, *interval, n)))
