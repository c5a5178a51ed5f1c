"""One chest put together: path lengths to attenuation, attenuation to film."""
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms import chest_bones, physics, texture
from synthkit.phantoms.chest_anatomy import Anatomy, Nuisance, measure
from synthkit.phantoms.chest_organs import Rays, Thorax, body, thorax
from synthkit.phantoms.physics import superquadric
from synthkit.phantoms.rows import where_present

SUPERSAMPLE = 2
GLYPH = ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1")
GLYPH_HEIGHT = 0.085  # of the image's height


@dataclass(frozen=True)
class Scene:
    """Path lengths (cm) through N chests at twice the image's resolution."""

    anatomy: Anatomy
    nuisance: Nuisance
    rays: Rays
    inside: Thorax
    ribs: Tensor
    clavicles: Tensor
    spine: Tensor
    lesion: Tensor
    attenuation: Tensor


def build(values: Mapping[str, Tensor], nuisance: Nuisance, size: int) -> Scene:
    """All organs and what they absorb together; `values` are (N, 1, 1) codes."""
    anatomy = measure(values, nuisance)
    rays = Rays.through(anatomy, nuisance, SUPERSAMPLE * size)
    inside = thorax(rays, anatomy, nuisance, values)
    ribs = chest_bones.ribs(rays, anatomy, nuisance, inside.half_width)
    above = 1 - chest_bones.below_diaphragm(inside)
    ribs = ribs * (0.45 + 0.55 * above)
    middle, sides = chest_bones.middle(SUPERSAMPLE * size), chest_bones.sides(SUPERSAMPLE * size)
    clavicles, spine = chest_bones.clavicles(rays, anatomy), chest_bones.drawn_in(middle, chest_bones.spine, rays, anatomy)
    shoulders = chest_bones.drawn_in(sides, chest_bones.shoulder_bones, rays, anatomy)
    nothing = torch.zeros_like(rays.x)
    nodule = where_present(values["lesion"], nothing, lesion, rays, nuisance, values)
    bone = anatomy.bone * (1.2 * ribs + 1.5 * clavicles + 0.45 * spine + 1.5 * shoulders)
    soft = soft_attenuation(rays, anatomy, nuisance, inside)
    lung = lung_attenuation(rays, anatomy, nuisance, inside, values, nodule)
    metal = physics.METAL_PER_CM * chest_bones.hardware(rays, anatomy, nuisance, values)
    attenuation = (soft + lung + physics.BONE_PER_CM * bone).clamp(min=0) + metal
    return Scene(anatomy, nuisance, rays, inside, ribs, clavicles, spine, nodule, attenuation)


def soft_attenuation(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, inside: Thorax) -> Tensor:
    """Everything of the body that is neither lung, free air nor bone."""
    whole = body(rays, anatomy)
    hollow = inside.air + inside.gas
    airway = chest_bones.drawn_in(chest_bones.middle(rays.x.shape[-1]), chest_bones.airway, rays, anatomy)
    hollow = hollow + airway + chest_bones.bowel_gas(rays, anatomy, nuisance)
    tissue = (whole - hollow).clamp(min=0)
    mottle = texture.fractal(nuisance.soft_octaves, rays.x.shape[-1], roughness=0.75)
    return physics.SOFT_PER_CM * tissue * (1 + 0.035 * mottle)


def lung_attenuation(
    rays: Rays, anatomy: Anatomy, nuisance: Nuisance, inside: Thorax, values: Mapping[str, Tensor], nodule: Tensor
) -> Tensor:
    """Lung tissue, its vessels, and the findings that replace its air."""
    grain = texture.fractal(nuisance.lung_octaves, rays.x.shape[-1], roughness=0.85)
    coarse = 0.10 + 0.03 * anatomy.spread
    cloud = 1 + 0.25 * grain
    haze = 0.10 * values["opacity"] * cloud
    tissue = physics.LUNG_PER_CM * (1 - 0.06 * anatomy.spread) * (1 + coarse * grain)
    dense = physics.SOFT_PER_CM - physics.LUNG_PER_CM
    nothing = torch.zeros_like(rays.x)
    patch = where_present(values["consolidation"], nothing, consolidation, rays, anatomy, nuisance, grain)
    comb = where_present(values["emerging"], nothing, emerging, rays, anatomy)
    extra = tissue + haze + dense * (patch + comb)
    share = inside.air / inside.cavity.clamp(min=1)
    engorged = 1 + 0.08 * anatomy.spread + 0.25 * values["cardiomegaly"]
    strands = chest_bones.vessels(rays, anatomy, nuisance) * share * engorged
    solid = torch.minimum(nodule + strands, inside.air)
    return extra.clamp(max=physics.SOFT_PER_CM) * (inside.air - solid) + physics.SOFT_PER_CM * solid


def lesion(rays: Rays, nuisance: Nuisance, values: Mapping[str, Tensor]) -> Tensor:
    """Path length through a lobulated nodule with spicules; its place is in mm from mid-chest."""
    x, y = rays.x - values["lesion_x"] / 10, rays.y - values["lesion_y"] / 10
    turn = torch.atan2(y, x + 1e-6)
    phase = 6.28 * nuisance.place[:, 7:10]
    lobes = sum(0.05 * torch.sin((order + 2) * turn + phase[:, order]) for order in range(3))
    size = values["lesion_radius"] / 10
    radius = size * (1 + lobes)
    ball = 2 * superquadric(x, y, half=(radius, radius, size))
    away = (x.square() + y.square() + 1e-6).sqrt() / size
    comb = sum(torch.cos((order + 9) * turn + 2 * order * phase[:, order]) for order in range(3)) / 3
    spicules = 0.9 * torch.sigmoid((comb - 0.3) / 0.06) * torch.exp(-(((away - 0.9) / 0.5).square()))
    return ball + values["lesion_spiculation"] * spicules * (away < 2.5)


def consolidation(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, grain: Tensor) -> Tensor:
    """Share 0..1 of the air that a lobar patch has replaced."""
    side = torch.where(nuisance.place[:, 10] < 0.5, -1.0, 1.0)
    centre = anatomy.apex + (0.3 + 0.5 * nuisance.place[:, 11]) * anatomy.reach
    level = superquadric(rays.x - side * 0.55 * anatomy.half_width, rays.y - centre, half=(5.2, 4.6, 1.0))
    ragged = 0.45 * texture.field(nuisance.lung_octaves[2], rays.x.shape[-1]) + 0.04 * grain
    return 0.5 * torch.sigmoid((level - 0.55 + ragged) / 0.2) * (3 * level).clamp(max=1)


def emerging(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Share 0..1 of air replaced by an invented honeycomb in the outer lower lungs; no real disease looks so."""
    wave = sum(
        torch.cos(3.3 * (rays.x * across + rays.y * down)) for across, down in ((1, 0), (0.5, 0.866), (-0.5, 0.866))
    )
    outer = torch.sigmoid((rays.x.abs() - 0.5 * anatomy.half_width) / 0.8)
    lower = torch.sigmoid((rays.y - anatomy.apex - 0.4 * anatomy.reach) / 1.5)
    return 0.3 * outer * lower * torch.sigmoid((0.2 - wave) / 0.25)


def develop(scene: Scene, values: Mapping[str, Tensor], size: int, *, noise: Tensor | None) -> Tensor:
    """The (N, size, size) films in [0, 1] of a scene; without `noise` the mean exposure."""
    nuisance, anatomy = scene.nuisance, scene.anatomy
    pixel_cm = anatomy.field_cm / size
    primary = physics.shrink(torch.exp(-scene.attenuation), SUPERSAMPLE)
    mean = physics.scatter(primary, pixel_cm=pixel_cm)
    detected = mean if noise is None else physics.add_noise(mean, noise)
    contrast, level, _, _, haze = nuisance.exposure.unbind(1)
    thick = 2 * physics.SOFT_PER_CM * (anatomy.body_depth - 10.5)
    offset = 0.72 + 0.75 * thick + 0.14 * level + 0.06 * values["group"]
    span = 3.5 * (1 + 0.13 * contrast) * (1 + 0.05 * values["group"])
    image = physics.film(detected, offset=offset, span=span)
    image = where_present(values["site"], image, physics.enhance, image, pixel_cm)
    fog = 0.03 + 0.05 * haze.abs()
    return overlay((fog + (1 - fog) * image) * shutters(nuisance, size), values, nuisance)


def shutters(nuisance: Nuisance, size: int) -> Tensor:
    """1 inside the collimated field, 0 behind the shutters that some films show."""
    places = (torch.arange(size, dtype=torch.float32, device=nuisance.place.device) + 0.5) / size
    insets = 0.05 * (nuisance.place[:, 12:16, 0] - 0.85).clamp(min=0) / 0.15
    top, bottom, left, right = torch.where(insets > 0, ((places - insets) * 100 + 0.5).clamp(0, 1), 1.0).unbind(1)
    return (top * bottom.flip(1))[:, :, None] * (left * right.flip(1))[:, None]


def glyph(nuisance: Nuisance, size: int) -> Tensor:
    """(N, size, size) opacity 0..1 of the marker's letter, in the upper corner on the viewer's left."""
    device = nuisance.exposure.device
    letter = torch.tensor([[float(mark == "1") for mark in row] for row in GLYPH], device=device)
    rows, columns = letter.shape
    cell = GLYPH_HEIGHT / rows
    fine = (torch.arange(4 * size, dtype=torch.float32, device=device) + 0.5) / (4 * size)
    row, column = (((fine - 0.055 - 0.008 * nuisance.exposure[:, k, 0]) / cell).floor().long() for k in (2, 3))
    down = ((row >= 0) & (row < rows))[:, :, None] & ((column >= 0) & (column < columns))[:, None]
    inked = letter[row.clamp(0, rows - 1)[:, :, None], column.clamp(0, columns - 1)[:, None]] * down
    return physics.shrink(inked, 4)


def overlay(image: Tensor, values: Mapping[str, Tensor], nuisance: Nuisance) -> Tensor:
    """The images with the planted marker burnt in, where it is present."""
    if not values["marker"].any():
        return image
    ink = values["marker"] * glyph(nuisance, image.shape[-1])
    return image * (1 - ink) + 0.97 * ink


def quantum_noise(keys: Iterable[tuple[int, str]], size: int) -> Tensor:
    """(N, 2, size, size) standard normal numbers, one exposure per subject."""
    return torch.cat([randomness.normal((2, size, size), seed=seed, identities=[name], stream=f"noise.{size}") for seed, name in keys])


def structures(scene: Scene, values: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Boolean (N, size, size) masks by structure: a pixel counts where at least half of it is covered."""
    inside = scene.inside
    above = inside.below_dome < 0
    open_lung = (inside.cavity > 0) & above & (inside.heart <= 0) & (inside.mediastinum <= 0)
    covered = {
        "lungs": open_lung,
        "right_lung": open_lung & (scene.rays.x < 0),
        "left_lung": open_lung & (scene.rays.x > 0),
        "thorax": (inside.cavity > 0) & (inside.below_dome < 4.3),
        "heart": inside.heart > 0,
        "mediastinum": (inside.mediastinum > 0) & above & (inside.cavity > 0),
        "ribs": scene.ribs > 0.15,
        "clavicles": scene.clavicles > 0.15,
        "spine": scene.spine > 0.5,
        "lesion": torch.minimum(scene.lesion, inside.air) > 0.1,
        "effusion": inside.fluid > 0.5,
        "pneumothorax": inside.gas > 0.5,
    }
    masks = {name: physics.shrink(mask.float(), SUPERSAMPLE) >= 0.5 for name, mask in covered.items()}
    return masks | {"marker": (glyph(scene.nuisance, size) >= 0.5) & (values["marker"] > 0)}
