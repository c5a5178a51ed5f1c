"""A subject's chest in centimetres: what the factors and the subject's own streams make of it.

Patient's left is +x (the viewer's right), +y points to the feet, +z to the back; the origin is mid-chest.
Formulas use plain arithmetic only, so a factor may be a float or a tensor that asks for gradients.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms.physics import Scalar

LUNG_OCTAVES = (5, 9, 17, 33, 65, 129)
SOFT_OCTAVES = (9, 17, 33)
BRANCH_LEVELS = 4
BRANCHES = 8


@dataclass(frozen=True)
class Nuisance:
    """Everything about a subject that no factor explains, from its streams; unchanged by any edit."""

    habitus: np.ndarray
    exposure: np.ndarray
    place: np.ndarray
    rib_shift: Tensor
    warp: Tensor
    lung_octaves: tuple[Tensor, ...]
    soft_octaves: tuple[Tensor, ...]
    branches: np.ndarray
    wires: np.ndarray

    @classmethod
    def draw(cls, seed: int, subject: str) -> "Nuisance":
        def normal(stream: str, *shape: int) -> np.ndarray:
            return randomness.generator(seed, subject, f"anatomy.{stream}").standard_normal(shape, dtype=np.float32)

        def octaves(stream: str, knots: tuple[int, ...]) -> tuple[Tensor, ...]:
            parts = torch.from_numpy(normal(stream, sum(side**2 for side in knots))).split([side**2 for side in knots])
            return tuple(part.view(side, side) for part, side in zip(parts, knots, strict=True))

        return cls(
            habitus=normal("habitus", 16).clip(-2.2, 2.2),
            exposure=normal("exposure", 5).clip(-2.2, 2.2),
            place=randomness.generator(seed, subject, "anatomy.place").random(16),
            rib_shift=torch.from_numpy(normal("ribs", 2, 14).clip(-2, 2)),
            warp=torch.from_numpy(normal("warp", 2, 7, 7)),
            lung_octaves=octaves("lung", LUNG_OCTAVES),
            soft_octaves=octaves("soft", SOFT_OCTAVES),
            branches=normal("branches", 2, 2 ** (BRANCH_LEVELS + 1), BRANCHES, 3),
            wires=normal("wires", 8, 3),
        )


@dataclass(frozen=True)
class Anatomy:
    """Lengths in cm (angles in radians) of one subject's chest; (right, left) pairs are the patient's sides."""

    spread: Scalar
    field_cm: Scalar
    shift: tuple[float, float]
    tilt: float
    half_width: Scalar
    half_depth: Scalar
    apex: Scalar
    reach: Scalar
    dome: tuple[Scalar, Scalar]
    wall: Scalar
    body_depth: Scalar
    shoulder: tuple[Scalar, Scalar]
    arm: Scalar
    neck: Scalar
    breast: tuple[Scalar, Scalar, Scalar]
    heart_width: Scalar
    heart_share_right: float
    heart_y: Scalar
    heart_stretch: Scalar
    mediastinum: tuple[Scalar, Scalar]
    knob: Scalar
    rib_drop: Scalar
    rib_gap: Scalar
    bone: Scalar
    scapula: Scalar
    clavicle_y: Scalar


def measure(values: dict[str, Scalar], nuisance: Nuisance) -> Anatomy:
    """The chest of coded factor values (categories 0 or 1), for one subject's nuisances."""
    own = [float(number) for number in nuisance.habitus]
    spread = (values["age"] - 58) / 16
    weight = (values["bmi"] - 26) / 10
    male, upright, second = values["sex"], 1 - values["view"], values["group"]
    half_width = 12.7 + 1.3 * male + 0.3 * weight + 0.45 * own[0] - 0.35 * second
    apex = -13.6 + 0.5 * own[2]
    height = 19.2 + 1.4 * male - 0.7 * spread - 1.0 * weight + 1.8 * upright + 0.8 * own[1]
    half_depth = 8.4 + 0.7 * male + 0.35 * spread + 0.25 * weight + 0.3 * own[3]
    return Anatomy(
        spread=spread,
        field_cm=35.2 + 2.0 * male + 0.8 * weight - 0.7 * values["view"] + 1.4 * own[4],
        shift=(0.5 * own[5], 0.6 * own[6]),
        tilt=0.018 * own[7],
        half_width=half_width,
        half_depth=half_depth,
        apex=apex,
        reach=0.74 * height,
        dome=(apex + height, apex + height + 1.1 + 0.35 * own[8]),
        wall=4.2 + 0.4 * male + 1.3 * weight + 0.3 * second + 0.3 * own[9],
        body_depth=half_depth + 1.7 + 0.9 * weight + 0.25 * male,
        shoulder=(apex - 3.7 + 0.5 * own[10] - 0.5 * values["view"], 0.42 + 0.05 * own[11]),
        arm=6.0 - 1.2 * values["view"] + 0.7 * own[15],
        neck=5.6 + 0.7 * male + 0.9 * weight,
        breast=_breast(1 - male, spread, weight, own[12]),
        heart_width=2 * half_width * values["heart_ratio"],
        heart_share_right=0.35 + 0.025 * own[13],
        heart_y=apex + height - 3.1 - 0.4 * weight,
        heart_stretch=1 + 0.06 * values["view"],
        mediastinum=(
            2.7 + 0.25 * weight + 0.15 * spread + 0.5 * values["view"] + 0.2 * own[14],
            2.2 + 0.25 * weight + 0.2 * spread + 0.4 * values["view"] + 0.2 * own[15],
        ),
        knob=1.25 + 0.22 * spread,
        rib_drop=6.2 + 0.45 * spread + 0.4 * own[11],
        rib_gap=2.42 + 0.05 * male + 0.05 * own[1],
        bone=1 - 0.16 * spread,
        scapula=half_width + 2.2 * upright + 0.3,
        clavicle_y=apex + 2.6 - 1.7 * values["view"] + 0.5 * own[10],
    )


def _breast(female: Scalar, spread: Scalar, weight: Scalar, own: float) -> tuple[Scalar, Scalar, Scalar]:
    """Half width, lower edge below mid-chest, and thickness."""
    return 6.2 + 1.2 * weight, 8.6 + 0.9 * spread + 1.0 * weight + 0.6 * own, female * (2.4 + 1.2 * weight + 0.4 * own)


def vessel_points(nuisance: Nuisance) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A branching tree in each lung, thinning outwards.

    Returns:
        x, y in cm from the hilum (x positive outwards), diameter in cm, and length of each point's share; the
        first axis of all is the side (right, left).
    """
    steps = np.linspace(0, 1, 16, dtype=np.float32)
    x = np.zeros((2, 1, BRANCHES, 1), np.float32)
    y = np.linspace(-1.0, 1.4, BRANCHES, dtype=np.float32)[None, None, :, None] + x
    angle = (np.linspace(-1.45, 1.5, BRANCHES, dtype=np.float32))[None, None, :, None] + 0.16 * nuisance.branches[
        :, :1, :, :1
    ]
    parts, first = [], 1
    for level in range(BRANCH_LEVELS):
        own = nuisance.branches[:, first : first + 2**level]
        length = (4.4 * 0.78**level) * (1 + 0.18 * own[..., 1:2])
        bow = 0.10 * own[..., 2:3] * length * np.sin(np.pi * steps)
        px = x + length * steps * np.cos(angle) - bow * np.sin(angle)
        py = y + length * steps * np.sin(angle) + bow * np.cos(angle)
        diameter = (0.98 * 0.70**level) * (1 - 0.25 * steps) * (1 + 0.25 * np.sin(angle)) + 0 * px
        parts.append([part.reshape(2, -1) for part in (px, py, diameter, length / len(steps) + 0 * px)])
        x, y = (np.concatenate([end[..., -1:], end[..., -1:]], axis=1) for end in (px, py))
        first += 2**level
        fork = 0.42 + 0.10 * nuisance.branches[:, first : first + 2**level, :, :1]
        angle = np.concatenate([angle + fork, angle - fork], axis=1)
    return tuple(np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
