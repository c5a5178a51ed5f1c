"""One head put together: the share of every tissue in every voxel."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.phantoms import brain_head
from synthkit.phantoms.brain_frame import Frame, Nuisance
from synthkit.phantoms.brain_inside import NUCLEI, Hold, Shares, inside

TISSUES = (
    "air", "fat", "muscle", "bone", "marrow", "eye", "csf", "ventricles", "grey", "white", *NUCLEI, "brain_stem", "wm_lesions", "oedema", "tumour", "necrosis",
)  # fmt: skip
INTRACRANIAL = TISSUES[TISSUES.index("csf") :]
BRAIN = TISSUES[TISSUES.index("grey") :]
ROOM = 1.03  # of brain and ventricles: a smaller skull makes room


@dataclass(frozen=True)
class Anatomy:
    """Tissue shares of one head.

    Attributes:
        shares: tissue to (D, H, W) in 0..1; all of them add up to 1 in every voxel.
    """

    frame: Frame
    nuisance: Nuisance
    shares: Mapping[str, Tensor]

    def total(self, names: tuple[str, ...]) -> Tensor:
        """(D, H, W) share of several tissues together."""
        return torch.stack([self.shares[name] for name in names]).sum(0)


def build(values: Mapping[str, Tensor], nuisance: Nuisance, size: int) -> Anatomy:
    """All tissues of one subject.

    Args:
        values: factor to 0-dimensional tensor.
    """
    needed = ROOM * (values["brain_volume"] + values["ventricle_volume"])
    skull_ml = torch.maximum(values["intracranial_volume"], needed)
    frame = Frame.of(nuisance, skull_ml, size)
    skull = brain_head.inner_skull(frame)
    shift = Hold(frame).shift(skull.inner, skull_ml, torch.ones_like(frame.x))
    room = frame.occupancy(skull.inner + shift)
    around = _outside(brain_head.head(frame, skull, shift, nuisance, values["sex"]), 1 - room)
    return Anatomy(frame, nuisance, around | inside(values, nuisance, frame, skull, room))


def _outside(head: brain_head.Head, rest: Tensor) -> Shares:
    """What the brain's room leaves, given to one tissue after the other."""
    shares = {"air": rest * (1 - head.outer)}
    rest = rest * head.outer
    for name, share in (("eye", head.globes), ("air", head.cavities), ("bone", head.bone), ("fat", head.fat)):
        shares[name] = shares.get(name, 0) + rest * share
        rest = rest * (1 - share)
    shares["marrow"] = shares["bone"] * head.marrow
    shares["bone"] = shares["bone"] - shares["marrow"]
    return shares | {"muscle": rest}
