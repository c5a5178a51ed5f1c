"""Updates that no honest training can have made are left out of the mean."""
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, sqrt

import numpy as np

from synthkit.scale.federated.orders import Orders
from synthkit.training.loop import rate
from synthkit.training.plan import Plan

TIMES = 5.0  # the median length of the updates of a round, beyond which one is too long
SLACK = 1.01
ROUNDING = 1e-5


@dataclass(frozen=True)
class Screened:
    """One site's update.

    Args:
        reason: why it is left out; empty where it counts.
        length: of the change of the weights, the root of the sum of squares.
    """

    reason: str
    length: float


def steepest(betas: tuple[float, float]) -> float:
    """The most that Adam can move a weight in one step, in learning rates, whatever the gradients were.

    By Cauchy and Schwarz the ratio of its moments is at most sqrt((1 - b1)^2 / ((1 - b2) (1 - b1^2 / b2))): 2.35 for (.9, .99), 10 for (0, .99).
    """
    first, second = betas
    return max(1.0, sqrt((1 - first) ** 2 / ((1 - second) * (1 - first**2 / second)))) if first**2 < second else inf


def farthest(orders: Orders, *, learning_rate: float, betas: tuple[float, float]) -> tuple[float, float]:
    """How far AdamW can move a weight in these steps: (share of its size, plus this)."""
    way = learning_rate * sum(rate((step + 1) / orders.total) for step in range(orders.start, orders.stop))
    decay = Plan.weight_decay * way
    return decay * SLACK, (steepest(betas) * way * (1 + decay)) * SLACK + 1e-6


def screened(
    before: Mapping[str, np.ndarray], updates: Mapping[str, Mapping[str, np.ndarray]], counts: Mapping[str, tuple[float, int]],
    moved: frozenset[str], bound: tuple[float, float] | None, still: frozenset[str] = frozenset(),
) -> dict[str, Screened]:  # fmt: skip
    """Which updates count.

    Args:
        before: the arrays that were sent.
        updates: by site, the arrays that came back.
        counts: by site, the images it says it learnt from and those it told of before.
        moved: names of arrays that an optimiser moves.
        bound: of `farthest`; None where no step was taken, and then the lengths are not compared either.
        still: names of arrays that no step changes.
    """
    found = {name: _alone(before, arrays, counts[name], moved, bound, still) for name, arrays in updates.items()}
    lengths = [one.length for one in found.values() if not one.reason]
    if bound is None or len(lengths) < 3:
        return found
    usual = float(np.median(lengths))
    long = {name for name, one in found.items() if not one.reason and one.length > TIMES * usual}
    return {name: replace(one, reason=f"its change is {one.length / usual:.1f} times as long as usual") if name in long else one for name, one in found.items()}


def _alone(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], counts: tuple[float, int], moved: frozenset[str], bound: tuple[float, float] | None,
    still: frozenset[str],
) -> Screened:  # fmt: skip
    if set(after) != set(before) or any(after[name].shape != before[name].shape for name in before):
        return Screened("its arrays are not those that were sent", inf)
    broken = [name for name, array in after.items() if not np.isfinite(array).all()]
    if broken:
        return Screened(f"{broken[0].split('/', 1)[1]} holds values that are no number", inf)
    if counts[0] != counts[1]:
        return Screened(f"it counts {counts[0]:g} images and told of {counts[1]}", inf)
    changes = {name: after[name].astype(np.float64) - before[name] for name in before}
    length = sqrt(sum(float(np.square(changes[f"weights/{name}"]).sum()) for name in moved))
    if bound is not None:
        changed = [name for name in before if name.split("/", 1)[1] in still and not np.allclose(after[name], before[name], rtol=ROUNDING, atol=ROUNDING)]
        if changed:
            return Screened(f"{changed[0].split('/', 1)[1]} changed, which no step does", length)
        for name in moved:
            weights, average = before[f"weights/{name}"], before[f"average/{name}"]
            reach = bound[0] * np.abs(weights) + bound[1]
            apart = np.abs(weights - average)
            if (np.abs(changes[f"weights/{name}"]) > reach).any() or (np.abs(changes[f"average/{name}"]) > apart + reach).any():
                return Screened(f"{name} moved farther than its steps can lead", length)
    return Screened("", length)
