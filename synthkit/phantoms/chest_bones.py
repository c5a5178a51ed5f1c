"""Path lengths through bone, airways and hardware of one chest."""
import math

import torch
from torch import Tensor

from synthkit.phantoms import texture
from synthkit.phantoms.chest_anatomy import Anatomy, Nuisance, vessel_points
from synthkit.phantoms.chest_organs import Rays, Thorax
from synthkit.phantoms.physics import Scalar, blur, root, superquadric

RIBS = 11


def ribs(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, width: Tensor) -> Tensor:
    """Path length through hollow ribs on tilted rings; a ring's sides run along the ray and so look dense."""
    ring = width + 0.45
    share = (rays.x_soft / ring).abs()
    turn = root(1 - share.square())
    inside = share < 0.995
    safe = turn.clamp(min=0.1)
    side = (rays.x_soft > 0).long()
    shift = torch.cat([nuisance.rib_shift, nuisance.rib_shift[:, -1:]], 1)
    along = anatomy.half_depth * share / (ring * safe)
    first = anatomy.apex + 0.4
    total = torch.zeros_like(share)
    for front in (False, True):
        drop = anatomy.rib_drop * (1.7 if front else 1.4)
        bend = 0.65 * (1 - turn) + 0.35 * share
        line = 0.7 * anatomy.rib_drop + 0.5 * drop * (1 - bend) if front else 0.5 * drop * bend
        level = (rays.y - first - line) / anatomy.rib_gap
        number = level.round().clamp(0, RIBS)
        offset = (level - number - 0.11 * shift[side, number.long()]) * anatomy.rib_gap
        slope = 0.5 * drop * (0.65 * share / safe + 0.35) / ring
        steep = 1 + slope.square()
        distance = offset / steep.sqrt()
        half_height = 0.53 + 0.03 * number.clamp(max=5) / 5
        marrow = root(1 - (distance / (half_height - 0.18)).square())
        shell = root(1 - (distance / half_height).square()) - 0.42 * marrow
        length = 1.12 * shell * (1 + along.square() / steep).sqrt().clamp(max=2.6)
        # In front the ribs end in cartilage, which hardly shows; behind they end at the spine.
        inner, soft, weight = (6.5, 0.8, 0.6 * (number < 8)) if front else (1.2, 0.3, 1.0)
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
    share = [float(number) for number in nuisance.place]
    floor = anatomy.dome[1]
    bubble = superquadric(
        rays.x_soft - 5.2 - 2 * share[2], rays.y - floor - 2.4, half=(1.6 + 1.9 * share[3], 0.7 + 1.0 * share[4], 2.2)
    )
    colon = superquadric(rays.x_soft - 8.5, rays.y - floor - 5 - 2 * share[5], half=(2.6, 1.2, 1.6), angle=0.5)
    return 2 * (share[4] > 0.3) * bubble + 1.4 * (share[5] > 0.55) * colon


def vessels(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    """Path length through the lungs' branching vessels, thin ones sharp and thick ones round."""
    out, down, diameter, length = (torch.from_numpy(part) for part in vessel_points(nuisance))
    count = rays.x.shape[-1]
    scale = anatomy.half_width / 13.2
    sides = torch.tensor([[-1.0], [1.0]])
    x = sides * (3.1 + out) * scale + anatomy.shift[0]
    y = anatomy.apex + 11.0 + down * (anatomy.reach / 17.5) + anatomy.shift[1] + torch.tensor([[0.5], [-0.6]])
    mass = (math.pi / 4) * diameter.square() * length / rays.pixel_cm**2
    total = torch.zeros_like(rays.x)
    for low, high in ((0.0, 0.2), (0.2, 0.38), (0.38, 9.0)):
        chosen = (diameter >= low) & (diameter < high)
        column, row = (x[chosen] / rays.pixel_cm + count / 2 - 0.5), (y[chosen] / rays.pixel_cm + count / 2 - 0.5)
        width = float(diameter[chosen].mean())
        total = total + blur(texture.splat(column, row, mass[chosen], count=count), 0.3 * width / rays.pixel_cm + 0.2)
    return total


def hardware(rays: Rays, anatomy: Anatomy, nuisance: Nuisance, values: dict[str, Scalar]) -> Tensor:
    """Metal (cm): a pacemaker with its lead, or sternal wires and clips."""
    total = torch.zeros_like(rays.x)
    if values["pacemaker"]:
        total = total + _pacemaker(rays, anatomy, nuisance)
    if values["clips"]:
        total = total + _wires(rays, anatomy, nuisance)
    return total


def _pacemaker(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    side = -1.0 if nuisance.place[6] < 0.2 else 1.0
    box_x, box_y = side * 0.72 * anatomy.half_width, anatomy.apex + 5.0
    box = superquadric(rays.x - box_x, rays.y - box_y, half=(2.1, 1.9, 0.35), power=3, angle=0.3)
    step = torch.linspace(0, 1, 400)
    entry, tip = -1.4, 0.28 * anatomy.heart_width
    x = (1 - step) ** 2 * box_x + 2 * step * (1 - step) * (-4.5) + step.square() * tip
    x = x + (entry - x) * torch.exp(-(((step - 0.5) / 0.22) ** 2))
    y = box_y - 2.2 * torch.sin(math.pi * (step * 2.4).clamp(max=1)) + step**1.6 * (anatomy.heart_y + 1.6 - box_y)
    return box + _strand(rays, anatomy, x, y, 0.02)


def _wires(rays: Rays, anatomy: Anatomy, nuisance: Nuisance) -> Tensor:
    turn = torch.linspace(0, 2 * math.pi, 60)
    own = torch.from_numpy(nuisance.wires)
    x = 0.75 * torch.cos(turn) + 0.25 * own[:6, :1] + 0.12 * own[:6, 1:2] * torch.sin(2 * turn)
    y = 0.55 * torch.sin(turn) + anatomy.apex + 4.0 + 2.9 * torch.arange(6)[:, None] + 0.2 * own[:6, 2:]
    return _strand(rays, anatomy, x.flatten(), y.flatten(), 0.018)


def _strand(rays: Rays, anatomy: Anatomy, x: Tensor, y: Tensor, area_cm2: float) -> Tensor:
    length = torch.hypot(x.diff(append=x[-1:]), y.diff(append=y[-1:])).clamp(max=0.5)
    count = rays.x.shape[-1]
    column = (x + anatomy.shift[0]) / rays.pixel_cm + count / 2 - 0.5
    row = (y + anatomy.shift[1]) / rays.pixel_cm + count / 2 - 0.5
    return texture.splat(column, row, area_cm2 * length / rays.pixel_cm**2, count=count)


def below_diaphragm(inside: Thorax) -> Tensor:
    """1 under the diaphragm, 0 above, over about 1 cm."""
    return torch.sigmoid(inside.below_dome / 0.3)
