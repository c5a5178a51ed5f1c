"""Whether a run fits into memory, said in plain words before it starts."""
import psutil
import torch

from synthkit.errors import FitError
from synthkit.nets.network import Batch, Trainable

COPIES = 5  # weights, gradients, two moments of AdamW, moving average


def bytes_per_image(network: Trainable, x: torch.Tensor, c: torch.Tensor) -> int:
    """Bytes of activations that one image keeps for the backward pass, measured on one forward pass of two."""
    sizes: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    held = {p.untyped_storage().data_ptr() for p in network.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.training_step(Batch(x[:2], c[:2], torch.Generator(x.device).manual_seed(0)))
    return sum(size for place, size in sizes.items() if place not in held) // max(1, min(2, len(x)))


def free_bytes(device: torch.device) -> int:
    """Memory that is free now on the device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def require_room(network: Trainable, x: torch.Tensor, c: torch.Tensor, *, batch_size: int) -> None:
    """Raise FitError with the batch size that would fit if this one will not."""
    fixed = COPIES * sum(p.numel() * p.element_size() for p in network.parameters())
    # Gradients of activations come and go beside what is kept: half as much again.
    each = int(1.5 * bytes_per_image(network, x, c))
    free = free_bytes(x.device)
    if fixed + batch_size * each <= free:
        return
    fits = (free - fixed) // max(1, each)
    size = " × ".join(map(str, x.shape[2:]))
    advice = f"batch_size={fits} would fit" if fits >= 1 else "load the images with a smaller size=, or use a machine with more memory"
    raise FitError(
        f"training on {size} images with batch_size={batch_size} needs about {(fixed + batch_size * each) / 2**30:.1f} GB "
        f"and {free / 2**30:.1f} GB are free on {x.device}: {advice}"
    )
