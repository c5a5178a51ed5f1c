"""Promotion: a generator is measured, held against the champion, and registered or refused, with the reason."""
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.result import Scores, Tabled
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
from synthkit.lifecycle.against import BETTER, NEITHER, UNKNOWN, WORSE, against, unpaired
from synthkit.lifecycle.gates import ADHERENCE, ALL, FEWEST, NOT_ASSESSED, PASS, Bound, Gate, Rule, rules_of
from synthkit.lifecycle.recording import log
from synthkit.lifecycle.registry import CHALLENGER, CHAMPION, NAME, Champion, appoint, current, register
from synthkit.lifecycle.tracking import opened
from synthkit.metrics.asked import taught
from synthkit.metrics.evaluate import evaluate
from synthkit.metrics.extractors import features
from synthkit.metrics.metric import ImageMetric, Metric
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

REFUSED = "refused"
COLUMNS = ("check", "metric", "group", "rule", "value", "low", "high", "n", "result", "reason")
NOTES = (
    "A gate is kept by the worse end of the 95 % interval, not by the value.",
    "A champion is replaced only by a generator that is shown to be better in one gate metric and worse in none; the intervals of the differences hold "
    "together, and are paired by request and patient but for adherence.",
    "Passing is what was measured on these patients; it is no statement that the images are fit for a purpose.",
)


@dataclass(frozen=True, eq=False, repr=False)
class Promotion(Tabled):
    """What became of a generator that asked to serve, with every check.

    Args:
        decision: "champion", "challenger" (the gates are kept, but it is not shown to be better than the champion, who stays) or "refused".
        reason: of the decision, in words.
        name, version: in the registry; no version where it was refused.
        scores: of the generator.
    """

    decision: str = field(kw_only=True)
    reason: str = field(kw_only=True)
    name: str = field(kw_only=True)
    version: str | None = field(default=None, kw_only=True)
    scores: Scores = field(kw_only=True)

    def figure(self) -> "Figure":
        """Every check: the value with its interval."""
        from synthkit.core.figures import interval_plot

        names = self.rows["metric"] + np.where(self.rows["group"] == ALL, "", " " + self.rows["group"].astype(str))
        return interval_plot(self.rows.assign(group=names, metric=self.rows["check"], floor=np.nan), title=self.title)


def promote(
    generator: Generator, *, gate: Gate, real: Cohort, train: Cohort | None = None, judge: Cohort | Predictor | Phantom | None = None, name: str = NAME,
    extractor: Any = None, fewest: int = FEWEST, seed: int = 0,
) -> Promotion:  # fmt: skip
    """Measure a generator on patients it never saw, hold it against the champion, and register it or refuse it.

    Args:
        gate: what it must keep, {"KID": ("<", .05), ("Adherence AUC", "effusion"): (">", .8)}, or rules such as `sk.PassRule`. A bound holds for the worse
            end of the 95 % interval.
        real: patients that neither this generator nor the champion learnt from; both draw one image for each row's factors.
        train, judge, extractor: as of `sk.evaluate`; adherence needs a judge.
        name: under which it stands in the MLflow registry.
        fewest: images below which a gate is not assessed, which refuses.
        seed: of the images and of resampling.
    Returns:
        Promotion. The first generator that keeps its gates becomes champion. Later ones replace it where they are shown to be better in one gate metric and
        worse in none; those that are worse in any are refused; the others are registered as challenger.
    Raises:
        DataError: no tracking address, an unknown metric in the gate, or a champion of other images or factors.
        LeakageError: a patient of `real` whom one of the two learnt from.

    Example:
        sk.track("sqlite:///runs/mlflow.db")
        sk.promote(gen, gate={"KID": ("<", .05)}, real=test, train=train, name="chest")
    """
    require_kind("generator", generator, Generator, "a fitted generator, as sk.Generator.load(folder) answers")
    require_kind("real", real, Cohort, "a cohort of patients that the generator never saw")
    rules, metrics, judged = rules_of(gate, real.space, fewest=fewest)
    if judged and judge is None:
        raise DataError("the gate asks for adherence, which a judge reads: give judge=, patients kept for judging, a fitted predictor or the phantom")
    opened()
    generator.require_unseen(real)
    holder = current(name)
    known = holder is not None and holder.generator.identity() == generator.identity()
    if holder is not None:
        _require_alike(holder, generator, real)
    bare = not judged and all(isinstance(rule, Bound) for rule in rules)
    eye = features(extractor, real if train is None else train) if bare else extractor
    given = {"train": train, "judge": judge if judged else None, "metrics": metrics or None, "extractor": eye, "seed": seed}
    fake = generator.sample(real.table, seed=seed)
    scores = evaluate(real=real, fake=fake, **given)
    scores = _without_floor(scores) if bare else scores
    checks = _gated(rules, scores.frame())
    if holder is not None and not known:
        checks += _held_against(holder, fake, scores, rules, metrics, real, given)
    rows = pd.DataFrame(checks, columns=list(COLUMNS))
    decision, reason = _decided(rows, holder, known)
    return _finished(generator, Promotion(
        f"Promotion of {generator.card.name} to serve as {name!r}: {decision}", rows, (reason, *NOTES, *scores.caveats()), cohorts=scores.cohorts,
        decision=decision, reason=reason, name=name, version=holder.version if known and decision == CHAMPION else None, scores=scores,
    ))  # fmt: skip


def _require_alike(holder: Champion, generator: Generator, real: Cohort) -> None:
    """Raise unless champion and challenger can be asked for the same images of unseen patients."""
    apart = holder.generator.space.difference(generator.space)
    if apart or holder.generator.schema != generator.schema:
        raise DataError(f"the champion of {holder.name!r} makes other images or knows other factors ({apart or 'its schema differs'}); "
                        "promote this generator under another name=")  # fmt: skip
    holder.generator.require_unseen(real)


def _without_floor(scores: Scores) -> Scores:
    """Scores where no rule asks for a floor: all of train taught the eye, so that nobody is kept back and cuts n; a floor against them would be too high."""
    return replace(scores, rows=scores.rows.assign(floor=np.nan, floor_low=np.nan, floor_high=np.nan, reading=""))


def _gated(rules: tuple[Rule, ...], frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per rule and row of scores; a rule that finds none is not assessed."""
    checks = []
    for rule in rules:
        rows = [row for row in frame.to_dict("records") if rule.matches(row["metric"], row["group"])]
        for row in rows or [{"metric": rule.measure, "group": "", "value": np.nan, "low": np.nan, "high": np.nan, "n_real": np.nan, "n_fake": np.nan}]:
            # Adherence has no n of real images where the judge knows none of them.
            n = row["n_fake"] if row["metric"] in ADHERENCE else min(row["n_real"], row["n_fake"])
            result, reason = rule.judge({**row, "n": n}, frozen=True) if rows else (NOT_ASSESSED, "the scores have no such row")
            measured = {name: row[name] for name in ("metric", "group", "value", "low", "high")}
            checks.append({"check": "gate", "rule": rule.words, "result": result, "reason": reason, **measured, "n": n})
    return checks


def _held_against(
    holder: Champion, fake: Cohort, scores: Scores, rules: tuple[Rule, ...], metrics: tuple[Metric, ...], real: Cohort, given: dict[str, Any]
) -> list[dict[str, Any]]:
    """Differences to the champion in every metric of the gate, paired where both drew for the same requests."""
    theirs = holder.generator.sample(real.table, seed=given["seed"])
    read = [(row["metric"], row["group"]) for row in scores.frame().to_dict("records") if row["metric"] in ADHERENCE and any(
        rule.matches(row["metric"], row["group"]) for rule in rules)]  # fmt: skip
    asked, eye = len(metrics) + len(read), None
    if any(not isinstance(metric, ImageMetric) for metric in metrics):
        learn, _ = taught(real, fake, given["train"], given["judge"], learns=given["extractor"] in (None, "encoder"), seed=given["seed"])
        eye = features(given["extractor"], learn)
    rows = against(metrics, eye, real=real, challenger=fake, champion=theirs, asked=asked, seed=given["seed"])
    if read:
        rows += unpaired(scores.frame(), evaluate(real=real, fake=theirs, **given).frame(), read, asked=asked)
    return rows


def _decided(rows: pd.DataFrame, holder: Champion | None, known: bool) -> tuple[str, str]:
    """The decision and its reason."""
    gates, differences = rows[rows["check"] == "gate"], rows[rows["check"] != "gate"]
    failed = gates[gates["result"] != PASS]
    if len(failed):
        return REFUSED, "Refused: " + "; ".join(f"{row.metric} {row.group}: {row.result}, {row.reason}" for row in failed.itertuples()) + "."
    worse = differences[differences["result"] == WORSE]
    if len(worse):
        said = "; ".join(f"{row.metric} {row.group} by {row.value:.4g} [{row.low:.4g}, {row.high:.4g}]" for row in worse.itertuples())
        return REFUSED, f"Refused: worse than the champion, version {holder.version}, in {said}."
    if known:
        return CHAMPION, f"These very weights and settings are the champion already, version {holder.version}."
    if holder is None:
        return CHAMPION, "All gates are kept, and there was no champion."
    better, unknown = (differences[differences["result"] == result] for result in (BETTER, UNKNOWN))
    if len(better) and not len(unknown):
        return CHAMPION, f"All gates are kept; better than the champion, version {holder.version}, in {', '.join(better['metric'])} and worse in none."
    why = f"{UNKNOWN} in {', '.join(unknown['metric'] + ' ' + unknown['group'])}" if len(unknown) else NEITHER
    return CHALLENGER, f"All gates are kept, but against the champion, version {holder.version}: {why}. The champion stays."


def _finished(generator: Generator, found: Promotion) -> Promotion:
    """Register what was decided, and record it with every check."""
    if found.decision != REFUSED and found.version is None:
        gates = found.rows[found.rows["check"] == "gate"].itertuples()
        tags = {f"{row.metric} {row.group}": f"{row.value:.6g} [{row.low:.6g}, {row.high:.6g}], n {row.n}" for row in gates}
        version = register(generator, name=found.name, tags={"reason": found.reason, "cohort.version": found.cohorts["test"].version, **tags})
        appoint(found.name, version, found.decision)
        found = replace(found, version=version)
    log(found, name=f"promote {found.name}: {found.decision}")
    return found
