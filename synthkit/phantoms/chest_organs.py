"""Path lengths of each ray through the organs of one chest: what displaces what, ray by ray."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit.phantoms import texture
from synthkit.phantoms.chest_anatomy import Anatomy, Nuisance
from synthkit.phantoms.physics import clip_interval, root, superquadric, union_length
from synthkit.phantoms.rows import where_present

CAGE_POWER = 2.3


@dataclass(frozen=True)
class Rays:
    """Where each ray meets the patient, (N, H, H) in cm; `y` and `x_soft` carry tilt and an organic unevenness.

    `x` has neither, so widths (heart, thorax) stay what the factors say.
    """

    x: Tensor
    y: Tensor
    x_soft: Tensor
    pixel_cm: Tensor

    @classmethod
    def through(cls, anatomy: Anatomy, nuisance: Nuisance, count: int) -> "Rays":
        pixel_cm = anatomy.field_cm / count
        places = (torch.arange(count, dtype=torch.float32, device=pixel_cm.device) + 0.5 - count / 2) * pixel_cm
        down = places.mT - anatomy.shift[1]
        x = (places - anatomy.shift[0]).expand(-1, count, -1)
        y = down + anatomy.tilt * x + 0.75 * texture.field(nuisance.warp[:, 0], count)
        x_soft = x - anatomy.tilt * down + 0.6 * texture.field(nuisance.warp[:, 1], count)
        return cls(x, y, x_soft, pixel_cm)

    def part(self, rows: slice, columns: slice) -> "Rays":
        """The rays of a rectangle of the film."""
        return Rays(*(place[:, rows, columns] for place in (self.x, self.y, self.x_soft)), self.pixel_cm)


@dataclass(frozen=True)
class Thorax:
    """Path lengths (cm) inside the rib cage of one chest."""

    half_width: Tensor
    cavity: Tensor
    heart: Tensor
    mediastinum: Tensor
    below_dome: Tensor
    gas: Tensor
    fluid: Tensor
    air: Tensor


def cage(rays: Rays, anatomy: Anatomy) -> tuple[Tensor, Tensor]:
    """Half width (by row) of the pleural space, and the half path length through it."""
    rise = ((rays.y - anatomy.apex) / anatomy.reach).clamp(0, 1)
    profile = root(1 - (1 - rise) ** 2.9, 2.2)
    width = anatomy.half_width * profile.clamp(min=0.02)
    depth = anatomy.half_depth * (0.45 + 0.55 * profile)
    half = depth * root(1 - (rays.x / width).abs() ** CAGE_POWER, CAGE_POWER)
    return width, torch.where(rays.y > anatomy.apex, half, torch.zeros_like(half))


def heart(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Half path length: a tilted left ventricle and a right atrium that together span exactly `heart_width`."""
    width, stretch = anatomy.heart_width, anatomy.heart_stretch
    right, left = anatomy.heart_share_right * width, (1 - anatomy.heart_share_right) * width
    long, short, turn = 0.50 * width, 0.33 * width * stretch, 0.66
    extent = ((long * 0.7900) ** 2 + (short * 0.6131) ** 2) ** 0.5  # cos and sin of the turn
    depth = 0.40 * width
    y = rays.y - anatomy.heart_y
    ventricle = superquadric(rays.x - (left - extent), y - 0.02 * width, half=(long, short, depth), angle=turn)
    atrium = superquadric(
        rays.x + right - 0.27 * width, y + 0.03 * width, half=(0.27 * width, 0.36 * width * stretch, 0.85 * depth)
    )
    outflow = superquadric(
        rays.x - 0.12 * width, y + 0.30 * width, half=(0.21 * width, 0.42 * width * stretch, 0.7 * depth), angle=-0.42
    )
    return torch.maximum(torch.maximum(ventricle, atrium), outflow)


def mediastinum(rays: Rays, anatomy: Anatomy, depth: Tensor) -> Tensor:
    """Half path length: vena cava, great vessels, aortic knob, pulmonary trunk, descending aorta, hila."""
    x, y = rays.x_soft, rays.y
    right, left = anatomy.mediastinum
    level = y - anatomy.apex
    flare = 3.0 * torch.exp(-((level.clamp(min=0) / 2.4).square()))
    fan = 0.09 * (level - 7).clamp(0, 12)
    half = torch.where(x > 0, left, right) + flare + fan
    core = 1.05 * depth * root(1 - (x / half).square())
    knob, knob_y = anatomy.knob, anatomy.apex + 6.6 - 0.3 * anatomy.spread
    parts = (
        superquadric(x - left + 0.35, y - knob_y, half=(1.2 * knob, 1.45 * knob, 3.2)),
        superquadric(x - left - 0.1, y - knob_y - 3.6, half=(1.3, 2.2, 2.6), angle=0.25),
        superquadric(x - left + 0.2, y - knob_y - 9, half=(0.9 + 0.35 * knob, 11.0, 1.3)),
        superquadric(x + right + 0.9, y - knob_y - 5.2, half=(1.5, 2.9, 1.7), angle=0.35),
        superquadric(x - left - 1.0, y - knob_y - 4.3, half=(1.6, 2.3, 1.7), angle=-0.35),
    )
    for part in parts:
        core = torch.maximum(core, part)
    return core


def dome(rays: Rays, anatomy: Anatomy) -> tuple[Tensor, Tensor]:
    """Depth (cm) below the top of the diaphragm, and the half path length under its dome."""
    right, left = anatomy.dome
    crest = 0.5 * anatomy.half_width
    out = rays.x.abs() - crest
    top = torch.where(rays.x > 0, left, right)
    fall = torch.where(out > 0, 4.3 * (out.clamp(min=0) / crest) ** 2.3, 1.3 * (out / crest) ** 2)
    below = rays.y - top - fall
    return below, root(below / 0.075)


def lung_space(rays: Rays, anatomy: Anatomy, inset: Tensor, width: Tensor) -> Tensor:
    """Half path length that stays inside the cavity when its outer wall moves in by `inset` cm."""
    inner_width = (width - inset).clamp(min=0.05)
    depth = (anatomy.half_depth * (0.45 + 0.55 * width / anatomy.half_width) - inset).clamp(min=0)
    return depth * root(1 - (rays.x / inner_width).abs() ** CAGE_POWER, CAGE_POWER)


def pleura(rays: Rays, side: Tensor) -> Tensor:
    """1 in one side's pleural space, 0 beyond the midline; side is -1 (right) or 1 (left)."""
    return ((side * rays.x - 1.0) / 2.0).clamp(0, 1)


def fluid_inset(rays: Rays, anatomy: Anatomy, values: Mapping[str, Tensor]) -> Tensor:
    """Thickness (cm) of pleural fluid against the wall: a meniscus, thicker towards the base."""
    right, left = anatomy.dome
    floor = torch.where(rays.x > 0, left, right) + 4.3
    under = rays.y - (floor - 1.5 - 12.5 * values["effusion_fill"])
    thickness = 0.22 * torch.expm1(under.clamp(0, 10) / 1.9)
    return thickness * pleura(rays, 1 - 2 * values["effusion_side"])


def gas_inset(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    """Thickness (cm) of free pleural air, widest at the apex."""
    fall = ((rays.y - anatomy.apex - 3) / 12).clamp(0, 1)
    thickness = (1.6 + 1.8 * nuisance.place[:, 0]) * (1 - fall).square()
    return thickness * pleura(rays, torch.where(nuisance.place[:, 1] < 0.5, -1.0, 1.0))


@dataclass(frozen=True)
class Solids:
    """Half path lengths of what displaces the lung, each about its own depth."""

    heart: Tensor
    mediastinum: Tensor
    dome: Tensor


def free(within: Tensor, solids: Solids, anatomy: Anatomy) -> Tensor:
    """Path length of the cavity [-within, within] that no solid takes; where they overlap, each centimetre counts once."""
    taken = (
        clip_interval(-0.3 * anatomy.half_depth, solids.heart, within),
        clip_interval(0.0, solids.mediastinum, within),
        clip_interval(-1.0, solids.dome, within),
    )
    return (2 * within - union_length(taken)).clamp(min=0)


def thorax(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, values: Mapping[str, Tensor]) -> Thorax:
    """Heart, mediastinum and liver displace the lung; free gas and fluid press it from outside."""
    width, half = cage(rays, anatomy)
    below, dome_half = dome(rays, anatomy)
    solids = Solids(heart(rays, anatomy), mediastinum(rays, anatomy, half), dome_half)

    def pressed(rays: Rays, anatomy: Anatomy, width: Tensor, lung: Tensor, inset: Tensor) -> Tensor:
        return torch.minimum(lung_space(rays, anatomy, inset, width), lung)

    collapsed, wet = values["pneumothorax"], values["effusion"]
    inset = where_present(collapsed, torch.zeros_like(half), gas_inset, rays, anatomy, nuisance)
    dry = where_present(collapsed, half, pressed, rays, anatomy, width, half, inset)
    inset = inset + where_present(wet, torch.zeros_like(half), fluid_inset, rays, anatomy, values)
    lung = where_present(wet, dry, pressed, rays, anatomy, width, dry, inset)
    whole = free(half, solids, anatomy)
    expanded = where_present(collapsed, whole, free, dry, solids, anatomy)
    air = where_present(wet, expanded, free, lung, solids, anatomy)
    return Thorax(width, 2 * half, 2 * solids.heart, 2 * solids.mediastinum, below, whole - expanded, expanded - air, air)


def body(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Path length through trunk, neck and shoulders, their outlines smoothly joined."""
    x, y = rays.x_soft, rays.y
    trunk = anatomy.half_width + anatomy.wall
    top = anatomy.apex - 1.2
    level, slope = anatomy.shoulder
    outline = anatomy.neck + 1.5 * torch.nn.functional.softplus((y - level) / (1.5 * slope))
    span = trunk + 8.5 * torch.sigmoid((level + 7.5 - y) / 1.3)
    width = span - 1.2 * torch.nn.functional.softplus((span - outline) / 1.2)
    depth = 5.8 + (anatomy.body_depth - 5.8) * torch.sigmoid((y - top - 3) / 2.2)
    torso = depth * root(1 - (x / width.clamp(min=1)).abs() ** 2.6, 2.6)
    arm = superquadric(x.abs() - trunk - anatomy.arm, y - level - 9, half=(10.0, 3.7, 4.0), angle=1.3)
    joined = (torso**4 + (0.9 * arm) ** 4 + 1e-6) ** 0.25
    thickness, low, swell = anatomy.breast
    rise = low - 0.7 * thickness - y
    tall = torch.where(rise > 0, 1.9 * thickness, 0.75 * thickness)
    bulge = (1 - ((x.abs() - 0.55 * trunk) / thickness).square() - (rise / tall).square()).clamp(min=0)
    # Below the nipple the skin folds under (sharp edge), above it the breast runs out flat.
    breast = swell * torch.where(rise > 0, bulge.square(), bulge.square() + (bulge - bulge.square()) * (-rise / tall))
    return 2 * joined - 0.063 + breast * (joined > 0.1)
