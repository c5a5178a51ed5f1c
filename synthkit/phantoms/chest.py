"""A procedural chest X-ray whose factors, masks and exact counterfactuals are known."""
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthkit.core.space import Channel, Space
from synthkit.errors import SchemaError
from synthkit.phantoms import chest_factors
from synthkit.phantoms.chest_anatomy import Nuisance
from synthkit.phantoms.chest_scene import Scene, build, develop, quantum_noise, structures
from synthkit.phantoms.factor import Factor
from synthkit.phantoms.origin import whole_number
from synthkit.phantoms.phantom import Phantom, Subjects

PIXELS = 8 * 64 * 64  # more fall out of the cache


@dataclass(frozen=True)
class ChestPhantom(Phantom):
    """Chest films drawn from a known causal model.

    Args:
        size: pixels per side, 32..512.
        confounding: P(marker | effusion) - P(marker | no effusion), 0..1, symmetric around one half.
        emerging: share of subjects with an invented disease that no one has by default.

    A lesion may be set anywhere within 130 mm of mid-chest; it shows where there is lung (drawn ones lie 48..96 mm to the side).

    Example:
        chest = sk.ChestPhantom(size=64)
        data = chest.cohort(256, seed=0)
        dry = chest.counterfactual(data[:8], do={"effusion": "absent"})
    """

    size: int = 64
    confounding: float = 0.8
    emerging: float = 0.0

    name = "chest"
    sensitive = ("sex", "age", "group")

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number("size", self.size, 32, 512, "pixels"))
        for knob, value in (("confounding", self.confounding), ("emerging", self.emerging)):
            if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not 0 <= value <= 1:
                raise SchemaError(f"{knob}: {value!r} is outside 0..1")
            object.__setattr__(self, knob, float(value))

    @property
    def factors(self) -> tuple[Factor, ...]:
        """The structural equations, parents before children."""
        return chest_factors.factors(self.confounding, self.emerging)

    @property
    def space(self) -> Space:
        """One 16-bit channel. The field of view differs by subject, so no common spacing is claimed."""
        return Space((self.size, self.size), (Channel("xray", low=0, high=65535),))

    @property
    def batch(self) -> int:
        """Films drawn at once. Rows that do not fill whole vector registers round by their place: those go one by one."""
        return max(1, PIXELS // self.size**2) if self.size % 16 == 0 else 1

    def paint(self, subjects: Subjects, *, noise: bool, device: torch.device | str) -> Tensor:
        scene, values = self._scene(subjects, device)
        drawn = quantum_noise(subjects.keys(), self.size).to(device) if noise else None
        return develop(scene, values, self.size, noise=drawn)[:, None]

    def outline(self, subjects: Subjects) -> dict[str, Tensor]:
        scene, values = self._scene(subjects, "cpu")
        return structures(scene, values, self.size)

    def _scene(self, subjects: Subjects, device: torch.device | str) -> tuple[Scene, dict[str, Tensor]]:
        values = {name: coded.to(device)[:, None, None] for name, coded in subjects.values.items()}
        return build(values, Nuisance.draw(subjects.keys(), device), self.size), values
