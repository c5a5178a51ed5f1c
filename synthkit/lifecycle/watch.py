"""Watching: new patients are held against those the champion learnt from; where they drifted, it is trained on, measured, and promoted or refused."""
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.budget import Budget, resolve
from synthkit.core.cohort import Cohort
from synthkit.core.result import Tabled
from synthkit.core.store import writing
from synthkit.errors import StoreError
from synthkit.generators.generator import Generator
from synthkit.lifecycle.drift import Drift, drift, require_comparable
from synthkit.lifecycle.gates import FEWEST, Gate, rules_of
from synthkit.lifecycle.promote import REFUSED, Promotion, promote
from synthkit.lifecycle.recording import log
from synthkit.lifecycle.registry import CHALLENGER, CHAMPION, NAME, Champion, champion
from synthkit.lifecycle.steps import Steps
from synthkit.lifecycle.tracking import opened
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

QUIET = "quiet"
TEST_SHARE = 0.4
LOG = "watch.jsonl"
SAID = {
    QUIET: "No drift shown: the champion stays as it is.", CHAMPION: "Drift: the champion was trained on and its successor promoted.",
    CHALLENGER: "Drift: a successor was trained and registered as challenger; the champion stays.",
    REFUSED: "Drift: a successor was trained and refused; the champion stays, and no longer fits to the new patients.",
}  # fmt: skip
NOTES = (
    "A successor learns from a part of the new patients only, and is judged on the others.",
    "Drift, training and promotion follow numbers that were fixed before; whether the new images are right is for people to say.",
)


@dataclass(frozen=True, eq=False, repr=False)
class Watch(Tabled):
    """What a watch found and did, a row per step.

    Args:
        outcome: "quiet", "champion", "challenger" or "refused".
        drift, promotion: with all their rows; None where they were read back from the log of an interrupted watch, or not come to.
        learnt: the new patients that the successor learnt from, the `train` of the next watch; None where nothing was trained.
    """

    outcome: str = field(kw_only=True)
    drift: Drift | None = field(default=None, kw_only=True)
    promotion: Promotion | None = field(default=None, kw_only=True)
    learnt: Cohort | None = field(default=None, kw_only=True)

    def figure(self) -> "Figure":
        """The checks of the promotion, else the changes that were found, else the steps."""
        from synthkit.core.figures import interval_plot

        inner = self.promotion or self.drift
        if inner is not None:
            return inner.figure()
        return interval_plot(self.rows.assign(metric="p-value of the drift", group=self.rows["step"], low=np.nan, high=np.nan, floor=np.nan), title=self.title)


def watch(
    new: Cohort, *, train: Cohort, gate: Gate, run: str | Path, name: str = NAME, judge: Cohort | Predictor | Phantom | None = None,
    alpha: float = 0.01, budget: Budget = "500 steps", extractor: Any = None, fewest: int = FEWEST, times: int = 999, seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Watch:  # fmt: skip
    """Hold new patients against those of the champion; where they drifted, train it on, measure it, and promote or refuse it.

    Every finished step stands in `run/watch.jsonl` and in MLflow. An interrupted watch goes on where it stopped when it is called again with the same data
    and settings.

    Args:
        new: real patients whom the champion did not learn from; three fifths of them teach a successor, the others judge it.
        train: what the champion learnt from.
        gate, judge, extractor, fewest: as of `sk.promote`.
        run: folder of this watch.
        name: of the champion in the registry.
        alpha, times: as of `sk.drift`.
        budget: of the training.
        say: called with a line for every step.
    Raises:
        StoreError: no champion; a folder of another watch; a log or a successor that was changed.
        DataError, SchemaError, LeakageError: as `sk.drift` and `sk.promote`.

    Example:
        found = sk.watch(this_month, train=train, gate={"KID": ("<", .05)}, run="runs/march", name="chest")
    """
    require_comparable(new, train, alpha, times)
    rules = rules_of(gate, new.space, fewest=fewest)[0]
    mlflow, holder = opened(), champion(name)
    resolve(budget, holder.generator.recipe.budgets)
    folder, say = Path(run), say or (lambda line: None)
    if Steps(folder / LOG).find("begin") is None:  # later the champion may be the successor, who knows them
        holder.generator.require_unseen(new)
    settings = {"new": new.version, "train": train.version, "generator": name, "gate": [f"{rule.measure}: {rule.words}" for rule in rules], "alpha": alpha,
                "times": times, "budget": str(budget), "seed": seed, "judge": judge.version if isinstance(judge, Cohort) else _kind(judge),
                "extractor": extractor if isinstance(extractor, str) else _kind(extractor)}  # fmt: skip
    with writing(folder), mlflow.start_run(run_name=f"watch {name}", nested=mlflow.active_run() is not None):
        steps = Steps(folder / LOG)
        _begin(steps, settings, holder)
        looked = _looked(steps, new, train, alpha, extractor, times, seed, say)
        promotion, learnt = None, None
        if not steps.find("drift")["alarm"]:
            outcome = QUIET
        else:
            learnt, test = new.split((1 - TEST_SHARE, TEST_SHARE), by="patient_id", seed=seed)
            successor = _retrained(steps, holder, learnt, folder, budget, seed, say)
            given = {"gate": gate, "judge": judge, "name": name, "extractor": extractor, "fewest": fewest, "seed": seed}
            promotion = _promoted(steps, successor, say, real=test, train=learnt, **given)
            outcome = steps.find("promote")["decision"]
        if steps.find("end") is None:
            steps.append("end", outcome=outcome)
        found = Watch(f"Watch of {name!r}: {outcome}", _rows(steps), (SAID[outcome], *NOTES), cohorts={"test": new, "train": train}, outcome=outcome,
                      drift=looked, promotion=promotion, learnt=learnt)  # fmt: skip
        mlflow.set_tags({"synthkit": "watch", "outcome": outcome, "name": name})
        mlflow.log_artifact(str(folder / LOG))
        log(found, name=f"watch {name}: {outcome}")
    say(found.caveats()[0])
    return found


def _kind(given: object) -> str | None:
    """By which a judge or an extractor without a version or name is known again."""
    return None if given is None else type(given).__name__


def _begin(steps: Steps, settings: dict[str, Any], holder: Champion) -> None:
    """The first line of the log; StoreError where it is that of another watch, or the champion was replaced meanwhile."""
    begun = steps.find("begin")
    if begun is None:
        steps.append("begin", **settings, champion=holder.version, identity=holder.generator.identity())
        return
    other = [one for one, value in settings.items() if begun.get(one) != value]
    if other:
        raise StoreError(f"{steps.path} is the log of another watch (its {', '.join(other)} differ); give a new folder with run=")
    made = steps.find("train")
    if steps.find("end") is None and holder.generator.identity() not in (begun["identity"], made["identity"] if made else None):
        raise StoreError(f"{steps.path}: the champion was version {begun['champion']} when this watch began and is version {holder.version} now; "
                         "give a new folder with run=")  # fmt: skip


def _looked(
    steps: Steps, new: Cohort, train: Cohort, alpha: float, extractor: Any, times: int, seed: int, say: Callable[[str], None]
) -> Drift | None:
    """The drift, unless the log has it."""
    if steps.find("drift") is not None:
        return None
    found = drift(new, train=train, alpha=alpha, extractor=extractor, times=times, seed=seed)
    log(found)
    moved = found.rows[found.rows["result"] == "moved"]
    steps.append("drift", alarm=found.alarm, p=found.p, moved=moved[["measure", "value", "low", "high", "scale", "p_adjusted"]].to_dict("records"))
    say(found.title)
    return found


def _retrained(steps: Steps, holder: Champion, learnt: Cohort, folder: Path, budget: Budget, seed: int, say: Callable[[str], None]) -> Generator:
    """The successor, trained on the new patients from the champion's weights; read back where that is done."""
    done = steps.find("train")
    if done is not None:
        kept = Generator.load(folder / "generator")
        if kept.identity() != done["identity"]:
            raise StoreError(f"{folder / 'generator'} is not the one that this watch trained; put that back, or give a new folder with run=")
        return kept
    say(f"train version {holder.version} of {holder.name!r} on {len(learnt)} new images, budget {budget}")
    learnt.save(folder / "learnt")
    made = holder.generator.fine_tune(learnt, budget=budget, seed=seed, run=folder / "training")
    made.save(folder / "generator")
    steps.append("train", identity=made.identity(), weights=made.weights_digest(), images=len(learnt), learnt=learnt.version)
    return made


def _promoted(steps: Steps, successor: Generator, say: Callable[[str], None], **given: Any) -> Promotion | None:
    """The promotion, unless the log has it."""
    if steps.find("promote") is not None:
        return None
    found = promote(successor, **given)
    checks = found.rows[["check", "metric", "group", "value", "low", "high", "n", "result"]].to_dict("records")
    steps.append("promote", decision=found.decision, reason=found.reason, version=found.version, checks=checks)
    say(found.reason)
    return found


def _rows(steps: Steps) -> pd.DataFrame:
    """A row per step, with what it came to."""
    told = {
        "begin": lambda s: (f"champion: version {s['champion']}", None), "drift": lambda s: ("drift" if s["alarm"] else "no drift shown", s["p"]),
        "train": lambda s: (f"trained on {s['images']} new images", None), "promote": lambda s: (f"{s['decision']}: {s['reason']}", None),
        "end": lambda s: (s["outcome"], None),
    }  # fmt: skip
    made = [(step["step"], step["at"], *told[step["step"]](step)) for step in steps.done]
    return pd.DataFrame(made, columns=["step", "at", "result", "value"])
