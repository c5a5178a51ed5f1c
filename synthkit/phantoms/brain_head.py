"""Everything of the head around the brain: inner skull, bone, face, neck."""
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.phantoms.brain_frame import Frame, Nuisance, ellipsoid, join

DOME_CENTRE, DOME_HALF = (0.0, 0.0, -5.0), (69.0, 86.0, 77.0)
CANAL_MM = 12.5


@dataclass(frozen=True)
class Skull:
    """Signed distances in mm (negative inside) of the inner skull and its rooms.

    Attributes:
        dome: the vault alone.
        inner: the whole intracranial space, with the canal of the spine.
        floor: all above skull base and tentorium.
        cerebellum: the room under the tentorium and behind the petrous bones.
    """

    dome: Tensor
    inner: Tensor
    floor: Tensor
    cerebellum: Tensor


@dataclass(frozen=True)
class Head:
    """Shares 0..1 of each voxel, as if the skull were empty and nothing else of the head were in the way."""

    outer: Tensor
    globes: Tensor
    cavities: Tensor
    bone: Tensor
    marrow: Tensor
    fat: Tensor


def stem_axis(z: Tensor) -> Tensor:
    """y of the middle of brain stem and spinal cord at height z."""
    return 3 + 0.14 * (-10 - z).clamp(min=0)


def around_stem(frame: Frame, *, flat: float = 1.0) -> Tensor:
    """Distance in mm from the axis of brain stem and cord; `flat` over 1 stretches what lies at one distance sideways."""
    return ((frame.x / flat).square() + (frame.y - stem_axis(frame.z)).square() + 1e-6).sqrt()


def inner_skull(frame: Frame) -> Skull:
    """A vault over the three fossae of the skull base, and the canal of the spine."""
    x, y, z = frame.x, frame.y, frame.z
    lateral = x.abs()
    # Wider behind than in front, as seen from above.
    dome = ellipsoid(frame, DOME_CENTRE, DOME_HALF, side=x * (1 - 0.0013 * y))
    middle_fossa = torch.maximum(torch.maximum(-47 - z, 20 - lateral), 0.12 * lateral - 31 - y)
    base = join(-28 - z, middle_fossa, width=16)
    # The petrous bones, running outwards and back, divide the middle fossa from the one behind.
    petrous = 2 + 19 * torch.sigmoid((lateral - 18) / 6) - y
    under_tentorium = z - (-8 - 0.34 * (y - 18) - 0.16 * lateral)
    canal = torch.maximum(around_stem(frame) - CANAL_MM, z + 60)
    vault = -join(-dome, -join(base, petrous, width=14), width=18)  # what both share, with a rounded edge
    ridge = torch.maximum((petrous + 1.5).abs() - 2 + 0.12 * (under_tentorium + 4), torch.maximum(under_tentorium + 4, 17 - lateral))
    floor = torch.maximum(base, torch.minimum(-under_tentorium, -petrous))
    return Skull(dome, torch.maximum(join(vault, canal, width=8), -ridge), floor, torch.maximum(dome, torch.maximum(under_tentorium, petrous + 3)))


def head(frame: Frame, skull: Skull, shift: Tensor, nuisance: Nuisance, male: Tensor) -> Head:
    """Bone, air and fat around the inner skull, which lies `shift` mm inside its nominal place."""
    thick = 6.8 + 0.5 * nuisance.skull[0] - 0.4 * male
    scalp = 5.0 + 0.5 * nuisance.skull[1] + 0.8 * male
    # The spine's own bones, not the vault's, go round the canal.
    vault = torch.maximum(skull.inner + shift, -78 - frame.z)
    outer = _outline(frame, vault - thick - scalp, male)
    bone = torch.minimum(torch.minimum(vault - thick, _face_bones(frame)), _spine(frame))
    orbits = ellipsoid(frame, (29.0, -61.0, -43.0), (17.0, 26.0, 16.0), side=frame.x.abs())
    # Sheets of fat between the muscles.
    planes = frame.occupancy(8 * frame.field(nuisance.lobes).abs() - 0.5)
    return Head(
        outer=frame.occupancy(outer),
        globes=frame.occupancy(ellipsoid(frame, (31.0, -76.0, -43.0), (12.0, 12.0, 12.0), side=frame.x.abs())),
        cavities=frame.occupancy(_cavities(frame)),
        bone=frame.occupancy(torch.maximum(torch.maximum(bone, outer + 2), -orbits)),
        marrow=frame.occupancy((vault - thick / 2).abs() - 0.22 * thick),
        fat=torch.maximum(frame.occupancy(torch.minimum(-outer - 0.8 * scalp, orbits)), 0.3 * planes),
    )


def _outline(frame: Frame, vault: Tensor, male: Tensor) -> Tensor:
    """Signed distance to the skin: vault, face, nose and neck."""
    face = ellipsoid(frame, (0.0, -40.0, -72.0), (61.0, 50.0, 84.0))
    nose = ellipsoid(frame, (0.0, -92.0, -62.0), (11.0, 18.0, 22.0))
    width = 53 + 4 * male
    neck = ((frame.x / width).square() + ((frame.y - 16) / (width + 4)).square() + 1e-6).sqrt()
    neck = torch.maximum((neck - 1) * width, frame.z + 62)
    return join(join(join(vault, face, width=14), neck, width=24), nose, width=10)


def _face_bones(frame: Frame) -> Tensor:
    """Jaws, cheekbones, walls of the sinuses and the petrous bones."""
    lateral = frame.x.abs()
    ring = ((frame.x / 46).square() + ((frame.y + 38) / 48).square() + 1e-6).sqrt() - 1
    mandible = torch.maximum(torch.maximum((46 * ring).abs() - 4.5, frame.z + 104), frame.y + 22)
    upper = torch.maximum(torch.maximum((46 * ring + 6).abs() - 4.5, (frame.z + 90).abs() - 8), frame.y + 34)
    sinus = ellipsoid(frame, (24.0, -60.0, -70.0), (17.0, 18.0, 18.0), side=lateral)
    cheek = ellipsoid(frame, (46.0, -62.0, -56.0), (10.0, 14.0, 8.0), side=lateral)
    petrous = ellipsoid(frame, (38.0, 8.0, -50.0), (26.0, 9.0, 9.0), side=lateral)
    palate = ellipsoid(frame, (0.0, -54.0, -86.0), (24.0, 26.0, 4.0))
    clivus = ellipsoid(frame, (0.0, -14.0, -44.0), (16.0, 14.0, 20.0))
    return torch.stack([mandible, upper, sinus, cheek, petrous, palate, clivus]).amin(0)


def _spine(frame: Frame) -> Tensor:
    """The upper vertebrae: an arch round the canal and a body before it."""
    arch = (around_stem(frame) - CANAL_MM - 4).abs() - 3
    body = ((frame.x / 13).square() + ((frame.y - stem_axis(frame.z) + 24) / 9).square() + 1e-6).sqrt()
    return torch.maximum(torch.minimum(arch, 9 * (body - 1)), frame.z + 84)


def _cavities(frame: Frame) -> Tensor:
    """Air: nose, sinuses, mastoid cells and the airway down the neck."""
    lateral = frame.x.abs()
    nasal = ellipsoid(frame, (6.5, -62.0, -66.0), (5.0, 32.0, 17.0), side=lateral)
    maxillary = ellipsoid(frame, (24.0, -60.0, -70.0), (13.5, 15.0, 15.0), side=lateral)
    sphenoid = ellipsoid(frame, (0.0, -24.0, -43.0), (11.0, 11.0, 9.0))
    frontal = ellipsoid(frame, (9.0, -88.0, -34.0), (10.0, 5.0, 8.0), side=lateral)
    mastoid = ellipsoid(frame, (56.0, 20.0, -56.0), (6.0, 9.0, 11.0), side=lateral)
    airway = ((frame.x / 10).square() + ((frame.y + 22) / 6).square() + 1e-6).sqrt()
    airway = torch.maximum(6 * (airway - 1), frame.z + 58)
    return torch.stack([nasal, maxillary, sphenoid, frontal, mastoid, airway]).amin(0)
