"""Images led by a gradient along what a generator finds likely: a flow bent a little at every step, or a latent moved."""
from collections.abc import Callable

import torch
from torch.nn import functional as F

from synthkit.generators.diffusion import FlowNetwork
from synthkit.generators.flow import integrate_over
from synthkit.generators.solvers import time_grid
from synthkit.generators.vae import LadderNetwork

Pull = Callable[[torch.Tensor], torch.Tensor]
UNTIL = 0.6  # the last part of the way is the network's alone: it cleans what the gradient left
LATE = 0.5  # from this time on only the region that has changed goes on changing
CHANGED = 6 / 255  # of the image range -1..1: three grey levels
SHRINK = 1 / 255  # smaller departures from the image are taken back
WIDEN = 5  # pixels that the region is widened to, around each that changed


def way(network: FlowNetwork, depth: float) -> tuple[float, ...]:
    """The times of a flow from where the image is taken back to, to the image."""
    times = time_grid(network.steps, shift=network.shift)
    return times[min(int(len(times) * (1 - depth)), len(times) - 2) :]


def least_depth(network: FlowNetwork) -> float:
    """The least depth, in hundredths, whose way begins before UNTIL: what is shallower is the network's alone."""
    return next(hundredths / 100 for hundredths in range(1, 101) if way(network, hundredths / 100)[0] < UNTIL)


def cleaning_steps(network: FlowNetwork, depth: float) -> int:
    """How many steps at the end of the way nothing pulls at."""
    return sum(t >= UNTIL for t in way(network, depth)[:-1])


def turned(network: FlowNetwork | LadderNetwork, x: torch.Tensor, c: torch.Tensor, *, depth: float) -> torch.Tensor:
    """What images are led from: the images taken back by `depth` on a flow, the latents of a VAE."""
    return network.encode(x, c) if isinstance(network, LadderNetwork) else integrate_over(network.under(c), x, way(network, depth)[::-1])


def returned(network: FlowNetwork | LadderNetwork, start: torch.Tensor, c: torch.Tensor, *, depth: float) -> torch.Tensor:
    """The raw images that a start leads to when nothing pulls."""
    return network.decode(start, c) if isinstance(network, LadderNetwork) else integrate_over(network.under(c), start, way(network, depth))


def steered(
    network: FlowNetwork, x: torch.Tensor, start: torch.Tensor, c: torch.Tensor, pull: Pull, strength: torch.Tensor, *, depth: float
) -> torch.Tensor:  # fmt: skip
    """The images, changed where and as far as the pull leads; exactly themselves elsewhere, and for strength 0.

    The gradient is taken at the guess of the finished image, as in FastDiME (Weng et al. 2024), so that nothing is
    differentiated through the network. A plain way from the same latent runs beside the steered one, and their difference is what is
    added to the image. Departures from the image are shrunk (the proximal step of an L1 penalty), and late on the way what has
    not changed is held.

    Args:
        x, start, c: images (N, C, [D,] H, W), taken back by `turned`, and their conditions.
        pull: from guesses of the finished images to a direction of unit root mean square each.
        strength: (N,) how far a guess goes along the pull, in image units.
        depth: share of the steps back to noise that are gone, above 0 and up to 1.
    """
    times, velocity = way(network, depth), network.under(c)
    led = plain = start
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


def shifted(network: LadderNetwork, x: torch.Tensor, z: torch.Tensor, c: torch.Tensor, pull: Pull, strength: torch.Tensor) -> torch.Tensor:
    """The images, with their latents moved along the pull (latent shift, Cohen et al. 2021): x + D(z + strength * g) - D(z).

    The noise of the pixels, which could take any pattern, is held: only the rungs move.

    Args:
        strength: (N,) root mean square of the move, in standard deviations of the latents.
    """
    rungs, pixels = z.split(network.split, 1)
    with torch.inference_mode(False), torch.enable_grad():
        start = rungs.clone().requires_grad_()
        raw = network.decode(torch.cat([start, pixels.clone()], 1), c.clone())
        (slope,) = torch.autograd.grad((raw * pull(raw.detach())).sum(), start)
    move = slope / slope.square().mean(1, keepdim=True).sqrt().clamp(min=1e-12)
    return x + network.decode(torch.cat([rungs + strength[:, None] * move, pixels], 1), c) - raw.detach()


def _near(guess: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The guess, with every departure from x made smaller by SHRINK."""
    away = guess - x
    return x + away.sign() * (away.abs() - SHRINK).clamp(min=0)


def _widened(region: torch.Tensor) -> torch.Tensor:
    pool = F.max_pool2d if region.ndim == 4 else F.max_pool3d
    return pool(region.float(), WIDEN, stride=1, padding=WIDEN // 2) > 0
