"""Mechanisms: one factor's value as a function of its own noise and its parents (Pearl 2009, ch. 7)."""
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from synthkit.causal.noise import Array, Law, law, noises_between


class Mechanism(ABC):
    """How one factor comes about.

    Parents arrive as (N,) float arrays in the order of the graph: a quantity in its unit, a category as the index of its
    level, NaN where the parent does not apply. Values are coded likewise, before they are cut to what the factor can be.
    """

    @property
    @abstractmethod
    def law(self) -> Law:
        """The law of the noise."""

    @abstractmethod
    def value(self, noise: Array, *parents: Array) -> Array:
        """(N,) values, monotone in the noise."""

    @abstractmethod
    def noises(self, low: Array, high: Array, *parents: Array) -> tuple[Array, Array]:
        """The lowest and highest noise whose value lies in low..high (abduction); equal ends where there is only one."""


@dataclass(frozen=True)
class Equation(Mechanism):
    """A known structural equation.

    Args:
        function: function(noise, *parents) gives the value, or the level index (bool or int) of a category;
            monotone in the noise, rising or falling; jumps and flat pieces are allowed. A parent that does not apply enters as 0.
        noise: "normal" (standard) or "uniform" (0..1).

    Example:
        Equation(lambda noise, age: noise < 0.2 + 0.005 * age, noise="uniform")
    """

    function: Callable[..., Array]
    noise: str = "normal"

    def __post_init__(self) -> None:
        law(self.noise)

    @property
    def law(self) -> Law:
        return law(self.noise)

    def value(self, noise: Array, *parents: Array) -> Array:
        return self._curve(parents)(noise)

    def noises(self, low: Array, high: Array, *parents: Array) -> tuple[Array, Array]:
        return noises_between(self._curve(parents), low, high, self.law.ends)

    def _curve(self, parents: tuple[Array, ...]) -> Callable[[Array], Array]:
        given = [np.nan_to_num(parent, nan=0.0) for parent in parents]
        return lambda noise: np.broadcast_to(np.asarray(self.function(noise, *given), float), noise.shape)


@dataclass(frozen=True)
class Constant(Mechanism):
    """A factor that an intervention has set: every noise gives the same value."""

    level: float

    @property
    def law(self) -> Law:
        return law("uniform")

    def value(self, noise: Array, *parents: Array) -> Array:
        return np.full(len(noise), self.level)

    def noises(self, low: Array, high: Array, *parents: Array) -> tuple[Array, Array]:
        agrees = (low <= self.level) & (self.level <= high)
        return np.zeros(len(low)), agrees.astype(float)
