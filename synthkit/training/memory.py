"""Whether a run fits into memory, said in plain words before it starts."""
from copy import deepcopy
from dataclasses import dataclass

import psutil
import torch

from synthkit.errors import FitError
from synthkit.nets.network import Batch, Trainable

COPIES = 5  # weights, gradients, two moments of AdamW, moving average
STEP = 8  # pixels, by which a size is rounded down


@dataclass(frozen=True)
class DryBatch(Batch):
    """A batch of tensors without content, whose random numbers have none either."""

    def uniform(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, device=self.x.device)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.empty(shape, device=self.x.device)


def bytes_per_image(network: Trainable, x: torch.Tensor, c: torch.Tensor) -> int:
    """Bytes of activations that one image keeps for the backward pass, counted on one forward pass of two.

    On tensors without content, so that even what would never fit can be counted; a network that looks at values is run.
    """
    x, c = x[:2], c[:2]
    try:
        empty = DryBatch(torch.empty_like(x, device="meta"), torch.empty_like(c, device="meta"), torch.Generator())
        return _kept(deepcopy(network).to("meta"), empty)
    except (RuntimeError, NotImplementedError):
        return _kept(network, Batch(x, c, torch.Generator(x.device).manual_seed(0)))


def _kept(network: Trainable, batch: Batch) -> int:
    sizes: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    held = {p.untyped_storage()._cdata for p in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = network.training_step(batch)  # kept, and with it all that it holds: no place in memory is counted for two
    found = sum(size for place, size in sizes.items() if place not in held) // max(1, len(batch.x))
    del loss
    return found


def free_bytes(device: torch.device) -> int:
    """Memory that is free now on the device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def require_room(network: Trainable, x: torch.Tensor, c: torch.Tensor, *, batch_size: int) -> None:
    """Raise FitError with the batch size, or the image size, that would fit if this one will not."""
    fixed = COPIES * sum(p.numel() * p.element_size() for p in network.parameters())
    # Gradients of activations come and go beside what is kept: half as much again.
    each = int(1.5 * bytes_per_image(network, x, c))
    free = free_bytes(x.device)
    if fixed + batch_size * each <= free:
        return
    fits, size = (free - fixed) // max(1, each), " × ".join(map(str, x.shape[2:]))
    advice = f"batch_size={fits} would fit" if fits >= 1 else _smaller(x, (free - fixed) / max(1, each))
    raise FitError(
        f"training on {size} images with batch_size={batch_size} needs about {(fixed + batch_size * each) / 2**30:.1f} GB "
        f"and {free / 2**30:.1f} GB are free on {x.device}: {advice}"
    )


def _smaller(x: torch.Tensor, share: float) -> str:
    """What to do where not even one image fits; `share` of one would."""
    side = int(max(x.shape[2:]) * max(0.0, share) ** (1 / (x.ndim - 2))) // STEP * STEP
    return f"batch_size=1 would fit with images loaded at size={side}" if side >= STEP else "take a machine with more memory"
