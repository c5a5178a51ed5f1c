"""A subject's chest in centimetres: what the factors and the subject's own streams make of it.

Patient's left is +x (the viewer's right), +y points to the feet, +z to the back; the origin is mid-chest.
All numbers are (N, 1, 1) tensors. Formulas use plain arithmetic only, which rounds alike in any batch; numpy draws the rest.
"""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthkit.core import randomness

LUNG_OCTAVES = (5, 9, 17, 33, 65, 129)
SOFT_OCTAVES = (9, 17, 33)
BRANCH_LEVELS = 4
BRANCHES = 8


@dataclass(frozen=True)
class Nuisance:
    """Everything about N subjects that no factor explains, from their streams; unchanged by any edit.

    Attributes:
        habitus, exposure, place: (N, count, 1, 1); the first two normal, the last uniform.
        rib_shift: (N, 2, 14); warp: (N, 2, 7, 7); wires: (N, 8, 3); all normal.
        lung_octaves, soft_octaves: per octave (N, knots, knots), normal.
        vessels: (N, 4, P): x (outwards) and y in cm from the hilum, diameter, length; the right lung's points first.
    """

    habitus: Tensor
    exposure: Tensor
    place: Tensor
    rib_shift: Tensor
    warp: Tensor
    lung_octaves: tuple[Tensor, ...]
    soft_octaves: tuple[Tensor, ...]
    vessels: Tensor
    wires: Tensor

    @classmethod
    def draw(cls, keys: Iterable[tuple[int, str]], device: torch.device | str) -> "Nuisance":
        """The nuisances of the subjects with these (seed, name)."""
        rows = [_draw(seed, name) for seed, name in keys]
        drawn = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        drawn["vessels"] = vessel_points(drawn.pop("branches"))
        stacked = {name: torch.from_numpy(numbers).to(device) for name, numbers in drawn.items()}
        for name, knots in (("lung_octaves", LUNG_OCTAVES), ("soft_octaves", SOFT_OCTAVES)):
            parts = stacked[name].split([side**2 for side in knots], 1)
            stacked[name] = tuple(part.unflatten(1, (side, side)) for part, side in zip(parts, knots, strict=True))
        return cls(**stacked)


def _draw(seed: int, subject: str) -> dict[str, np.ndarray]:
    def normal(stream: str, *shape: int) -> np.ndarray:
        return randomness.generator(seed, subject, f"anatomy.{stream}").standard_normal(shape, dtype=np.float32)

    return {
        "habitus": normal("habitus", 16, 1, 1).clip(-2.2, 2.2),
        "exposure": normal("exposure", 5, 1, 1).clip(-2.2, 2.2),
        "place": randomness.generator(seed, subject, "anatomy.place").random(16).astype(np.float32)[:, None, None],
        "rib_shift": normal("ribs", 2, 14).clip(-2, 2),
        "warp": normal("warp", 2, 7, 7),
        "lung_octaves": normal("lung", sum(side**2 for side in LUNG_OCTAVES)),
        "soft_octaves": normal("soft", sum(side**2 for side in SOFT_OCTAVES)),
        "branches": normal("branches", 2, 2 ** (BRANCH_LEVELS + 1), BRANCHES, 3),
        "wires": normal("wires", 8, 3),
    }


@dataclass(frozen=True)
class Anatomy:
    """Lengths in cm (angles in radians) of one subject's chest; (right, left) pairs are the patient's sides."""

    spread: Tensor
    field_cm: Tensor
    shift: tuple[Tensor, Tensor]
    tilt: Tensor
    half_width: Tensor
    half_depth: Tensor
    apex: Tensor
    reach: Tensor
    dome: tuple[Tensor, Tensor]
    wall: Tensor
    body_depth: Tensor
    shoulder: tuple[Tensor, Tensor]
    arm: Tensor
    neck: Tensor
    breast: tuple[Tensor, Tensor, Tensor]
    heart_width: Tensor
    heart_share_right: Tensor
    heart_y: Tensor
    heart_stretch: Tensor
    mediastinum: tuple[Tensor, Tensor]
    knob: Tensor
    rib_drop: Tensor
    rib_gap: Tensor
    bone: Tensor
    scapula: Tensor
    clavicle_y: Tensor


def measure(values: Mapping[str, Tensor], nuisance: Nuisance) -> Anatomy:
    """The chests of coded factor values, (N, 1, 1) each, and their subjects' nuisances."""
    own = nuisance.habitus.unbind(1)
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
        heart_stretch=1 + 0.06 * values["view"] + 0.08 * values["cardiomegaly"],
        mediastinum=(
            2.5 + 0.25 * weight + 0.15 * spread + 0.5 * values["view"] + 0.2 * own[14],
            2.0 + 0.25 * weight + 0.2 * spread + 0.4 * values["view"] + 0.2 * own[15],
        ),
        knob=1.25 + 0.22 * spread,
        rib_drop=6.2 + 0.45 * spread + 0.4 * own[11],
        rib_gap=2.42 + 0.05 * male + 0.05 * own[1],
        bone=1 - 0.16 * spread,
        scapula=half_width + 2.2 * upright + 0.3,
        clavicle_y=apex + 2.6 - 1.7 * values["view"] + 0.5 * own[10],
    )


def _breast(female: Tensor, spread: Tensor, weight: Tensor, own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half width, lower edge below mid-chest, and thickness."""
    return 6.2 + 1.2 * weight, 8.6 + 0.9 * spread + 1.0 * weight + 0.6 * own, female * (3.0 + 1.4 * weight + 0.4 * own)


def vessel_points(own: np.ndarray) -> np.ndarray:
    """A branching tree in each lung, thinning outwards.

    Args:
        own: (N, 2, 2^(levels + 1), branches, 3) normal numbers.
    Returns:
        (N, 4, P) float32: x (outwards) and y in cm from the hilum, diameter in cm, and length of each point's share.
    """
    steps = np.linspace(0, 1, 16, dtype=np.float32)
    x = np.zeros((len(own), 2, 1, BRANCHES, 1), np.float32)
    y = np.linspace(-1.0, 1.4, BRANCHES, dtype=np.float32)[:, None] + x
    angle = np.linspace(-1.45, 1.5, BRANCHES, dtype=np.float32)[:, None] + 0.16 * own[:, :, :1, :, :1]
    parts, first = [], 1
    for level in range(BRANCH_LEVELS):
        mine = own[:, :, first : first + 2**level]
        length = (4.4 * 0.78**level) * (1 + 0.18 * mine[..., 1:2])
        bow = 0.10 * mine[..., 2:3] * length * np.sin(np.pi * steps)
        cosine, sine = np.cos(angle), np.sin(angle)
        px = x + length * steps * cosine - bow * sine
        py = y + length * steps * sine + bow * cosine
        diameter = (0.98 * 0.70**level) * (1 - 0.25 * steps) * (1 + 0.25 * sine) + 0 * px
        parts.append(np.stack([px, py, diameter, length / len(steps) + 0 * px], 1).reshape(len(own), 4, 2, -1))
        x, y = (np.concatenate([end[..., -1:], end[..., -1:]], axis=2) for end in (px, py))
        first += 2**level
        fork = 0.42 + 0.10 * own[:, :, first : first + 2**level, :, :1]
        angle = np.concatenate([angle + fork, angle - fork], axis=2)
    return np.concatenate(parts, axis=3).reshape(len(own), 4, -1).astype(np.float32)
