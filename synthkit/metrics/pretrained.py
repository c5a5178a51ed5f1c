"""Encoders made elsewhere: a local file, torch hub, timm or transformers. Nothing is fetched unless it is named here."""
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import torch
from torch import nn
from torch.nn import functional as F

from synthkit.core.device import accelerator
from synthkit.errors import DataError, MissingExtraError
from synthkit.metrics.features import Features

PHOTO_MEAN, PHOTO_SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FORMS = '"timm:NAME", "timm:NAME@WEIGHTS", "transformers:NAME_OR_FOLDER", "hub:REPOSITORY_OR_FOLDER:MODEL" or a file saved by torch.export (.pt2)'


class Photographs(nn.Module):
    """Shows medical images to a network of colour photographs.

    Grey is repeated to three channels, further modalities are shown one after the other; a volume is shown by its three middle
    planes; all are resized and normalised as the network expects, and the features of one image stand side by side.

    Args:
        network: (M, 3, size, size) to (M, d).
        size: edge of the network's input in pixels, or None to leave the images as they are.
        mean, spread: per colour, of pixels in [0, 1].
    """

    def __init__(self, network: Callable[[torch.Tensor], torch.Tensor], size: int | None, mean: tuple[float, ...], spread: tuple[float, ...]):
        super().__init__()
        self.network, self.size = network, size
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1))
        self.register_buffer("spread", torch.tensor(spread).reshape(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pictures = [picture for plane in _planes(x) for picture in ([plane] if plane.shape[1] == 3 else plane.split(1, 1))]
        return torch.cat([self.network(self._prepared(picture)) for picture in pictures], 1)

    def _prepared(self, picture: torch.Tensor) -> torch.Tensor:
        colour = (picture.to(self.mean.device).expand(-1, 3, -1, -1) + 1) / 2
        if self.size:
            colour = F.interpolate(colour, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return (colour - self.mean) / self.spread


def _planes(x: torch.Tensor) -> list[torch.Tensor]:
    return [x] if x.ndim == 4 else [x.select(axis, x.shape[axis] // 2) for axis in (2, 3, 4)]


def pretrained(name: str) -> Features:
    """A ready-made encoder.

    Args:
        name: "timm:NAME" or "timm:NAME@WEIGHTS" (a local safetensors or state-dict file), "transformers:NAME_OR_FOLDER",
            "hub:REPOSITORY_OR_FOLDER:MODEL", or the path of a program saved by torch.export (.pt2) that takes (N, C, [D,] H, W)
            in [-1, 1]. The first three may download their weights; a folder or a file never does.
    Raises:
        DataError: a name of another form, or weights that cannot be had.
        MissingExtraError: timm or transformers is not installed.
    """
    kind, _, rest = name.partition(":")
    openers = {"timm": _timm, "transformers": _transformers, "hub": _hub}
    if Path(name).suffix == ".pt2":
        return Features(Path(name).name, _exported(Path(name)))
    if kind not in openers or not rest:
        raise DataError(f'extractor {name!r} is not known; give "encoder", "radiomics", {FORMS}, or any callable from images to features')
    try:
        return Features(name, openers[kind](rest).to(accelerator()).eval().requires_grad_(False))
    except (OSError, ValueError, RuntimeError) as error:  # no such name, or no network
        raise DataError(f"{name}: the encoder cannot be opened ({error}); without a network give a local folder or file") from error


def _exported(path: Path) -> nn.Module:
    if not path.is_file():
        raise DataError(f"{path} is no file; give the path of an encoder saved by torch.export.save")
    try:
        if not is_zipfile(path):
            # Said before torch opens it, since torch would log a traceback of its own.
            raise BadZipFile("it is no whole archive")
        return torch.export.load(path).module()
    except (OSError, ValueError, RuntimeError, LookupError, AssertionError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: the encoder cannot be opened ({error}); the file is damaged or no encoder, save it again by torch.export.save") from error


def _timm(rest: str) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm is not installed; pip install timm") from error
    name, _, weights = rest.partition("@")
    more = {"checkpoint_path": weights} if weights else {}
    network = timm.create_model(name, pretrained=not weights, num_classes=0, **more)
    wanted = timm.data.resolve_model_data_config(network)
    return Photographs(network, wanted["input_size"][-1], tuple(wanted["mean"]), tuple(wanted["std"]))


def _hub(rest: str) -> nn.Module:
    # The last colon divides, since a Windows folder holds one too.
    place, _, model = rest.rpartition(":")
    if not place:
        raise ValueError("the form is hub:REPOSITORY_OR_FOLDER:MODEL")
    source = "local" if Path(place).is_dir() else "github"
    return Photographs(torch.hub.load(place, model, source=source, trust_repo=True), 224, PHOTO_MEAN, PHOTO_SPREAD)


def _transformers(rest: str) -> nn.Module:
    try:
        from transformers import AutoModel
        from transformers.image_processing_base import ImageProcessingMixin
    except ImportError as error:
        raise MissingExtraError("transformers is not installed; pip install transformers") from error
    network = AutoModel.from_pretrained(rest, use_safetensors=True)
    wanted, _ = ImageProcessingMixin.get_image_processor_dict(rest)
    mean, spread = (tuple(wanted.get(key, usual)) for key, usual in (("image_mean", PHOTO_MEAN), ("image_std", PHOTO_SPREAD)))
    return Photographs(_Pooled(network), _edge(wanted), mean, spread)


def _edge(wanted: dict[str, object]) -> int:
    """The input size in a preprocessor's configuration: 224, {"height": 224} or {"shortest_edge": 224}."""
    size = wanted.get("crop_size", wanted.get("size", 224))
    return int(next(iter(size.values())) if isinstance(size, dict) else size)


class _Pooled(nn.Module):
    """One feature vector per image from a transformers model."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network
        self.of_two_kinds = "vision_config" in network.config.to_dict()  # image and text, as in CLIP

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.network.get_image_features(pixel_values=x) if self.of_two_kinds else self.network(pixel_values=x)
        if isinstance(found, torch.Tensor):
            return found
        pooled = found.pooler_output
        return found.last_hidden_state.flatten(2).mean(2 if found.last_hidden_state.ndim == 4 else 1) if pooled is None else pooled.flatten(1)
