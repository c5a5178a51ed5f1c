"""Path lengths through bone, airways and hardware of one chest."""
import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from synthkit.phantoms import texture
from synthkit.phantoms.chest_anatomy import Anatomy, Nuisance
from synthkit.phantoms.chest_organs import Rays, Thorax
from synthkit.phantoms.physics import blur, root, superquadric
from synthkit.phantoms.rows import where_present

RIBS = 11
VESSEL_LIMITS, VESSEL_WIDTHS = (0.2, 0.38), (0.16, 0.28, 0.6)  # cm: between the classes, mean diameter of each


def ribs(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, width: Tensor) -> Tensor:
    """Path length through hollow ribs on tilted rings; a ring's sides run along the ray and so look dense."""
    ring = width + 0.45
    share = (rays.x_soft / ring).abs()
    turn = root(1 - share.square())
    inside = share < 0.995
    safe = turn.clamp(min=0.1)
    left = 14 * (rays.x_soft > 0).long()
    shifts = nuisance.rib_shift.flatten(1)
    along = anatomy.half_depth * share / (ring * safe)
    first = anatomy.apex + 0.4
    total = torch.zeros_like(share)
    for front in (False, True):
        drop = anatomy.rib_drop * (1.7 if front else 1.4)
        bend = 0.65 * (1 - turn) + 0.35 * share
        line = 0.7 * anatomy.rib_drop + 0.5 * drop * (1 - bend) if front else 0.5 * drop * bend
        level = (rays.y - first - line) / anatomy.rib_gap
        number = level.round().clamp(0, RIBS)
        shift = shifts.gather(1, (left + number.long()).flatten(1)).view_as(level)
        offset = (level - number - 0.11 * shift) * anatomy.rib_gap
        slope = 0.5 * drop * (0.65 * share / safe + 0.35) / ring
        steep = 1 + slope.square()
        distance = offset / steep.sqrt()
        half_height = 0.53 + 0.03 * number.clamp(max=5) / 5
        marrow = root(1 - (distance / (half_height - 0.18)).square())
        shell = root(1 - (distance / half_height).square()) - 0.42 * marrow
        length = 1.12 * shell * (1 + along.square() / steep).sqrt().clamp(max=2.6)
        # In front the ribs end in cartilage, which hardly shows; behind they end at the spine.
        inner, soft, weight = (6.0, 0.8, 0.85 * (number < 8)) if front else (1.2, 0.3, 1.0)
        fade = weight * torch.sigmoid((rays.x.abs() - inner) / soft)
        total = total + torch.where(inside, length * fade, torch.zeros_like(length))
    return total


def clavicles(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Path length through both collar bones, S-shaped and hollow."""
    out = rays.x_soft.abs()
    line = anatomy.clavicle_y - 0.14 * (out - 2) + 0.5 * torch.sin((out - 2) / 3.3)
    distance = (rays.y - line) * 0.97
    half = 0.6 + 0.35 * torch.exp(-((out - 2.2) / 1.2) ** 2)
    length = 1.6 * root(1 - (distance / half).square()) - 0.7 * root(1 - (distance / (half - 0.2)).square())
    ends = torch.sigmoid((out - 1.7) / 0.15) * torch.sigmoid((anatomy.half_width + 3.4 - out) / 0.3)
    return length * ends


def shoulder_bones(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Path length through the shoulder blades (thin plate, thick rim) and the heads of the upper arms."""
    out = rays.x_soft.abs()
    level = anatomy.shoulder[0] + 4.7
    x, y = out - anatomy.scapula - 2.4, rays.y - level - 6.5
    slant = (y / 7.8).clamp(-1, 1)
    reach = ((x + 0.6 * slant) / (2.2 - 1.5 * slant)).square() + (y / 7.8) ** 4
    plate = 0.22 * torch.sigmoid((1 - reach) / 0.08)
    rim = 0.75 * torch.exp(-(((reach - 1) / 0.28) ** 2)) * (y.abs() < 8.5)
    head = superquadric(out - anatomy.half_width - 5.6, rays.y - level + 0.4, half=(2.5, 2.6, 1.4))
    core = superquadric(out - anatomy.half_width - 5.6, rays.y - level + 0.4, half=(2.1, 2.2, 0.9))
    shaft = 1.1 * root(1 - ((out - anatomy.half_width - 6.4 - 0.12 * (rays.y - level)) / 1.2).square())
    return plate + rim + torch.maximum(2 * (head - core), shaft * (rays.y > level + 1))


def spine(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Path length through vertebral bodies, discs between them, pedicles and spinous processes."""
    gap = anatomy.rib_gap
    phase = (rays.y - anatomy.apex) / gap
    beat = torch.cos(2 * math.pi * phase)
    half = 1.75 + 0.15 * beat
    body = root(1 - (rays.x_soft / half).abs() ** 4, 4) * (1.5 + 0.3 * torch.tanh(2 * beat))
    cell = (phase - phase.round()) * gap
    pedicle = torch.exp(-(((rays.x_soft.abs() - 1.15) / 0.28) ** 2) - (cell / 0.5) ** 2)
    process = torch.exp(-((rays.x_soft / 0.25) ** 2) - ((cell - 0.5) / 0.6) ** 2)
    return body + 0.4 * pedicle + 0.4 * process


def airway(rays: Rays, anatomy: Anatomy) -> Tensor:
    """Path length through windpipe and main bronchi: air that displaces soft tissue."""
    x, carina = rays.x_soft + 0.15, anatomy.apex + 8.6
    trachea = 0.85 * root(1 - (x / 0.85).square()) * torch.sigmoid((carina - rays.y) / 0.3)
    down = rays.y - carina
    centre = torch.where(x > 0, 1.15 * down, -0.75 * down)
    bronchi = 0.6 * root(1 - ((x - centre) / 0.75).square()) * ((down > -0.3) & (down < 3.2))
    return 2 * torch.maximum(trachea, bronchi)


def bowel_gas(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    """Path length through the stomach's air bubble and a bend of the colon, in some subjects."""
    share = nuisance.place.unbind(1)
    floor = anatomy.dome[1]
    bubble = superquadric(
        rays.x_soft - 5.2 - 2 * share[2], rays.y - floor - 2.4, half=(1.6 + 1.9 * share[3], 0.7 + 1.0 * share[4], 2.2)
    )
    colon = superquadric(rays.x_soft - 8.5, rays.y - floor - 5 - 2 * share[5], half=(2.6, 1.2, 1.6), angle=0.5)
    return 2 * (share[4] > 0.3) * bubble + 1.4 * (share[5] > 0.55) * colon


def drawn_in(parts: tuple[tuple[slice, slice], ...], draw: Callable[[Rays, Anatomy], Tensor], rays: Rays, anatomy: Anatomy) -> Tensor:
    """What stands in some rectangles of the film only, zero elsewhere."""
    total = torch.zeros_like(rays.x)
    for rows, columns in parts:
        total[:, rows, columns] = draw(rays.part(rows, columns), anatomy)
    return total


def middle(count: int) -> tuple[tuple[slice, slice], ...]:
    """The middle half of the columns, wide enough for everything near the spine."""
    return ((slice(None), slice(count // 4, count - count // 4)),)


def sides(count: int) -> tuple[tuple[slice, slice], ...]:
    """The outer quarter on either side."""
    return (slice(None), slice(0, count // 4)), (slice(None), slice(count - count // 4, count))


def vessels(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    """Path length through the lungs' branching vessels, thin ones sharp and thick ones round."""
    out, down, diameter, length = nuisance.vessels.unbind(1)
    points, count, scale = out.shape[1], rays.x.shape[-1], anatomy.half_width[:, 0] / 13.2
    right = torch.arange(points, device=out.device) < points // 2
    x = torch.where(right, -1.0, 1.0) * (3.1 + out) * scale
    y = anatomy.apex[:, 0] + 11.0 + down * (anatomy.reach[:, 0] / 17.5) + torch.where(right, 0.5, -0.6)
    column, row = _pixels(rays, anatomy, x, y)
    mass = (math.pi / 4) * diameter.square() * length / rays.pixel_cm[:, 0].square()
    limits, widths = torch.tensor(VESSEL_LIMITS, device=out.device), torch.tensor(VESSEL_WIDTHS, device=out.device)
    layers = texture.splat(column, row, mass, count=count, layer=torch.bucketize(diameter.contiguous(), limits), layers=len(widths))
    sigma = 0.3 * widths / rays.pixel_cm[:, 0] + 0.2
    return blur(layers.flatten(0, 1), sigma.reshape(-1, 1, 1)).unflatten(0, (-1, len(widths))).sum(1)


def hardware(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, values: Mapping[str, Tensor]) -> Tensor:
    """Metal (cm): a pacemaker with its lead, or sternal wires and clips."""
    none = torch.zeros_like(rays.x)
    device = where_present(values["pacemaker"], none, _pacemaker, rays, anatomy, nuisance)
    return device + where_present(values["clips"], none, _wires, rays, anatomy, nuisance)


def _pacemaker(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    side = torch.where(nuisance.place[:, 6] < 0.2, -1.0, 1.0)
    box_x, box_y = side * 0.72 * anatomy.half_width, anatomy.apex + 5.0
    box = superquadric(rays.x - box_x, rays.y - box_y, half=(2.1, 1.9, 0.35), power=3, angle=0.3)
    step = torch.linspace(0, 1, 400, device=rays.x.device)
    start_x, start_y = box_x[:, 0], box_y[:, 0]
    entry, tip = -1.4, 0.28 * anatomy.heart_width[:, 0]
    x = (1 - step) ** 2 * start_x + 2 * step * (1 - step) * (-4.5) + step.square() * tip
    x = x + (entry - x) * torch.exp(-(((step - 0.5) / 0.22) ** 2))
    y = start_y - 2.2 * torch.sin(math.pi * (step * 2.4).clamp(max=1)) + step**1.6 * (anatomy.heart_y[:, 0] + 1.6 - start_y)
    return box + _strand(rays, anatomy, x, y, 0.02)


def _wires(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    turn = torch.linspace(0, 2 * math.pi, 60, device=rays.x.device)
    own, level = nuisance.wires[:, :6], torch.arange(6, device=rays.x.device)[:, None]
    x = 0.75 * torch.cos(turn) + 0.25 * own[..., :1] + 0.12 * own[..., 1:2] * torch.sin(2 * turn)
    y = 0.55 * torch.sin(turn) + anatomy.apex + 4.0 + 2.9 * level + 0.2 * own[..., 2:]
    return _strand(rays, anatomy, x.flatten(1), y.flatten(1), 0.018)


def _pixels(rays: Rays, anatomy: Anatomy, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row (fractions of pixels) of places in cm, all (N, P)."""
    middle = rays.x.shape[-1] / 2 - 0.5
    return tuple((place + shift[:, 0]) / rays.pixel_cm[:, 0] + middle for place, shift in zip((x, y), anatomy.shift, strict=True))


def _strand(rays: Rays, anatomy: Anatomy, x: Tensor, y: Tensor, area_cm2: float) -> Tensor:
    step = x.diff(append=x[:, -1:]).square() + y.diff(append=y[:, -1:]).square()
    column, row = _pixels(rays, anatomy, x, y)
    return texture.splat(column, row, area_cm2 * step.sqrt().clamp(max=0.5) / rays.pixel_cm[:, 0].square(), count=rays.x.shape[-1])[:, 0]


def below_diaphragm(inside: Thorax) -> Tensor:
    """1 under the diaphragm, 0 above, over about 1 cm."""
    return torch.sigmoid(inside.below_dome / 0.3)
