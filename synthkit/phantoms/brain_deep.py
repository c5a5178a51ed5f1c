"""What lies inside the brain: ventricles and deep nuclei."""
import torch
from torch import Tensor

from synthkit.phantoms.brain_frame import Frame, ellipsoid, join

Point = tuple[float, float, float, float]
HORNS: tuple[tuple[Point, Point], ...] = (  # a lateral ventricle piece by piece: x (to the side), y, z and radius in mm
    ((10.0, -36.0, 3.0, 3.0), (9.0, -16.0, 13.0, 4.2)),
    ((9.0, -16.0, 13.0, 4.2), (12.0, 10.0, 18.0, 4.2)),
    ((12.0, 10.0, 18.0, 4.2), (22.0, 32.0, 9.0, 5.0)),
    ((22.0, 32.0, 9.0, 5.0), (25.0, 58.0, 0.0, 1.4)),
    ((23.0, 32.0, 7.0, 4.2), (32.0, 20.0, -12.0, 2.2)),
    ((32.0, 20.0, -12.0, 2.2), (31.0, -8.0, -25.0, 1.5)),
)
STAGE_MM = (0.0, 0.0, 0.0, 0.0, 0.5, 0.8)  # by which each stage of atrophy widens a piece: the temporal horn first


def ventricles(frame: Frame, stage: Tensor) -> Tensor:
    """Signed distance in mm to the lateral, third and fourth ventricles at their nominal volume."""
    lateral = frame.x.abs()
    horns = None
    for (start, end), widening in zip(HORNS, STAGE_MM, strict=True):
        tube = _tube(frame, lateral, start, end) - widening * stage
        horns = tube if horns is None else join(horns, tube, width=4)
    septum = 1.0 - lateral
    third = torch.maximum(2.0 * (lateral - 1.5), 2.0 * _ellipse(frame.y + 2, frame.z + 1 + 0.2 * frame.y, half=(14, 10)))
    third = torch.maximum(third, -_ellipse(frame.y, frame.z - 1, half=(4.5, 4)))  # the bridge between the thalami
    fourth = 1.8 * ellipsoid(frame, (0.0, 25.0, -44.0), (6.0, 6.0, 9.0))
    return torch.minimum(torch.maximum(horns, septum), torch.minimum(third, fourth))


def nuclei(frame: Frame, spread: Tensor) -> dict[str, Tensor]:
    """Signed distances in mm to the deep nuclei; wide ventricles push them aside by `spread` mm."""
    lateral = frame.x.abs()
    caudate = torch.minimum(
        ellipsoid(frame, (14.5 + spread, -22.0, 5.0), (5.0, 10.5, 9.0), side=lateral),
        _tube(frame, lateral - spread, (16.0, -16.0, 11.0, 3.2), (20.0, 12.0, 17.0, 1.6)),
    )
    # The lens nucleus lies aslant: its back end points outwards.
    aslant = lateral - 0.22 * (frame.y + 4) - 0.4 * spread
    return {
        "thalamus": ellipsoid(frame, (10.5 + 0.6 * spread, 8.0, 3.0), (8.0, 14.0, 8.5), side=lateral - 0.25 * (frame.y - 8)),
        "caudate": caudate,
        "pallidum": ellipsoid(frame, (20.0, -2.0, -1.0), (4.5, 9.5, 7.0), side=aslant),
        "putamen": ellipsoid(frame, (26.5, -4.0, 1.0), (5.5, 16.0, 10.0), side=aslant),
    }


def _tube(frame: Frame, x: Tensor, start: Point, end: Point) -> Tensor:
    """Signed distance to a straight tube whose radius changes evenly from one end to the other."""
    along = [b - a for a, b in zip(start[:3], end[:3], strict=True)]
    length = sum(part * part for part in along)
    x, y, z = x - start[0], frame.y - start[1], frame.z - start[2]
    share = ((x * along[0] + y * along[1] + z * along[2]) / length).clamp(0, 1)
    x, y, z = x - share * along[0], y - share * along[1], z - share * along[2]
    return (x * x + y * y + z * z + 1e-6).sqrt() - start[3] - share * (end[3] - start[3])


def _ellipse(first: Tensor, second: Tensor, *, half: tuple[float, float]) -> Tensor:
    radius = ((first / half[0]).square() + (second / half[1]).square() + 1e-6).sqrt()
    return (radius - 1) * min(half)
