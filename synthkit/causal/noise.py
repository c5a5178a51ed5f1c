"""Laws of the exogenous noise, and the search for the noises that agree with what was seen."""
from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from synthkit.errors import SchemaError

Array = np.ndarray
# Halving the range so often leaves about the spacing of float64.
HALVINGS = 56


class Law(ABC):
    """The law of one noise term; `ends` are the lowest and highest noise that is ever searched or met."""

    ends: tuple[float, float]

    @abstractmethod
    def draw(self, source: np.random.Generator, count: int) -> Array:
        """(count,) noises; the first ones do not depend on the count."""

    @abstractmethod
    def below(self, noise: Array) -> Array:
        """The probability of a noise under the given one."""

    @abstractmethod
    def quantile(self, share: float) -> float:
        """The noise that a share of all noises lies below."""

    @abstractmethod
    def middle(self, low: Array, high: Array) -> Array:
        """The mean noise, given that it lies in low..high."""


class Normal(Law):
    """Standard normal noise."""

    ends = (-12.0, 12.0)

    def draw(self, source: np.random.Generator, count: int) -> Array:
        return source.standard_normal(count)

    def below(self, noise: Array) -> Array:
        from scipy.special import ndtr

        return ndtr(noise)

    def quantile(self, share: float) -> float:
        from scipy.special import ndtri

        return float(ndtri(share))

    def middle(self, low: Array, high: Array) -> Array:
        from scipy.special import ndtr

        # In the upper tail 1 - p has no digits left, so both ends are mirrored into the lower one.
        flip = np.where(low + high > 0, -1.0, 1.0)
        a, b = np.minimum(flip * low, flip * high), np.maximum(flip * low, flip * high)
        mass = ndtr(b) - ndtr(a)
        wide = b - a > 1e-6
        density = (np.exp(-(a**2) / 2) - np.exp(-(b**2) / 2)) / np.sqrt(2 * np.pi)
        mean = np.divide(density, mass, out=(a + b) / 2, where=wide & (mass > 0))
        return flip * np.clip(mean, a, b)


class Uniform(Law):
    """Noise between 0 and 1."""

    ends = (0.0, 1.0)

    def draw(self, source: np.random.Generator, count: int) -> Array:
        return source.random(count)

    def below(self, noise: Array) -> Array:
        return noise

    def quantile(self, share: float) -> float:
        return share

    def middle(self, low: Array, high: Array) -> Array:
        return (low + high) / 2


LAWS: dict[str, Law] = {"normal": Normal(), "uniform": Uniform()}


def law(name: str) -> Law:
    """The law of that name; SchemaError for another."""
    if name not in LAWS:
        raise SchemaError(f"noise: {name!r} is not one of {', '.join(LAWS)}")
    return LAWS[name]


def noises_between(curve: Callable[[Array], Array], low: Array, high: Array, ends: tuple[float, float]) -> tuple[Array, Array]:
    """Per row the lowest and the highest noise for which low <= curve(noise) <= high, by bisection.

    Args:
        curve: (N,) noises to (N,) values, per row monotone in the noise in either direction; it may jump or be flat.
    Returns:
        Two (N,) arrays; equal where one noise gives the value, and at the jump where the curve leaps over it.
    """
    first, last = (np.full(len(low), end) for end in ends)
    sign = np.where(curve(last) >= curve(first), 1.0, -1.0)
    lowest, highest = np.minimum(sign * low, sign * high), np.maximum(sign * low, sign * high)
    enter = _first(lambda noise: sign * curve(noise) >= lowest, first, last)
    leave = _first(lambda noise: sign * curve(noise) > highest, first, last)
    return enter, np.maximum(enter, leave)


def _first(reached: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Per row the noise from which on `reached` holds."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        inside = reached(middle)
        low, high = np.where(inside, low, middle), np.where(inside, middle, high)
    return high
