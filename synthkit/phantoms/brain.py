"""A procedural head in T1, T2, FLAIR and CT whose factors, masks, volumes and exact counterfactuals are known."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor

from synthkit.core.cohort import Cohort
from synthkit.core.space import Channel, Space
from synthkit.phantoms import brain_factors
from synthkit.phantoms.brain_frame import FIELD_MM, Nuisance
from synthkit.phantoms.brain_inside import NUCLEI
from synthkit.phantoms.brain_scan import HU_WINDOW, exposure_noise, scan
from synthkit.phantoms.brain_tissue import BRAIN, INTRACRANIAL, TISSUES, Anatomy, build
from synthkit.phantoms.factor import Factor
from synthkit.phantoms.origin import factor_table, whole_number
from synthkit.phantoms.phantom import Phantom, Subjects, one_thread

LABELS: Mapping[str, int] = {name: number for number, name in enumerate(TISSUES)}
STRUCTURES: Mapping[str, tuple[str, ...]] = {
    "intracranial": INTRACRANIAL,
    "brain": BRAIN,
    "grey": ("grey",),
    "white": ("white",),
    "csf": ("csf",),
    "ventricles": ("ventricles",),
    "deep_nuclei": NUCLEI,
    "brain_stem": ("brain_stem",),
    "wm_lesions": ("wm_lesions",),
    "tumour": ("tumour", "necrosis"),
    "oedema": ("oedema",),
    "skull": ("bone", "marrow"),
}


@dataclass(frozen=True)
class BrainPhantom(Phantom):
    """Registered T1, T2, FLAIR and CT volumes of heads drawn from a known causal model, with their clinical record.

    Volumes (D, H, W) lie as the loaders turn them: slices from the feet up, rows to the back, columns to the patient's
    left; the places of a tumour (x to the left, y to the back, z up, in mm) are seen from the middle of the brain. Scanner
    A is a 1.5 T, B a 3 T system. T1 is taken after contrast agent, which only a tumour takes up (`enhancement`); a tumour
    replaces tissue and pushes nothing aside. Brain, ventricles, lesions, tumour and skull hold exactly the volumes that the
    factors name (see `volumes`), and an edit of one leaves the others as they are.

    Args:
        size: voxels per side of a cube of 224 mm, 32..128.
    """

    name: ClassVar[str] = "brain"
    size: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number("size", self.size, 32, 128, "voxels"))

    @property
    def factors(self) -> tuple[Factor, ...]:
        return brain_factors.factors()

    @property
    def space(self) -> Space:
        """Signed 16 bits: three unitless MR channels, and CT in HU as it stands."""
        resonance = [Channel(name, low=0, high=32767) for name in ("T1", "T2", "FLAIR")]
        low, high = HU_WINDOW
        return Space((self.size,) * 3, (*resonance, Channel("CT", low=low, high=high, unit="HU")), (FIELD_MM / self.size,) * 3)

    @property
    def batch(self) -> int:
        return 1

    def paint(self, subjects: Subjects, *, noise: bool, device: torch.device | str) -> Tensor:
        heads = []
        for seed, subject, values in subjects.each(device):
            drawn = exposure_noise(seed, subject, self.size).to(device) if noise else None
            heads.append(scan(self._anatomy(seed, subject, values), values, noise=drawn))
        return torch.stack(heads)

    def outline(self, subjects: Subjects) -> dict[str, Tensor]:
        found = [{name: head.total(tissues) >= 0.5 for name, tissues in STRUCTURES.items()} for head in self._heads(subjects)]
        return {name: torch.stack([masks[name] for masks in found]) for name in STRUCTURES}

    def labels(self, source: Cohort | pd.DataFrame) -> Tensor:
        """(N, D, H, W) uint8: the tissue that has the largest share of each voxel, numbered as in `label_names`."""
        maps = [torch.stack([head.shares[name] for name in TISSUES]).argmax(0).to(torch.uint8) for head in self._sources(source)]
        return torch.stack(maps) if maps else torch.empty(0, *self.space.size, dtype=torch.uint8)

    @property
    def label_names(self) -> dict[int, str]:
        """The tissue that each number of `labels` stands for."""
        return {number: name for name, number in LABELS.items()}

    def volumes(self, source: Cohort | pd.DataFrame) -> pd.DataFrame:
        """Volumes in ml by structure, partial voxels counted by their share; one row per subject, with its `image_id`.

        `brain` is all of cerebrum, cerebellum and stem, with lesions, tumour and oedema, without ventricles; `csf` lies outside
        the ventricles; `intracranial` is all of these. The spinal canal counts down to the edge of the field. These equal
        the factors: brain_volume, ventricle_volume, wm_lesion_load, tumour_volume, and intracranial_volume (unless a
        brain was asked for that needs a larger skull). Within the brain, grey and white matter share what is left, so an
        edit of the ventricles moves tissue between them.
        """
        voxel_ml = (FIELD_MM / self.size) ** 3 / 1000
        sums = [[float(head.total(tissues).sum(dtype=torch.float64)) for tissues in STRUCTURES.values()] for head in self._sources(source)]
        volumes = pd.DataFrame(sums, columns=list(STRUCTURES)) * voxel_ml
        volumes.insert(0, "image_id", factor_table(self, source)["image_id"].to_numpy())
        return volumes

    def _sources(self, source: Cohort | pd.DataFrame) -> Iterator[Anatomy]:
        for part in self._batches(factor_table(self, source)):
            with one_thread():
                heads = list(self._heads(part))
            yield from heads

    def _heads(self, subjects: Subjects) -> Iterator[Anatomy]:
        for seed, subject, values in subjects.each("cpu"):
            yield self._anatomy(seed, subject, values)

    def _anatomy(self, seed: int, subject: str, values: Mapping[str, Tensor]) -> Anatomy:
        return build(values, Nuisance.draw(seed, subject, values["age"].device), self.size)
