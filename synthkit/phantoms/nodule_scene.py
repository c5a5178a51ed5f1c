"""One lung cube put together: lung, bronchi, vessels, nodule and chest wall, layer upon layer, in HU."""
import functools
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms import nodule_shape, nodule_tissue, nodule_vessels
from synthkit.phantoms.nodule_factors import DENSITIES, LOBES
from synthkit.phantoms.nodule_place import Place
from synthkit.phantoms.nodule_shape import Body, ShapeNuisance
from synthkit.phantoms.nodule_tissue import TissueNuisance, Wall
from synthkit.phantoms.nodule_tubes import Tubes, coverage

FIELD_OF_VIEW_MM = 48.0
SOLID_HU, GROUND_GLASS_HU, CALCIUM_HU = 30.0, -600.0, 380.0
BLOOD_HU, BRONCHUS_HU, LUMEN_HU, FISSURE_HU = 45.0, -60.0, -985.0, -200.0
STRAND_HU = (20.0, -150.0, -400.0)  # by density: the strands of a faint nodule are faint
FISSURE_MM = 0.4
CALCIUM_RATIO, CORE_RATIO = 0.4, 0.5  # of the nodule's diameter


@dataclass(frozen=True)
class TubeShares:
    """Share of each voxel inside blood vessels, inside bronchi, and inside their lumen; (N, N, N) each."""

    vessels: Tensor
    bronchi: Tensor
    lumen: Tensor


@dataclass(frozen=True)
class Scene:
    """What covers each voxel of one cube; (N, N, N) each.

    Attributes:
        lung: HU of the aerated lung alone.
        core: share of the voxel in solid tissue of the nodule.
        calcium, strands, fissure: shares likewise.
        mottle: texture of the nodule's inside, unit variance.
    """

    lung: Tensor
    tubes: TubeShares
    fissure: Tensor
    wall: Wall
    nodule: Body
    core: Tensor
    calcium: Tensor
    strands: Tensor
    mottle: Tensor


def grid(size: int, device: torch.device | str) -> Tensor:
    """(size, size, size, 3) places of the voxels in mm from the cube's centre, axes (z, y, x)."""
    line = ((torch.arange(size, dtype=torch.float32, device=device) + 0.5) / size - 0.5) * FIELD_OF_VIEW_MM
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)


@functools.lru_cache(maxsize=16)
def tube_shares(seed: int, subject: str, lobe: str, size: int, device: str) -> TubeShares:
    """The branching tubes; no factor but the lobe moves them, so the last few are kept for the next edit."""
    place = Place.draw(seed, subject, lobe)
    source = randomness.generator(seed, subject, "nodule.vessels")
    tree = nodule_vessels.grow(source, place.hilum, place.open_lung)

    def share(tubes: Tubes) -> Tensor:
        return coverage(tubes.to(device), size=size, spacing_mm=FIELD_OF_VIEW_MM / size)

    return TubeShares(share(tree.vessels), share(tree.bronchi), share(tree.lumen))


def build(seed: int, subject: str, values: Mapping[str, Tensor], *, size: int, device: torch.device | str) -> Scene:
    """The cube of one subject; `values` are its coded factors, scalars on the device."""
    spacing, lobe = FIELD_OF_VIEW_MM / size, LOBES[int(values["lobe"])]
    place, tissue, form = Place.draw(seed, subject, lobe), TissueNuisance.draw(seed, subject), ShapeNuisance.draw(seed, subject)
    points = grid(size, device) - torch.as_tensor(place.centre, dtype=torch.float32, device=device)
    patient = {"age": values["age"], "male": values["sex"]}
    wall = nodule_tissue.chest_wall(points, place, tissue, **patient, spacing_mm=spacing)
    lung = nodule_tissue.parenchyma(points, tissue, **patient, emphysema=values["emphysema"], inside=wall.share < 0.5)
    fissure = (1 - place.fissure_height(points).abs() / spacing).clamp(min=0) * min(1.0, FISSURE_MM / spacing)
    margin = {"diameter": values["diameter"], "spiculation": values["spiculation"]}
    body = nodule_shape.body(points, form, **margin, spacing_mm=spacing)
    spicules = nodule_shape.spicules(form, **{name: value.cpu() for name, value in margin.items()}, centre=place.centre)
    strands = coverage(spicules.to(device), size=size, spacing_mm=spacing)
    mottle = nodule_tissue.field(tissue.nodule, size, device)
    core = solid_core(body, mottle, values, spacing)
    calcium = ((CALCIUM_RATIO - body.ratio) / 0.2).clamp(0, 1) * values["calcification"]
    return Scene(lung, tube_shares(seed, subject, lobe, size, str(device)), fissure, wall, body, core, calcium, strands, mottle)


def solid_core(body: Body, mottle: Tensor, values: Mapping[str, Tensor], spacing_mm: float) -> Tensor:
    """(N, N, N) share of each voxel in solid tissue: all of a solid nodule, an uneven half of a part-solid one's diameter."""
    density = DENSITIES[int(values["density"])]
    if density == "solid":
        return body.share
    if density == "ground-glass":
        return torch.zeros_like(body.share)
    depth = values["diameter"] / 2 * (body.ratio - CORE_RATIO - 0.09 * mottle)
    return torch.minimum((0.5 - depth / spacing_mm).clamp(0, 1), body.share)


def attenuation(scene: Scene, values: Mapping[str, Tensor]) -> Tensor:
    """(N, N, N) HU before the scanner blurs it: ground glass lies behind the vessels, solid tissue before them."""
    tubes, outside = scene.tubes, 1 - scene.nodule.share
    hu = over(scene.lung, FISSURE_HU, scene.fissure * outside)
    # Solid tissue comes later; only what it will leave of the nodule is painted here.
    haze = (scene.nodule.share - scene.core) / (1 - scene.core).clamp(min=1e-3)
    hu = over(hu, GROUND_GLASS_HU + 35 * scene.mottle, haze)
    hu = over(hu, STRAND_HU[int(values["density"])], scene.strands)
    hu = over(hu, BRONCHUS_HU, tubes.bronchi)
    hu = over(hu, LUMEN_HU, tubes.lumen)
    hu = over(hu, BLOOD_HU, tubes.vessels)
    hu = over(hu, SOLID_HU + 8 * scene.mottle, scene.core)
    hu = over(hu, CALCIUM_HU, scene.calcium)
    return over(hu, scene.wall.hu, scene.wall.share * outside)


def over(hu: Tensor, paint: Tensor | float, share: Tensor) -> Tensor:
    """Each voxel's HU with a share of it painted over."""
    return hu + share * (paint - hu)
