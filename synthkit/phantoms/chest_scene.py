"""One chest put together: path lengths to attenuation, attenuation to film."""
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.core import randomness
from synthkit.phantoms import chest_bones, physics, texture
from synthkit.phantoms.chest_anatomy import Anatomy, Nuisance, measure
from synthkit.phantoms.chest_organs import Rays, Thorax, body, thorax
from synthkit.phantoms.physics import Scalar, superquadric

SUPERSAMPLE = 2
GLYPH = ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1")
GLYPH_HEIGHT = 0.085  # of the image's height


@dataclass(frozen=True)
class Scene:
    """Path lengths (cm) through one chest at twice the image's resolution."""

    anatomy: Anatomy
    nuisance: Nuisance
    rays: Rays
    inside: Thorax
    ribs: Tensor
    clavicles: Tensor
    spine: Tensor
    lesion: Tensor
    attenuation: Tensor


def build(values: dict[str, Scalar], nuisance: Nuisance, size: int) -> Scene:
    """All organs of one subject and what they absorb together."""
    anatomy = measure(values, nuisance)
    rays = Rays.through(anatomy, nuisance, SUPERSAMPLE * size)
    inside = thorax(rays, anatomy, nuisance, values)
    ribs = chest_bones.ribs(rays, anatomy, nuisance, inside.half_width)
    above = 1 - chest_bones.below_diaphragm(inside)
    ribs = ribs * (0.45 + 0.55 * above)
    clavicles, spine = chest_bones.clavicles(rays, anatomy), chest_bones.spine(rays, anatomy)
    nodule = lesion(rays, nuisance, values)
    bone = anatomy.bone * (
        1.2 * ribs + 1.0 * clavicles + 0.32 * spine + 0.9 * chest_bones.shoulder_bones(rays, anatomy)
    )
    soft = soft_attenuation(rays, anatomy, nuisance, inside)
    lung = lung_attenuation(rays, anatomy, nuisance, inside, values, nodule)
    metal = physics.METAL_PER_CM * chest_bones.hardware(rays, anatomy, nuisance, values)
    attenuation = (soft + lung + physics.BONE_PER_CM * bone).clamp(min=0) + metal
    return Scene(anatomy, nuisance, rays, inside, ribs, clavicles, spine, nodule, attenuation)


def soft_attenuation(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, inside: Thorax) -> Tensor:
    """Everything of the body that is neither lung, free air nor bone."""
    whole = body(rays, anatomy)
    hollow = inside.air + inside.gas
    hollow = hollow + chest_bones.airway(rays, anatomy) + chest_bones.bowel_gas(rays, anatomy, nuisance)
    tissue = (whole - hollow).clamp(min=0)
    mottle = texture.fractal(nuisance.soft_octaves, rays.x.shape[-1], roughness=0.75)
    return physics.SOFT_PER_CM * tissue * (1 + 0.035 * mottle)


def lung_attenuation(
    rays: Rays, anatomy: Anatomy, nuisance: Nuisance, inside: Thorax, values: dict[str, Scalar], nodule: Tensor
) -> Tensor:
    """Lung tissue, its vessels, and the findings that replace its air."""
    grain = texture.fractal(nuisance.lung_octaves, rays.x.shape[-1], roughness=0.85)
    coarse = 0.10 + 0.03 * anatomy.spread
    cloud = 1 + 0.25 * grain
    haze = 0.10 * values["opacity"] * cloud
    tissue = physics.LUNG_PER_CM * (1 - 0.06 * anatomy.spread) * (1 + coarse * grain)
    dense = physics.SOFT_PER_CM - physics.LUNG_PER_CM
    extra = tissue + haze + dense * consolidation(rays, anatomy, nuisance, values, grain)
    extra = extra + dense * emerging(rays, anatomy, values)
    share = inside.air / inside.cavity.clamp(min=1)
    strands = chest_bones.vessels(rays, anatomy, nuisance) * share * (1 + 0.08 * anatomy.spread)
    solid = torch.minimum(nodule + strands, inside.air)
    return extra.clamp(max=physics.SOFT_PER_CM) * (inside.air - solid) + physics.SOFT_PER_CM * solid


def lesion(rays: Rays, nuisance: Nuisance, values: dict[str, Scalar]) -> Tensor:
    """Path length through a lobulated nodule; its place is in mm from mid-chest."""
    if not values["lesion"]:
        return torch.zeros_like(rays.x)
    x, y = rays.x - values["lesion_x"] / 10, rays.y - values["lesion_y"] / 10
    turn = torch.atan2(y, x + 1e-6)
    phase = 6.28 * nuisance.place[7:10]
    lobes = sum(0.05 * torch.sin((order + 2) * turn + float(phase[order])) for order in range(3))
    radius = values["lesion_radius"] / 10 * (1 + lobes)
    return 2 * superquadric(x, y, half=(radius, radius, values["lesion_radius"] / 10))


def consolidation(
    rays: Rays, anatomy: Anatomy, nuisance: Nuisance, values: dict[str, Scalar], grain: Tensor
) -> Tensor:
    """Share 0..1 of the air that a lobar patch has replaced."""
    if not values["consolidation"]:
        return torch.zeros_like(rays.x)
    side = -1.0 if nuisance.place[10] < 0.5 else 1.0
    centre = anatomy.apex + (0.3 + 0.5 * float(nuisance.place[11])) * anatomy.reach
    level = superquadric(rays.x - side * 0.55 * anatomy.half_width, rays.y - centre, half=(4.6, 4.0, 1.0), power=3)
    return 0.5 * torch.sigmoid((level - 0.6 + 0.12 * grain) / 0.16) * (4 * level).clamp(max=1)


def emerging(rays: Rays, anatomy: Anatomy, values: dict[str, Scalar]) -> Tensor:
    """Share 0..1 of air replaced by an invented honeycomb in the outer lower lungs; no real disease looks so."""
    if not values["emerging"]:
        return torch.zeros_like(rays.x)
    wave = sum(
        torch.cos(3.3 * (rays.x * across + rays.y * down)) for across, down in ((1, 0), (0.5, 0.866), (-0.5, 0.866))
    )
    outer = torch.sigmoid((rays.x.abs() - 0.5 * anatomy.half_width) / 0.8)
    lower = torch.sigmoid((rays.y - anatomy.apex - 0.4 * anatomy.reach) / 1.5)
    return 0.3 * outer * lower * torch.sigmoid((0.2 - wave) / 0.25)


def develop(scene: Scene, values: dict[str, Scalar], size: int, *, noise: Tensor | None) -> Tensor:
    """The (size, size) film in [0, 1] of a scene; without `noise` the mean exposure."""
    nuisance, anatomy = scene.nuisance, scene.anatomy
    pixel_cm = anatomy.field_cm / size
    primary = physics.shrink(torch.exp(-scene.attenuation), SUPERSAMPLE)
    mean = physics.scatter(primary, pixel_cm=pixel_cm)
    detected = mean if noise is None else physics.add_noise(mean, noise)
    contrast, level = float(nuisance.exposure[0]), float(nuisance.exposure[1])
    thick = 2 * physics.SOFT_PER_CM * (anatomy.body_depth - 10.5)
    offset = 0.72 + 0.75 * thick + 0.14 * level + 0.06 * values["group"]
    span = 3.5 * (1 + 0.13 * contrast) * (1 + 0.05 * values["group"])
    image = physics.film(detected, offset=offset, span=span)
    if values["site"]:
        image = physics.enhance(image, pixel_cm=pixel_cm)
    fog = 0.03 + 0.05 * abs(float(nuisance.exposure[4]))
    return overlay((fog + (1 - fog) * image) * shutters(nuisance, size), values, nuisance)


def shutters(nuisance: Nuisance, size: int) -> Tensor:
    """1 inside the collimated field, 0 behind the shutters that some films show."""
    places = (torch.arange(size, dtype=torch.float32) + 0.5) / size
    insets = [0.05 * max(0.0, float(share) - 0.85) / 0.15 for share in nuisance.place[12:16]]
    edges = [torch.sigmoid((places - inset) * 400) if inset else torch.ones(size) for inset in insets]
    return (edges[0] * edges[1].flip(0))[:, None] * (edges[2] * edges[3].flip(0))[None, :]


def glyph(nuisance: Nuisance, size: int) -> Tensor:
    """Opacity 0..1 of the marker's letter, in the upper corner on the viewer's left."""
    letter = torch.tensor([[float(mark == "1") for mark in row] for row in GLYPH])
    rows, columns = letter.shape
    cell = GLYPH_HEIGHT / rows
    fine = (torch.arange(4 * size, dtype=torch.float32) + 0.5) / (4 * size)
    row = ((fine - 0.055 - 0.008 * float(nuisance.exposure[2])) / cell).floor().long()
    column = ((fine - 0.055 - 0.008 * float(nuisance.exposure[3])) / cell).floor().long()
    down = ((row >= 0) & (row < rows))[:, None] & ((column >= 0) & (column < columns))
    inked = letter[row.clamp(0, rows - 1)][:, column.clamp(0, columns - 1)] * down
    return physics.shrink(inked, 4)


def overlay(image: Tensor, values: dict[str, Scalar], nuisance: Nuisance) -> Tensor:
    """The image with the planted marker burnt in, where it is present."""
    if not values["marker"]:
        return image
    ink = glyph(nuisance, image.shape[-1])
    return image * (1 - ink) + 0.97 * ink


def quantum_noise(seed: int, subject: str, size: int) -> Tensor:
    """(2, size, size) standard normal numbers of one exposure."""
    return randomness.normal((2, size, size), seed=seed, identities=[subject], stream=f"noise.{size}")[0]
