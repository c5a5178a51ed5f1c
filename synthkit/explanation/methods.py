"""Attribution methods of Captum, each between an image and its twin."""
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.errors import AbilityError, DataError
from synthkit.explanation.log_odds import LogOdds
from synthkit.nets.convnet import ConvNet

Attribute = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Softplus)  # those that DeepLift has a rule for
BATCH = 8  # images at a time
SMOOTH, NOISE = 16, 0.1  # draws of SmoothGrad, and the standard deviation of their noise in image units


def _integrated_gradients(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import IntegratedGradients

    # The twin as baseline: zero where the edit changed nothing, and the sum is f(x) - f(twin).
    return IntegratedGradients(module).attribute(x, baselines=twin, target=0, n_steps=32, internal_batch_size=32)


def _saliency(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import Saliency

    return Saliency(module).attribute(x, target=0, abs=False)


def _input_x_gradient(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import InputXGradient

    return InputXGradient(module).attribute(x, target=0)


def _occlusion(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import Occlusion

    window = tuple(max(2, n // 10) for n in x.shape[2:])
    stride = tuple(max(1, w // 2) for w in window)
    return Occlusion(module).attribute(x, (x.shape[1], *window), strides=(x.shape[1], *stride), baselines=twin, target=0, perturbations_per_eval=16)


def _grad_cam(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import LayerAttribution, LayerGradCam

    found = LayerGradCam(module, last_convolution(module)).attribute(x, target=0)
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return LayerAttribution.interpolate(found, tuple(x.shape[2:]), interpolate_mode=mode).expand_as(x)


def _gradient_shap(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import GradientShap

    # One image at a time: the method draws its baselines from all that it is given, and each image has its own twin.
    one = GradientShap(module)
    return torch.cat([one.attribute(image[None], baselines=other[None], target=0, n_samples=32) for image, other in zip(x, twin)])


def _deep_lift(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import DeepLift

    if not any(isinstance(part, ACTIVATIONS) for part in module.modules()):
        raise AbilityError("DeepLift needs activations that are modules with a rule of its own, such as nn.ReLU, and this classifier has none; "
                           "it would answer gradient times difference. Take IntegratedGradients.")  # fmt: skip
    try:
        return DeepLift(module).attribute(x, baselines=twin, target=0)
    except RuntimeError as error:
        if "more than once" not in str(error):
            raise
        raise AbilityError("DeepLift needs every activation to be a module of its own, and this classifier uses one in several places") from error


def _smooth_grad(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import NoiseTunnel, Saliency

    tunnel = NoiseTunnel(Saliency(module))
    return tunnel.attribute(x, nt_type="smoothgrad", nt_samples=SMOOTH, nt_samples_batch_size=1, stdevs=NOISE, target=0, abs=False)


def _guided_backprop(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import GuidedBackprop

    if not any(isinstance(part, nn.ReLU) for part in module.modules()):
        raise AbilityError("GuidedBackprop is a rule for nn.ReLU, and this classifier has none; leave it out of methods=")
    return GuidedBackprop(module).attribute(x, target=0)


def _feature_ablation(module: nn.Module, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
    from captum.attr import FeatureAblation

    return FeatureAblation(module).attribute(x, baselines=twin, feature_mask=regions, target=0)


METHODS: Mapping[str, Attribute] = {
    "IntegratedGradients": _integrated_gradients, "GradientShap": _gradient_shap, "DeepLift": _deep_lift, "Saliency": _saliency,
    "SmoothGrad": _smooth_grad, "InputXGradient": _input_x_gradient, "Occlusion": _occlusion, "FeatureAblation": _feature_ablation,
    "LayerGradCam": _grad_cam, "GuidedBackprop": _guided_backprop,
}  # fmt: skip
DRAWING = ("GradientShap", "SmoothGrad")  # those that draw at random
BY_TWIN = ("IntegratedGradients", "GradientShap", "DeepLift", "Occlusion", "FeatureAblation")  # the twin is what they put in


def attributed(
    name: str, module: LogOdds, x: torch.Tensor, twin: torch.Tensor, *, device: torch.device, regions: torch.Tensor | None = None
) -> torch.Tensor:  # fmt: skip
    """(N, C, [D,] H, W) float32 on the CPU: one method, a few images at a time, the same numbers whenever it is asked."""
    parts = []
    for start in range(0, len(x), BATCH):
        rows = slice(start, start + BATCH)
        chosen = None if regions is None else regions[rows].to(device)
        inputs = module, x[rows].to(device).requires_grad_(), twin[rows].to(device), chosen
        if name in DRAWING:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                found = METHODS[name](*inputs)
        else:
            found = METHODS[name](*inputs)
        parts.append(found.detach().float().cpu())
    return torch.cat(parts)


def require_methods(methods: Sequence[str] | None) -> None:
    """Raise AbilityError unless this is a list of methods that there are, or None."""
    if methods is None:
        return
    if isinstance(methods, str) or not methods:
        raise AbilityError(f"methods={methods!r}: give a list of names, such as ['IntegratedGradients', 'Occlusion']")
    unknown = [name for name in methods if name not in METHODS]
    if unknown:
        raise AbilityError(f"unknown attribution method {unknown[0]!r}; there are {', '.join(METHODS)}")


def allowed(module: LogOdds, x: torch.Tensor, twin: torch.Tensor, regions: torch.Tensor, *, device: torch.device) -> list[str]:
    """The methods that this classifier's layers allow."""
    found = []
    for name in METHODS:
        try:
            attributed(name, module, x, twin, device=device, regions=regions)
        except AbilityError:
            continue
        found.append(name)
    return found


def labelled(masks: Mapping[str, torch.Tensor], cohort: Cohort) -> torch.Tensor:
    """(N, 1, [D,] H, W) int64: 0 outside all masks, else the number of the last mask that holds the pixel.

    Raises:
        DataError: no mask, or one of another shape.
    """
    shape = (len(cohort), *cohort.space.size)
    found = torch.zeros(shape, dtype=torch.int64)
    if not masks:
        raise DataError("masks: none is given; give regions by name, such as chest.masks(films)")
    for number, (name, mask) in enumerate(masks.items(), 1):
        if tuple(mask.shape) != shape:
            raise DataError(f"masks: {name} has shape {tuple(mask.shape)}, and {shape} is needed, a region per image")
        found[torch.as_tensor(mask).bool()] = number
    return found[:, None]


def require_regions(methods: Iterable[str], regions: torch.Tensor | None) -> None:
    """Raise AbilityError where regions are to be ablated and none are given."""
    if "FeatureAblation" in methods and regions is None:
        raise AbilityError("FeatureAblation needs masks=, regions by name such as chest.masks(films)")


def last_convolution(module: nn.Module) -> nn.Module:
    """The last convolutional stage of a classifier: what Grad-CAM looks at."""
    inner = module.module if isinstance(module, LogOdds) else module
    if isinstance(inner, ConvNet):
        return inner.levels[-1]
    layers = [layer for layer in inner.modules() if isinstance(layer, (nn.Conv2d, nn.Conv3d))]
    if not layers:
        raise AbilityError(f"LayerGradCam needs a convolution, and {type(inner).__name__} has none; leave it out of methods=")
    return layers[-1]
