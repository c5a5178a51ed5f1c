"""The parts of a training, one after another: most families have one, latent diffusion has two."""
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from synthkit.core.budget import Minutes, Steps
from synthkit.nets.network import Trainable
from synthkit.training.data import TrainingData
from synthkit.training.plan import Outcome, Plan
from synthkit.training.trainer import train


@dataclass(frozen=True)
class Stage:
    """One part of a training.

    Args:
        name: of its folder of checkpoints, and in the progress bar.
        trainable: what is trained; it is, or holds, parts of the network.
        share: of the whole budget.
        prepare: answers what is learnt from, given the images; called after the stage before it.
    """

    name: str
    trainable: Trainable
    share: float = 1.0
    prepare: Callable[[TrainingData], TrainingData] | None = None


def run_stages(stages: Sequence[Stage], data: TrainingData, plan: Plan) -> Outcome:
    """Train all stages, each in its share of the plan's budget; the last one's outcome with the steps, losses and seconds of all.

    What a stage prepares is timed as well, but is no part of a budget in minutes.
    """
    done, seconds = [], 0.0
    for stage in stages:
        began = time.monotonic()
        learnt = stage.prepare(data) if stage.prepare else data
        seconds += time.monotonic() - began
        done.append(train(stage.trainable, learnt, plan if len(stages) == 1 else _part(stage, plan)))
    steps = list(accumulate((outcome.steps for outcome in done), initial=0))
    losses = [(step + before, loss) for before, outcome in zip(steps, done) for step, loss in outcome.losses]
    seen, seconds = sum(outcome.images_seen for outcome in done), seconds + sum(outcome.seconds for outcome in done)
    return replace(done[-1], steps=steps[-1], images_seen=seen, seconds=seconds, losses=losses)


def _part(stage: Stage, plan: Plan) -> Plan:
    count = plan.budget.count * stage.share
    budget = Minutes(count) if isinstance(plan.budget, Minutes) else Steps(max(1, round(count)))
    return replace(plan, budget=budget, title=f"{plan.title} ({stage.name})", run=plan.run / stage.name if plan.run else None)
