"""A procedural CT cube around a lung nodule, whose factors, masks and exact counterfactuals are known."""
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.core.space import Channel, Space
from synthkit.phantoms import ct, nodule_shape, physics
from synthkit.phantoms.factor import Factor
from synthkit.phantoms.nodule_factors import FACTORS, KERNELS
from synthkit.phantoms.nodule_scene import FIELD_OF_VIEW_MM, Scene, attenuation, build
from synthkit.phantoms.origin import whole_number
from synthkit.phantoms.phantom import Phantom, Subjects

WINDOW_HU = (-1024.0, 400.0)


@dataclass(frozen=True)
class Kernel:
    """A reconstruction kernel: widths in mm, edge enhancement as a share, noise of a voxel at 100 mAs."""

    fwhm_mm: float
    edge: float
    noise_fwhm_mm: float
    noise_hu: float


KERNEL = dict(zip(KERNELS, (Kernel(1.35, 0.0, 1.5, 16.0), Kernel(0.85, 0.3, 0.8, 36.0)), strict=True))
EDGE_FWHM_MM = 1.9
SLICE_SIGMA_MM = 0.45  # neighbouring slices overlap, and share some of their noise


@dataclass(frozen=True)
class NodulePhantom(Phantom):
    """Cubes of 48 mm around a lung nodule in HU, drawn from a known causal model.

    Diameter is that of the sphere of the nodule's volume, spicules left out. Malignancy is caused by size, margin, density,
    place and patient, and is not drawn: an image of a cancer differs only by what made it likely. Masks: nodule, solid_part,
    spicules, vessels, airways, lung (nodule and vessels included), wall, ribs, fissure.

    Args:
        size: voxels per side, 32..96.
    """

    size: int = 48
    name: ClassVar[str] = "nodule"

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number("size", self.size, 32, 96, "voxels"))

    @property
    def factors(self) -> tuple[Factor, ...]:
        return FACTORS

    @property
    def space(self) -> Space:
        """One channel of whole HU; slices from the feet up, rows to the back, columns to the patient's left."""
        window = Channel("CT", low=WINDOW_HU[0], high=WINDOW_HU[1], unit="HU")
        return Space((self.size,) * 3, (window,), spacing_mm=(self.spacing_mm,) * 3)

    @property
    def batch(self) -> int:
        return 1

    @property
    def spacing_mm(self) -> float:
        """Edge of a voxel."""
        return FIELD_OF_VIEW_MM / self.size

    def paint(self, subjects: Subjects, *, noise: bool, device: torch.device | str) -> Tensor:
        cubes = []
        for seed, subject, values in subjects.each(device):
            hu = self._scan(build(seed, subject, values, size=self.size, device=device), values)
            if noise:
                hu = hu + self._noise(seed, subject, values, device)
            cubes.append(hu)
        low, high = WINDOW_HU
        return ((torch.stack(cubes)[:, None] - low) / (high - low)).clamp(0, 1)

    def outline(self, subjects: Subjects) -> dict[str, Tensor]:
        found = [_masks(build(seed, name, values, size=self.size, device="cpu"), values, self.spacing_mm) for seed, name, values in subjects.each("cpu")]
        return {name: torch.stack([masks[name] for masks in found]) for name in found[0]}

    def _scan(self, scene: Scene, values: Mapping[str, Tensor]) -> Tensor:
        kernel, spacing, hu = _kernel(values), (self.spacing_mm,) * 3, attenuation(scene, values)
        shown = ct.point_spread(hu[None], spacing_mm=spacing, fwhm_mm=kernel.fwhm_mm)[0]
        if not kernel.edge:
            return shown
        return shown + kernel.edge * (shown - ct.point_spread(hu[None], spacing_mm=spacing, fwhm_mm=EDGE_FWHM_MM)[0])

    def _noise(self, seed: int, subject: str, values: Mapping[str, Tensor], device: torch.device | str) -> Tensor:
        kernel = _kernel(values)
        white = randomness.normal((self.size,) * 3, seed=seed, identities=[subject], stream="nodule.noise")[0].to(device)
        profile = physics.gaussian_matrix(self.size, torch.full((1, 1, 1), SLICE_SIGMA_MM / self.spacing_mm, device=device))[0]
        sliced = (profile / profile.norm(dim=1, keepdim=True) @ white.flatten(1)).view_as(white)
        spacing = (self.spacing_mm,) * 3
        return ct.dose_noise(sliced[None], mas=values["dose"], spacing_mm=spacing, correlation_mm=kernel.noise_fwhm_mm, sigma_hu=kernel.noise_hu)[0]


def _kernel(values: Mapping[str, Tensor]) -> Kernel:
    return KERNEL[KERNELS[int(values["kernel"])]]


def _masks(scene: Scene, values: Mapping[str, Tensor], spacing_mm: float) -> dict[str, Tensor]:
    nodule = nodule_shape.mask(scene.nodule, diameter=float(values["diameter"]), spacing_mm=spacing_mm)
    wall = (scene.wall.share >= 0.5) & ~nodule
    return {
        "nodule": nodule,
        "solid_part": (scene.core >= 0.5) & nodule,
        "spicules": (scene.strands >= 0.5) & ~nodule & ~wall,
        "vessels": (scene.tubes.vessels >= 0.5) & ~wall,
        "airways": (scene.tubes.bronchi >= 0.5) & ~wall,
        "lung": ~wall,
        "wall": wall,
        "ribs": (scene.wall.rib >= 0.5) & wall,
        "fissure": (scene.fissure > 0) & ~wall & ~nodule,
    }
