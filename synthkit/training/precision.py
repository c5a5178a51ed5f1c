"""In which precision a network trains on its data."""
import torch
from torch import nn

from synthkit.core.device import accelerator, precision
from synthkit.nets.network import Batch, Trainable
from synthkit.training.data import TrainingData

UNSAFE = 2  # slices


def trained_in(network: Trainable, data: TrainingData, device: str) -> str:
    """Lightning's name of the precision: what the device is fast in, unless it computes wrongly there.

    On a CPU the bf16 weight gradient of a 3D convolution over two slices is uninitialised memory (torch 2.13, oneDNN).
    """
    kind = accelerator(device)
    used = precision(kind)
    if kind == "cpu" and used != "32-true" and any(isinstance(part, nn.Conv3d) for part in network.modules()):
        return "32-true" if UNSAFE in convolved_depths(network, *data.take(data.rows(0)[:2], torch.device("cpu"))) else used
    return used


def convolved_depths(network: Trainable, x: torch.Tensor, c: torch.Tensor) -> set[int]:
    """How many slices each 3D convolution sees, in one forward pass on the CPU."""
    depths: set[int] = set()
    hooks = [part.register_forward_pre_hook(lambda part, given: depths.add(given[0].shape[2])) for part in network.modules() if isinstance(part, nn.Conv3d)]
    place = next(network.parameters()).device
    try:
        network.to("cpu").training_step(Batch(x, c, torch.Generator("cpu").manual_seed(0)))
    finally:
        network.to(place)
        for hook in hooks:
            hook.remove()
    return depths
