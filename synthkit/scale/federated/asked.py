"""What a federated training was asked to be."""
from dataclasses import dataclass
from typing import Any

from synthkit.core.kinds import require_number
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.scale.federated.flower import STRATEGIES


@dataclass(frozen=True)
class Asked:
    """The settings of one training; see `federate`."""

    recipe: Recipe
    rounds: int
    local_steps: int
    strategy: str
    mu: float
    seed: int

    def __post_init__(self) -> None:
        for name, value in (("rounds", self.rounds), ("local_steps", self.local_steps)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise FitError(f"{name}={value!r}: give a whole number, 1 or more")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise FitError(f"seed={self.seed!r}: give a whole number")
        if self.strategy not in STRATEGIES:
            raise FitError(f"strategy={self.strategy!r} is not one of {', '.join(STRATEGIES)}")
        require_number("mu", self.mu, "the weight of the proximal term, for instance 0.01")
        if self.strategy == "fedprox" and self.mu <= 0:
            raise FitError(f"mu={self.mu!r}: fedprox needs a weight of its proximal term above 0, for instance 0.01")
        if self.recipe.bound is not None:
            raise FitError("a bound of privacy is counted at one place and would not hold over sites; give a recipe without privacy=")

    def settings(self) -> dict[str, Any]:
        proximal = {"mu": self.mu} if self.strategy == "fedprox" else {}
        return {"strategy": self.strategy, **proximal, "rounds": self.rounds, "local_steps": self.local_steps}

    def command(self, names: list[str]) -> str:
        """The line that trains again."""
        told = ", ".join(f"{name}={value!r}" for name, value in self.settings().items())
        return f"sk.federate(sk.{self.recipe!r}, sites={{{', '.join(f'{name!r}: ...' for name in names)}}}, {told}, seed={self.seed})"
