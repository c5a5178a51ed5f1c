"""Conditional diffusion by flow matching: one straight path from noise to image, factors as condition."""
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.core.imports import class_at
from synthkit.core.kinds import require_kind
from synthkit.core.missing import missing_channels, require_whole
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.flow import integrate, interpolate, stratified_times
from synthkit.generators.solvers import SOLVERS, Velocity, midpoint, require_solver, time_grid
from synthkit.generators.stages import Stage
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, KnowingNetwork, LockableNetwork, Network, Trainable
from synthkit.nets.showing import NOTHING, Showing
from synthkit.training.private import DP


@dataclass(frozen=True)
class Diffusion(Recipe):
    """Flow-matching diffusion model (Lipman et al. 2023) on pixels, 2D or 3D, editable by inversion.

    Args:
        steps: steps of sampling and of inversion.
        solver: of sampling, a name of `solvers.SOLVERS`; midpoint and heun evaluate the network twice per step, the others once.
        shift: how the steps are spaced: evenly for 1, closer near the noise above 1.
        guidance: factor to weight: 1 changes nothing, above 1 the factor shows more than the data have it (classifier-free
            guidance, Ho & Salimans 2022, of single factors); each factor given costs another evaluation. Both directions use it.
        drop: share of training images that hide factors from the network, a random subset each; so any subset may be asked for.
        show: share of training images that show the network some of their modalities, a random subset each; so `Generator.complete` may draw
            any from any others. Without effect where images have one.
        backbone: "module:Class" of the velocity network v(x, t, c), called with channels, size and condition_width.
        options: further keyword arguments of that class.
        batch_size, learning_rate: of the training.
        privacy: train under a bound on what may be given away of any patient (`sk.DP`, extra `privacy`); then nothing is shown, one image of a
            patient counts per step, and noise and choice of patients do not follow the seed.

    Example:
        gen = sk.Diffusion().fit(train, budget="lesson", seed=0)
        fast = gen.using(steps=6, solver="adams", shift=2)
    """

    sampling: ClassVar[tuple[str, ...]] = ("steps", "solver", "shift", "guidance")
    steps: int = 12
    drop: float = 0.3
    backbone: str = "synthkit.nets.unet:UNet"
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    learning_rate: float = 1e-3
    solver: str = "midpoint"
    shift: float = 1.0
    guidance: Mapping[str, float] = field(default_factory=dict)
    show: float = 0.5
    privacy: DP | None = None

    def __post_init__(self) -> None:
        if isinstance(self.privacy, Mapping):  # as a recipe's JSON tells it
            object.__setattr__(self, "privacy", DP(**self.privacy))
        require_kind("privacy", self.privacy, (DP, type(None)), "a bound, sk.DP(epsilon=8), or None")
        require_flow(self)
        if isinstance(self.show, bool) or not isinstance(self.show, (int, float)) or not 0 <= self.show <= 1:
            raise FitError(f"Diffusion(show={self.show!r}): show must lie between 0 and 1")

    def network(self, schema: Schema, space: Space) -> "FlowNetwork":
        return flow_network(self, schema, space.shape, Showing.of(space.parts, 0 if self.privacy else self.show))

    def codes(self, train: Cohort) -> np.ndarray:
        parts = train.space.parts
        factors = train.schema.encode(train.table)
        if self.privacy:
            require_whole(train, "train with differential privacy")
        if self.privacy or len(parts) < 2:
            return factors
        missing = missing_channels(train)
        return np.concatenate([factors, np.stack([missing[:, list(part)].any(1) for part in parts], 1).astype(np.float32)], 1)

    @property
    def bound(self) -> DP | None:
        return self.privacy

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        return (Stage("flow", Apart(network) if self.privacy else network),)


class FlowSettings(Protocol):
    """What the recipes that learn a flow have in common."""

    steps: int
    solver: str
    shift: float
    guidance: Mapping[str, float]
    drop: float
    backbone: str
    options: Mapping[str, Any]


def require_flow(recipe: FlowSettings) -> None:
    """Raise FitError for settings that no flow can have."""
    family = type(recipe).__name__
    require_solver(family, steps=recipe.steps, solver=recipe.solver, shift=recipe.shift)
    if not 0 <= recipe.drop < 1:
        raise FitError(f"{family}(drop={recipe.drop}): drop must be 0 or more and under 1")
    given = recipe.guidance.values() if isinstance(recipe.guidance, Mapping) else [None]
    if any(isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < inf for weight in given):
        raise FitError(f'{family}(guidance={recipe.guidance!r}): give factors with weights of 0 or more, for instance {{"effusion": 3}}')
    if recipe.guidance and not recipe.drop:
        raise FitError(f"{family}(guidance=..., drop=0): a network that never saw a factor hidden cannot be guided towards it; train with drop above 0")


def flow_network(recipe: FlowSettings, schema: Schema, shape: tuple[int, ...], showing: Showing = NOTHING) -> "FlowNetwork":
    """An untrained flow on images, or latents, of this shape (channels, *size)."""
    width = schema.width + showing.width
    velocity = class_at(recipe.backbone, nn.Module)(channels=shape[0], size=shape[1:], condition_width=width, **recipe.options)
    places = dict(zip(schema.names, schema.blocks()))
    guided = tuple((places[schema[name].name], float(weight)) for name, weight in recipe.guidance.items() if weight != 1)
    hiding = Hiding(tuple(schema.blocks()), recipe.drop)
    return FlowNetwork(velocity, shape=shape, hiding=hiding, steps=recipe.steps, solver=recipe.solver, shift=recipe.shift, guided=guided, showing=showing)


class FlowNetwork(LockableNetwork, KnowingNetwork, Trainable):
    """A velocity network with its loss and its ordinary differential equation in both directions.

    Inversion is always by the midpoint rule, whatever the solver of sampling; the one in data prediction cannot run back.
    """

    looks = (0.1, 0.3, 0.5, 0.7, 0.9)

    def __init__(
        self, velocity: nn.Module, *, shape: tuple[int, ...], hiding: Hiding, steps: int, solver: str = "midpoint", shift: float = 1.0,
        guided: tuple[tuple[slice, float], ...] = (), showing: Showing = NOTHING,
    ):  # fmt: skip
        super().__init__()
        self.velocity, self.shape, self.hiding, self.showing = velocity, shape, hiding, showing
        self.steps, self.solver, self.shift, self.guided = steps, solver, shift, guided
        self.evaluations = SOLVERS[solver].each * steps * (1 + len(guided))

    def training_step(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of the velocity at stratified times, factors hidden and parts shown now and then.

        Parts that are shown stand finished beside those on their way; those that the image lacks are noise, and teach nothing.
        """
        noise = batch.normal_like()
        t = stratified_times(len(batch.x), batch.uniform(1))
        x, factors = interpolate(noise, batch.x, t), len(batch.c[0]) - len(self.showing.parts)
        c, absent = self.hiding(replace(batch, c=batch.c[:, :factors])), batch.c[:, factors:] > 0
        if not self.showing.parts:
            return (self.velocity(x, t, c).float() - (batch.x - noise)).square().mean()
        given = self.showing.drawn(batch, absent)
        shown, lacking = (self.showing.pixels(part, x) for part in (given, absent))
        x = torch.where(shown, batch.x, torch.where(lacking, noise, x))
        predicted = self.velocity(x, t, torch.cat([c, self.showing.marks(given, absent)], 1))
        asked = (~shown & ~lacking).expand_as(x)
        return (predicted.float() - (batch.x - noise)).square().masked_fill(~asked, 0).sum() / asked.sum()

    def misfit(self, x: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        predicted = self.velocity(interpolate(noise, x, t), t, self.showing.unmarked(c))
        return (predicted.float() - (x - noise)).square().flatten(1).mean(1)

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return integrate(self.under(c), z, steps=self.steps, solver=self.solver, shift=self.shift)

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return integrate(self.under(c), x, steps=self.steps, shift=self.shift, backwards=True)

    def decode_away(self, z: torch.Tensor, c: torch.Tensor, wanted: torch.Tensor, weight: float) -> torch.Tensor:
        """Latents of condition c under the condition `wanted`, whose difference in velocity counts `weight` times; any weight does nothing where they agree."""
        own, other = self.under(c), self.under(wanted)

        def led(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            there = other(x, t)
            return there + (weight - 1) * (there - own(x, t))

        return integrate(led, z, steps=self.steps, solver=self.solver, shift=self.shift)

    def complete(self, z: torch.Tensor, c: torch.Tensor, x: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        """Images whose given parts (N, parts) are those of x, and the rest follows from them, the condition and the noise z."""
        known = self.showing.pixels(given > 0, x)
        velocity = self._guided(torch.cat([c, self.showing.marks(given, torch.zeros_like(given))], 1))
        filled = integrate(lambda y, t: velocity(y, t).masked_fill(known, 0), torch.where(known, x, z), steps=self.steps, solver=self.solver, shift=self.shift)
        return torch.where(known, x, filled)

    def edit_inside(self, x: torch.Tensor, c: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Outside the mask every step of the way back to the image is that of the way there, as inpainting with a known
        surrounding (Lugmayr et al. 2022) but from the image's own latent; inside, the difference of both conditions is added.
        """
        times = time_grid(self.steps, shift=self.shift)
        way = [x]
        for t, before in zip(times[:0:-1], times[-2::-1]):
            way.insert(0, midpoint(self.under(c), way[0], (t, before)))

        def again(condition: torch.Tensor) -> torch.Tensor:
            y, velocity = way[0], self.under(condition)
            for known, t, after in zip(way[1:], times, times[1:]):
                y = torch.where(mask, midpoint(velocity, y, (t, after)), known)
            return y

        return x + again(wanted) - again(c)

    def under(self, c: torch.Tensor) -> Velocity:
        """The velocity (x, t) under a condition, away from what it would be without each guided factor."""
        return self._guided(self.showing.unmarked(c))

    def _guided(self, c: torch.Tensor) -> Velocity:
        if not self.guided:
            return lambda x, t: self.velocity(x, t, c)
        without = [(hidden(c, place), weight) for place, weight in self.guided]

        def guided(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            plain = self.velocity(x, t, c)
            return plain + sum((weight - 1) * (plain - self.velocity(x, t, other)) for other, weight in without)

        return guided


class Apart(Trainable):
    """A flow's loss to which every image adds by itself: no time, and no mean, hangs on another image of the batch."""

    def __init__(self, flow: FlowNetwork):
        super().__init__()
        self.flow = flow

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self.flow.misfit(batch.x, self.flow.hiding(batch), batch.normal_like(), batch.uniform(len(batch.x))).mean()


def hidden(c: torch.Tensor, place: slice) -> torch.Tensor:
    """The condition codes with one factor missing."""
    other = c.clone()
    other[:, place] = 0
    return other
