"""How long to train: a named budget, a number of steps, or minutes."""
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from synthkit.errors import FitError


@dataclass(frozen=True)
class Steps:
    """A fixed number of optimiser steps: the same result on every equal machine."""

    count: int

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, int) or self.count < 1:
            raise FitError(f"Steps({self.count!r}): give a whole number of steps, 1 or more")


@dataclass(frozen=True)
class Minutes:
    """Wall-clock minutes: as many steps as fit. What comes out depends on the machine's speed."""

    count: float

    def __post_init__(self) -> None:
        if isinstance(self.count, bool) or not isinstance(self.count, (int, float)) or not 0 < self.count < inf:
            raise FitError(f"Minutes({self.count!r}): give a number of minutes above 0")


Budget = str | Steps | Minutes


def resolve(budget: Budget, named: Mapping[str, int]) -> Steps | Minutes:
    """The budget as steps or minutes. A word may be a name ("lesson"), "500 steps" or "10 min"."""
    if isinstance(budget, (Steps, Minutes)):
        return budget
    if not isinstance(budget, str):
        raise FitError(f'budget={budget!r} is no budget; give {", ".join(map(repr, named))}, Steps(500) or Minutes(10)')
    if budget in named:
        return Steps(named[budget])
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(min|minutes|steps)\s*", budget)
    if not match:
        raise FitError(f'budget {budget!r} is not one of {", ".join(named)}, "500 steps" or "10 min"')
    number, unit = match.groups()
    return Steps(int(float(number))) if unit == "steps" else Minutes(float(number))
