"""Pulmonary vessels and bronchi around a nodule: trees that enter from the hilum and branch by Murray's law."""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.phantoms.nodule_tubes import Tubes

Array = np.ndarray
Pieces = tuple[Array, ...]
TRUNKS = 16
ENTRY_MM = 42.0
SPREAD_MM = 27.0
PIECES = 5
GENERATIONS = 18
TAPER = 0.04
THINNEST_MM = 0.26
FIELD_MM = 30.0
BRONCHUS_MM = 0.75  # the smallest artery whose bronchus a CT still shows


@dataclass(frozen=True)
class Branches:
    """Growing tips: place, direction, radius in mm, which tree each belongs to, and the side on which its bronchus runs."""

    place: Array
    heading: Array
    radius: Array
    tree: Array
    beside: Array

    def __getitem__(self, chosen: Array) -> "Branches":
        return Branches(*(part[chosen] for part in (self.place, self.heading, self.radius, self.tree, self.beside)))


@dataclass(frozen=True)
class Vasculature:
    """Tubes of one lung cube: blood vessels, and the outside and inside of the bronchi."""

    vessels: Tubes
    bronchi: Tubes
    lumen: Tubes


def grow(source: np.random.Generator, hilum: Array, open_lung: Callable[[Array, Array], Array]) -> Vasculature:
    """Arteries (even trees, each with its bronchus) and veins (odd ones) of one subject.

    Args:
        hilum: (3,) unit vector from the nodule towards the hilum.
        open_lung: (place, start of its tree), each (B, 3), to (B,) bool: whether a vessel may be there.
    """
    tips = _trunks(source, hilum)
    starts = tips.place
    pieces = []
    for generation in range(GENERATIONS):
        length = tips.radius * source.uniform(5, 11, len(tips.radius)) + 1.5
        tips, drawn = _advance(source, tips, length + 14 * (generation == 0))
        free = open_lung(tips.place, starts[tips.tree])
        pieces += _faded(drawn, free)
        near = (np.abs(tips.place).max(1) < FIELD_MM) | (generation < 2)
        tips = _split(source, tips[near & free])
        tips = tips[tips.radius > THINNEST_MM]
        if not len(tips.radius):
            break
    return _vasculature(*(np.concatenate(column) for column in zip(*pieces, strict=True)))


def _trunks(source: np.random.Generator, hilum: Array) -> Branches:
    """Trees spread over a disc that faces the hilum, diverging as from one point; the first is aimed at the nodule."""
    across, up = _frame(hilum[None])
    turn = 2.399963 * np.arange(TRUNKS) + source.uniform(0, 2 * np.pi)
    out = SPREAD_MM * np.sqrt((np.arange(TRUNKS) + source.uniform(0.1, 0.9, TRUNKS)) / TRUNKS)
    offset = (out * np.cos(turn))[:, None] * across + (out * np.sin(turn))[:, None] * up
    place = ENTRY_MM * hilum + 0.7 * offset
    heading = -ENTRY_MM * hilum + 0.45 * offset + 4 * source.standard_normal((TRUNKS, 3))
    heading[0] = -place[0] + 3 * source.standard_normal(3)
    radius = np.clip(0.95 * np.exp(0.4 * source.standard_normal(TRUNKS)), 0.5, 2.2)
    return Branches(place, _unit(heading), radius, np.arange(TRUNKS), _unit(source.standard_normal((TRUNKS, 3))))


def _advance(source: np.random.Generator, tips: Branches, length: Array) -> tuple[Branches, list[Pieces]]:
    """The tips one branch further, and its gently winding pieces: start, end, radii, direction, tree, side."""
    place, heading, drawn = tips.place, tips.heading, []
    for piece in range(PIECES):
        heading = _unit(heading + 0.13 * source.standard_normal(heading.shape))
        end = place + heading * (length / PIECES)[:, None]
        taper = tips.radius[:, None] * (1 - TAPER * (piece + np.arange(2)) / PIECES)
        drawn.append((place, end, taper, tips.heading, tips.tree, tips.beside))
        place = end
    return Branches(place, heading, (1 - TAPER) * tips.radius, tips.tree, tips.beside), drawn


def _faded(drawn: list[Pieces], free: Array) -> list[Pieces]:
    """The pieces, those of branches that run into a pleura thinning out before it."""
    left = np.linspace(1, 0.2, PIECES + 1)
    return [
        (start, end, radius * np.where(free[:, None], 1, left[number : number + 2]), *rest)
        for number, (start, end, radius, *rest) in enumerate(drawn)
    ]  # fmt: skip


def _split(source: np.random.Generator, tips: Branches) -> Branches:
    """Two children of each tip: r^3 is shared between them, and the angles cost the least work (Murray 1926)."""
    share = source.uniform(0.5, 0.93, len(tips.radius))
    major, minor = np.cbrt(share), np.cbrt(1 - share)
    across, up = _frame(tips.heading)
    turn = source.uniform(0, 2 * np.pi, len(share))[:, None]
    side = np.cos(turn) * across + np.sin(turn) * up
    children = []
    for own, other, sign in ((major, minor, 1), (minor, major, -1)):
        cosine = np.clip((1 + own**4 - other**4) / (2 * own**2), -1, 1)[:, None]
        heading = cosine * tips.heading + sign * np.sqrt(1 - cosine**2) * side
        children.append((tips.place, heading, own * tips.radius, tips.tree, tips.beside))
    return Branches(*(np.concatenate(column) for column in zip(*children, strict=True)))


def _vasculature(start: Array, end: Array, radius: Array, heading: Array, tree: Array, beside: Array) -> Vasculature:
    led = (tree % 2 == 0) & (radius[:, 0] > BRONCHUS_MM)
    outer = 1.1 * radius[led]
    side = _unit(beside - (beside * heading).sum(1, keepdims=True) * heading)[led]
    shift = side * (radius[led, :1] + outer[:, :1])
    thickness = np.maximum(0.2 * outer, 0.3)
    bronchi = start[led] + shift, end[led] + shift
    return Vasculature(_tubes(start, end, radius), _tubes(*bronchi, outer), _tubes(*bronchi, outer - thickness))


def _tubes(start: Array, end: Array, radius: Array) -> Tubes:
    return Tubes(*(torch.from_numpy(part.astype(np.float32)) for part in (start, end, radius)))


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _frame(axes: Array) -> tuple[Array, Array]:
    """Two unit vectors at right angles to each axis and to each other."""
    helper = np.eye(3)[np.abs(axes).argmin(1)]
    across = _unit(np.cross(axes, helper))
    return across, np.cross(axes, across)
