"""What fills the skull: the share of every tissue within it, all volumes exact.

Each volume is met by moving one surface, and each surface takes its room from what is left by those before it:
skull, ventricles, hindbrain, cerebrum, white-matter lesions, tumour. So an edit of one volume moves no earlier one, and
the later ones are met anew; the fluid outside the brain takes up the difference.
"""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.phantoms import brain_cortex, brain_deep, brain_lesions
from synthkit.phantoms.brain_frame import FIELD_MM, Frame, Nuisance
from synthkit.phantoms.brain_head import Skull
from synthkit.phantoms.brain_level import level

NUCLEI = ("thalamus", "caudate", "putamen", "pallidum")
SPREAD = 0.8  # mm that the callosum and the nuclei give way for each mm by which the ventricles widen
CORE = 0.7  # mm that white matter shrinks for each mm of the cortex, which so grows thinner
Shares = dict[str, Tensor]


@dataclass(frozen=True)
class Hold:
    """Moves surfaces until they hold the volumes asked for."""

    frame: Frame

    def shift(self, distance: Tensor, target_ml: Tensor, within: Tensor) -> Tensor:
        """mm to add to a signed distance."""
        voxel_ml = (FIELD_MM / len(distance)) ** 3 / 1000
        return level(distance, target_ml, within=within, softness=self.frame.softness, voxel_ml=voxel_ml)

    def moved(self, distance: Tensor, target_ml: Tensor, within: Tensor) -> Tensor:
        """The signed distance to the surface that holds the volume."""
        return distance + self.shift(distance, target_ml, within)


def inside(values: Mapping[str, Tensor], nuisance: Nuisance, frame: Frame, skull: Skull, room: Tensor) -> Shares:
    """Tissue to (D, H, W) share of a voxel; together they fill `room`, the share inside the skull."""
    hold, stage = Hold(frame), values["atrophy"]
    nominal = brain_deep.ventricles(frame, stage)
    wider = -hold.shift(nominal, values["ventricle_volume"], room)
    ventricles = room * frame.occupancy(nominal - wider)
    form = brain_cortex.brain(frame, skull, nuisance, stage, SPREAD * wider)
    hindbrain, rest = _hindbrain(frame, form, room - ventricles)
    target = values["brain_volume"] - sum(share.sum() for share in hindbrain.values()) * (FIELD_MM / len(room)) ** 3 / 1000
    deeper = hold.shift(form.cerebrum, target, rest)
    cerebrum = rest * frame.occupancy(form.cerebrum + deeper)
    shares = {"csf": rest - cerebrum, "ventricles": ventricles, "brain_stem": hindbrain["brain_stem"]}
    for name, distance in brain_deep.nuclei(frame, SPREAD * wider).items():
        shares[name] = cerebrum * frame.occupancy(distance)
        cerebrum = cerebrum - shares[name]
    white = cerebrum * frame.occupancy(form.white + CORE * deeper)
    spots = hold.moved(brain_lesions.wm_lesions(frame, nuisance, nominal - wider), values["wm_lesion_load"], white)
    shares["wm_lesions"] = white * frame.occupancy(spots)
    shares["white"] = white - shares["wm_lesions"] + hindbrain["white"]
    shares["grey"] = cerebrum - white + hindbrain["grey"]
    return _with_tumour(shares, values, nuisance, hold)


def _hindbrain(frame: Frame, form: brain_cortex.Brain, room: Tensor) -> tuple[Shares, Tensor]:
    """Stem and cerebellum, which no atrophy shrinks, and what they leave."""
    stem = room * frame.occupancy(form.stem)
    cerebellum = (room - stem) * frame.occupancy(form.cerebellum)
    white = cerebellum * frame.occupancy(form.arbor)
    return {"brain_stem": stem, "white": white, "grey": cerebellum - white}, room - stem - cerebellum


def _with_tumour(shares: Shares, values: Mapping[str, Tensor], nuisance: Nuisance, hold: Hold) -> Shares:
    """The tumour takes the place of healthy brain; fluid and lesions, and the brain as a whole, stay what they were."""
    hosts = ("grey", "white", "brain_stem", *NUCLEI)
    if not values["tumour"]:
        return shares | {name: torch.zeros_like(shares["white"]) for name in ("tumour", "necrosis", "oedema")}
    frame, host = hold.frame, torch.stack([shares[name] for name in hosts]).sum(0)
    form = brain_lesions.tumour(frame, nuisance, tuple(values[f"tumour_{axis}"] for axis in "xyz"), values["tumour_volume"])
    rind = hold.moved(form.rind, values["tumour_volume"], host)
    taken = frame.occupancy(rind)
    dead = taken * frame.occupancy(rind + form.rim)
    reach = values["oedema_width"] / frame.scale * form.ragged
    left = {name: shares[name] * (1 - taken) for name in hosts}
    swollen = left["white"] * frame.occupancy(rind - reach)
    left["white"] = left["white"] - swollen
    return shares | left | {"oedema": swollen, "tumour": host * (taken - dead), "necrosis": host * dead}
