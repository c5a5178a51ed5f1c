"""The brain's outer form: folded cerebrum, cerebellum with folia, brain stem."""
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.phantoms.brain_frame import Frame, Nuisance, ellipsoid, join
from synthkit.phantoms.brain_head import DOME_CENTRE, DOME_HALF, Skull, around_stem

SULCUS_DEPTH_MM = 17.0
# Distances drawn out, or in, so that a shrinking brain opens its sulci more than it leaves the vault, and leaves the base least.
RETREAT, OPENING = 1.8, 0.75
CALLOSUM = (2.0, 3.0, 46.0, 25.0)  # middle (y, z) and half axes of what the interhemispheric fissure spares


@dataclass(frozen=True)
class Brain:
    """Signed distances in mm, negative inside.

    Attributes:
        cerebrum, white: the cerebrum at its nominal volume, and its white matter with all that lies deeper.
        cerebellum, arbor: the cerebellum and its white matter.
        stem: the brain stem.
    """

    cerebrum: Tensor
    white: Tensor
    cerebellum: Tensor
    arbor: Tensor
    stem: Tensor


def brain(frame: Frame, skull: Skull, nuisance: Nuisance, stage: Tensor, spread: Tensor) -> Brain:
    """All outer forms of the brain.

    Args:
        stage: 0 (none) to 3 (severe) of atrophy.
        spread: mm by which wide ventricles push the callosum up.
    """
    mottle = frame.field(nuisance.mottle)
    hull = torch.maximum(skull.dome, skull.floor) + 1.4
    folds = torch.minimum(_sulci(frame, hull, nuisance, mottle), _sylvian(frame, nuisance, mottle, stage))
    grey = 3.7 - 0.12 * stage + 0.3 * mottle.clamp(-2, 2)
    cleft, spared = _fissures(frame, spread, grey, mottle)
    cerebrum = torch.maximum(torch.maximum(skull.dome + 1.4, RETREAT * (skull.floor + 1.4)), -torch.minimum(folds, cleft))
    white = torch.maximum(hull, -torch.minimum(folds, spared)) + grey
    return Brain(cerebrum, white, *_cerebellum(frame, skull), _stem(frame))


def _sulci(frame: Frame, hull: Tensor, nuisance: Nuisance, mottle: Tensor) -> Tensor:
    """Clefts where a random wave crosses zero, as deep as a sulcus is."""
    wave, *slope = frame.slopes(nuisance.folds)
    normal = [(place - middle) / half**2 for place, middle, half in zip((frame.x, frame.y, frame.z), DOME_CENTRE, DOME_HALF, strict=True)]
    steep = sum(part * part for part in slope)
    outward = sum(part * along for part, along in zip(slope, normal, strict=True)).square() / sum(along * along for along in normal)
    # Only the slope along the surface counts, so that clefts stand upright on it.
    sheet = wave.abs() * ((steep - outward).clamp(min=0) + 1e-4).rsqrt()
    depth = -hull
    gape = 0.5 + 0.9 * torch.exp(-depth.clamp(min=0) / 4)
    return torch.maximum(OPENING * (sheet - gape), depth - SULCUS_DEPTH_MM * (1 + 0.25 * mottle))


def _sylvian(frame: Frame, nuisance: Nuisance, mottle: Tensor, stage: Tensor) -> Tensor:
    """The lateral fissure, and the cleft over the insula into which it opens."""
    lateral, y = frame.x.abs(), frame.y
    height = 0.93 * (frame.z + 8 - 0.3 * (y + 10) - 0.25 * (lateral - 45) + 1.5 * mottle)
    gape = 1.0 + 0.35 * stage
    cleft = torch.maximum(torch.maximum(height.abs() - gape, 38 - lateral), (y + 6).abs() - 32)
    insula = torch.maximum((lateral - 38 + 0.007 * (y + 6).square() - 1.4 * mottle).abs() - gape, (height - 4).abs() - 13)
    return torch.minimum(cleft, torch.maximum(insula, (y + 5).abs() - 25))


def _fissures(frame: Frame, spread: Tensor, grey: Tensor, mottle: Tensor) -> tuple[Tensor, Tensor]:
    """The cleft between the hemispheres down to the callosum, as surface and as white matter see it."""
    y, z, long, high = CALLOSUM
    radius = (((frame.y - y) / (long + spread)).square() + ((frame.z - z) / (high + spread)).square() + 1e-6).sqrt()
    above = (radius - 1) * (high + spread)
    gape = (frame.x + 0.8 * mottle).abs() - 0.7
    # The callosum wears no cortex: to the white matter the cleft ends before it.
    return torch.maximum(gape, -above), torch.maximum(gape, 2 * grey - above)


def _cerebellum(frame: Frame, skull: Skull) -> tuple[Tensor, Tensor]:
    """Surface and white matter (arbor vitae) of the cerebellum; folia fade where voxels are too large for them."""
    lobes = ellipsoid(frame, (26.0, 42.0, -45.0), (38.0, 40.0, 32.0), side=frame.x.abs())
    vermis = ellipsoid(frame, (0.0, 42.0, -36.0), (16.0, 27.0, 26.0))
    body = torch.maximum(join(lobes, vermis, width=8), skull.cerebellum + 1.2)
    turn = torch.atan2(frame.z + 42, frame.y - 18 + 0.15 * frame.x.abs())
    shown = torch.exp(-((frame.step / 4.5) ** 2))
    folia = shown * torch.cos(turn * 24 + 0.1 * frame.x.abs())
    return body + 0.6 * (folia + shown), body + 10.0 + 6.0 * folia


def _stem(frame: Frame) -> Tensor:
    """Midbrain, pons, medulla and the cord below."""
    pons = 4.5 * torch.exp(-(((frame.z + 36) / 11) ** 2))
    radius = 6.5 + 5.0 * torch.sigmoid((frame.z + 58) / 6) + pons
    return torch.maximum(around_stem(frame, flat=1.25) - radius, frame.z + 8)
