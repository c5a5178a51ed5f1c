"""A student: samples in one or two evaluations of the network what its teacher, a flow, samples in many."""
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar

import torch
from torch import nn

from synthkit.core.imports import class_at
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.flow import interpolate
from synthkit.generators.solvers import euler, midpoint, time_grid
from synthkit.generators.stages import Stage
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, Network, Trainable
from synthkit.nets.showing import NOTHING, Showing


@dataclass(frozen=True)
class Student(Recipe):
    """Few-step student of a fitted `Diffusion`; it samples fast and cannot edit, since nothing leads back from its images.

    The way from noise to image is cut into `evaluations` parts. The student learns to reach the end of each part in one
    evaluation, where its teacher takes several steps: progressive distillation (Salimans & Ho 2022) in a single round, as
    Luhman & Luhman 2021 do for the whole way. It starts from the teacher's weights and is of the teacher's size.

    Args:
        evaluations: of the network per image; one is fastest, two are closer to the teacher.
        shift: where the way is cut, and how the teacher's steps are spaced; see `solvers.time_grid`.
        teacher_steps: midpoint steps of the teacher in each part, two evaluations each.
        drop: share of training images that hide factors, as in the teacher's training.
        backbone, options: as the teacher's.
        batch_size, learning_rate: of the training.

    Example:
        student = sk.Student(evaluations=2).fit(train, start=teacher, budget="lesson", seed=0)
    """

    teacher: ClassVar[str] = "Diffusion"
    budgets: ClassVar[Mapping[str, int]] = {"smoke": 20, "lesson": 750, "full": 20_000}  # a step runs the teacher too
    evaluations: int = 2
    shift: float = 2.0
    teacher_steps: int = 2
    drop: float = 0.3
    backbone: str = "synthkit.nets.unet:UNet"
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int = 32
    learning_rate: float = 5e-4

    def __post_init__(self) -> None:
        given = f"evaluations={self.evaluations}, shift={self.shift}, teacher_steps={self.teacher_steps}, drop={self.drop}"
        if any(isinstance(count, bool) or not isinstance(count, int) for count in (self.evaluations, self.teacher_steps)):
            raise FitError(f"Student({given}): evaluations and teacher_steps are whole numbers")
        if self.evaluations < 1 or self.teacher_steps < 1 or not 0 < self.shift < inf or not 0 <= self.drop < 1:
            raise FitError(f"Student({given}): evaluations and teacher_steps must be 1 or more, shift above 0 and drop 0 or more and under 1")
        if self.batch_size < self.evaluations:
            raise FitError(f"Student({given}): batch_size={self.batch_size} must hold an image for each of the {self.evaluations} parts")

    def network(self, schema: Schema, space: Space) -> "StudentNetwork":
        showing = Showing.of(space.parts, 0)
        width = schema.width + showing.width
        velocity = class_at(self.backbone, nn.Module)(channels=len(space.channels), size=space.size, condition_width=width, **self.options)
        return StudentNetwork(velocity, shape=space.shape, cuts=time_grid(self.evaluations, shift=self.shift), showing=showing)

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        times = time_grid(self.evaluations * self.teacher_steps, shift=self.shift)
        parts = tuple(times[start : start + self.teacher_steps + 1] for start in range(0, len(times) - 1, self.teacher_steps))
        return (Stage("student", Distillation(network, parts=parts, hiding=Hiding(tuple(schema.blocks()), self.drop))),)


class StudentNetwork(Network):
    """A velocity network that crosses each part of the way in one evaluation: its velocity is the mean one of the part."""

    def __init__(self, velocity: nn.Module, *, shape: tuple[int, ...], cuts: tuple[float, ...], showing: Showing = NOTHING):
        super().__init__()
        self.velocity, self.shape, self.cuts, self.showing = velocity, shape, cuts, showing
        self.evaluations = len(cuts) - 1

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        told = self.showing.unmarked(c)
        return euler(lambda x, t: self.velocity(x, t, told), z, self.cuts)


class Distillation(Trainable):
    """A student beside its teacher, which is the student as it stood when this was made.

    Args:
        student: holds the teacher's weights.
        parts: the teacher's times in each part of the way.
        hiding: of the factors.
    """

    def __init__(self, student: StudentNetwork, *, parts: tuple[tuple[float, ...], ...], hiding: Hiding):
        super().__init__()
        self.student, self.parts, self.hiding = student, parts, hiding
        self.teacher = deepcopy(student.velocity).requires_grad_(False)

    def training_step(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of the mean velocity, each part of the way on its share of the images."""
        c, number = self.student.showing.unmarked(self.hiding(batch)), torch.arange(len(batch.x), device=batch.x.device) * len(self.parts) // len(batch.x)
        t = torch.tensor([part[0] for part in self.parts], device=batch.x.device)[number]
        at = interpolate(batch.normal_like(), batch.x, t)
        # Noised images stand for what the teacher makes of noise: on its way it passes through the same distribution.
        wanted = [self._taught(at[number == k], c[number == k], part) for k, part in enumerate(self.parts) if (number == k).any()]
        return (self.student.velocity(at, t, c).float() - torch.cat(wanted)).square().mean()

    @torch.no_grad()
    def _taught(self, x: torch.Tensor, c: torch.Tensor, times: tuple[float, ...]) -> torch.Tensor:
        """The teacher's mean velocity over one part."""
        return (midpoint(lambda y, t: self.teacher(y, t, c), x, times) - x).float() / (times[-1] - times[0])
