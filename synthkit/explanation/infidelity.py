"""Does an attribution map foretell how the classifier's answer changes from an image to its twin?"""
import numpy as np
import torch
from torch import nn

ADDING_UP = ("IntegratedGradients", "GradientShap", "DeepLift")  # maps of slope times (image - twin), which are taken apart again
SLOPES = ("Saliency", "SmoothGrad")
TELLING = (*ADDING_UP, *SLOPES)  # the methods that foretell a number; the others give a map without a unit
BATCH = 8
STILL = 1e-6  # of the image unit: no change


def counterfactual_infidelity(module: nn.Module, name: str, found: torch.Tensor, x: torch.Tensor, twin: torch.Tensor, *, device: torch.device) -> np.ndarray:
    """(N,) squared error of the change that a map foretells, in squared log-odds (infidelity, Yeh et al. 2019, with the twin as perturbation).

    The change foretold is the sum of slope times (image - twin) over all pixels.

    Args:
        module: one output per image, the log-odds.
        name: one of `TELLING`.
        found: the attributions; x, twin: the images, all (N, C, [D,] H, W).
    """
    from captum.metrics import infidelity

    change = x - twin
    moved = change.abs() > STILL
    slope = torch.where(moved, found / torch.where(moved, change, torch.ones_like(change)), torch.zeros_like(change)) if name in ADDING_UP else found
    parts = []
    for start in range(0, len(x), BATCH):
        rows = slice(start, start + BATCH)
        image, other = x[rows].to(device), twin[rows].to(device)
        parts.append(infidelity(module, lambda inputs, other=other: (inputs - other, other), image, slope[rows].to(device), target=0, n_perturb_samples=1))
    return torch.cat(parts).detach().double().cpu().numpy()
