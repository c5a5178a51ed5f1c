"""Disease inside the brain: white-matter lesions, and a tumour with its necrosis and oedema."""
import math
from dataclasses import dataclass

from torch import Tensor

from synthkit.phantoms.brain_frame import Frame, Nuisance


def wm_lesions(frame: Frame, nuisance: Nuisance, ventricles: Tensor) -> Tensor:
    """Signed level in mm: caps and rims round the ventricles first, blotches further out as the load grows."""
    blotches = frame.field(nuisance.blotches)
    return 0.65 * ventricles.clamp(min=0) - 5.5 * blotches


@dataclass(frozen=True)
class Tumour:
    """Forms in mm, before the tumour has its exact volume.

    Attributes:
        rind: signed distance to the whole tumour, negative inside.
        rim: thickness of the living rim round the necrosis.
        ragged: factor by which oedema reaches less or further.
    """

    rind: Tensor
    rim: Tensor
    ragged: Tensor


def tumour(frame: Frame, nuisance: Nuisance, place_mm: tuple[Tensor, ...], volume_ml: Tensor) -> Tumour:
    """A lobulated tumour at x, y, z mm from the middle of the brain."""
    radius = (750 * volume_ml / math.pi) ** (1 / 3) / frame.scale
    x, y, z = (at - place / frame.scale for at, place in zip((frame.x, frame.y, frame.z), place_mm, strict=True))
    lobes = frame.field(nuisance.lobes)
    ball = (x * x + y * y + z * z + 1e-6).sqrt() - radius
    return Tumour(ball + 0.13 * radius * lobes.clamp(-2, 2), 2.5 + 0.25 * radius + 0.6 * lobes, (1 + 0.5 * lobes).clamp(min=0.1))
