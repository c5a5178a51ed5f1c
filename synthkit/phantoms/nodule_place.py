"""Where in the lung a nodule lies: the directions of the hilum, the chest wall and the fissure in each lobe.

Axes are (z, y, x), mm from the nodule: z to the head, y to the back, x to the patient's left, as axial DICOM.
"""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthkit.core import randomness

Array = np.ndarray
# In the right lung: to the hilum, to the nearest chest wall, across the fissure; mm at which the last two may pass.
RIGHT = {
    "upper": ((-0.50, 0.15, 0.85), (0.15, 0.45, -0.88), (-1.0, 0.20, 0.05), (12.5, 38.0), (13.0, 40.0)),
    "middle": ((0.10, 0.60, 0.80), (-0.05, -0.72, -0.70), (1.0, 0.15, 0.05), (12.5, 34.0), (11.5, 26.0)),
    "lower": ((0.55, -0.35, 0.75), (-0.10, 0.75, -0.65), (0.55, -0.82, 0.05), (12.5, 38.0), (13.0, 40.0)),
}
LEFT_UPPER_FISSURE = (-0.60, 0.80, 0.05)  # the left lung has no minor fissure
WALL_CURVATURE_MM = 95.0
FISSURE_CURVATURE_MM = 70.0
JITTER_MM = 1.5


@dataclass(frozen=True)
class Place:
    """One subject's surroundings; directions are (3,) unit vectors.

    Attributes:
        centre: of the nodule from the cube's centre, mm.
        wall_mm, fissure_mm: distances from the nodule.
        bend: of the fissure across its two axes, -1..1.
    """

    centre: Array
    hilum: Array
    outward: Array
    wall_mm: float
    across: Array
    fissure_mm: float
    bend: Array

    @staticmethod
    def draw(seed: int, subject: str, lobe: str) -> "Place":
        """The surroundings of a subject's nodule were it in this lobe."""
        source = randomness.generator(seed, subject, "nodule.place")
        centre, reaches, bend = source.uniform(-JITTER_MM, JITTER_MM, 3), source.random(2), source.uniform(-1, 1, 2)
        tilts = source.standard_normal((3, 3))
        side, part = lobe.split()
        *axes, wall_range, fissure_range = RIGHT[part]
        if lobe == "left upper":
            axes[2] = LEFT_UPPER_FISSURE
        directions = np.array(axes) + np.array([[0.22], [0.18], [0.12]]) * tilts
        if side == "left":
            directions[:, 2] *= -1
        hilum, outward, across = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        wall_mm, fissure_mm = (low + (high - low) * u for (low, high), u in zip((wall_range, fissure_range), reaches, strict=True))
        return Place(centre, hilum, outward, float(wall_mm), across, float(fissure_mm), bend)

    def wall_depth(self, points: Tensor) -> Tensor:
        """(...) mm beyond the pleura, negative in the lung, of points (..., 3) from the nodule."""
        outward = _vector(self.outward, points)
        middle = outward * (self.wall_mm - WALL_CURVATURE_MM)
        return torch.linalg.vector_norm(points - middle, dim=-1) - WALL_CURVATURE_MM

    def fissure_height(self, points: Tensor) -> Tensor:
        """(...) mm beyond the fissure, negative in the nodule's own lobe."""
        across = _vector(self.across, points)
        helper = torch.zeros_like(across)
        helper[2] = 1
        first = torch.linalg.cross(across, helper)
        first = first / first.norm()
        second = torch.linalg.cross(across, first)
        bow = (float(self.bend[0]) * (points @ first).square() + float(self.bend[1]) * (points @ second).square()) / (2 * FISSURE_CURVATURE_MM)
        return points @ across - self.fissure_mm + bow

    def open_lung(self, places: Array, starts: Array) -> Array:
        """(B,) bool: inside the lung, in the lobe in which the vessel's tree began; (B, 3) mm from the cube's centre."""
        points, roots = (torch.from_numpy(np.asarray(part - self.centre)) for part in (places, starts))
        same_lobe = self.fissure_height(points).sign() == self.fissure_height(roots).sign()
        return (same_lobe & (self.wall_depth(points) < -2)).numpy()


def _vector(direction: Array, like: Tensor) -> Tensor:
    return torch.as_tensor(direction, dtype=like.dtype, device=like.device)
