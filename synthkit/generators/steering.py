"""A flow led by a gradient: from an image's own latent back to the image, bent a little at every step."""
from collections.abc import Callable

import torch
from torch.nn import functional as F

from synthkit.generators.diffusion import FlowNetwork
from synthkit.generators.flow import integrate_over
from synthkit.generators.solvers import time_grid

Pull = Callable[[torch.Tensor], torch.Tensor]
UNTIL = 0.6  # the last part of the way is the network's alone: it cleans what the gradient left
LATE = 0.5  # from this time on only the region that has changed goes on changing
CHANGED = 6 / 255  # of the image range -1..1: three grey levels
SHRINK = 1 / 255  # smaller departures from the image are taken back
WIDEN = 5  # pixels that the region is widened to, around each that changed


def steered(network: FlowNetwork, x: torch.Tensor, c: torch.Tensor, pull: Pull, strength: torch.Tensor, *, depth: float) -> torch.Tensor:
    """The images, changed where and as far as the pull leads; exactly themselves elsewhere, and for strength 0.

    The gradient is taken at the guess of the finished image, as in FastDiME (Weng et al. 2024), so that nothing is
    differentiated through the network. A plain way from the same latent runs beside the steered one, and their difference is what is
    added to the image. Departures from the image are shrunk (the proximal step of an L1 penalty), and late on the way what has
    not changed is held.

    Args:
        x, c: images (N, C, [D,] H, W) and their conditions.
        pull: from guesses of the finished images to a direction of unit root mean square each.
        strength: (N,) how far a guess goes along the pull, in image units.
        depth: share of the way back to noise that is gone, above 0 and up to 1.
    """
    times = time_grid(network.steps, shift=network.shift)
    times = times[min(int(len(times) * (1 - depth)), len(times) - 2) :]
    velocity = network.under(c)
    led = plain = integrate_over(velocity, x, times[::-1])
    far, inside = strength.reshape(-1, *(1,) * (x.ndim - 1)), torch.ones_like(x[:, :1], dtype=torch.bool)
    for t, after in zip(times, times[1:]):
        at = torch.full((len(x),), t, device=x.device)
        guess, usual = led + (1 - t) * velocity(led, at), plain + (1 - t) * velocity(plain, at)
        wanted, usual = _near(guess + far * pull(guess) if t < UNTIL else guess, x), _near(usual, x)
        share = (after - t) / (1 - t)
        led, plain = led + share * (wanted - led), plain + share * (usual - plain)
        if t >= LATE:
            inside = _widened((wanted - usual).abs().amax(1, keepdim=True) > CHANGED)
            led = torch.where(inside, led, plain)
    return x + torch.where(inside, led - plain, 0.0)


def _near(guess: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The guess, with every departure from x made smaller by SHRINK."""
    away = guess - x
    return x + away.sign() * (away.abs() - SHRINK).clamp(min=0)


def _widened(region: torch.Tensor) -> torch.Tensor:
    pool = F.max_pool2d if region.ndim == 4 else F.max_pool3d
    return pool(region.float(), WIDEN, stride=1, padding=WIDEN // 2) > 0
