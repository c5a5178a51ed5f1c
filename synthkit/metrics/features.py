"""Features without a download: a small encoder trained on the real cohort itself, cached on disk."""
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import torch
from torch import nn

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.device import accelerator
from synthkit.core.files import write_atomically
from synthkit.core.provenance import canonical, digest, pixel_digest
from synthkit.nets.augment import augment
from synthkit.nets.convnet import ConvNet
from synthkit.nets.network import Batch, Trainable
from synthkit.training.data import TrainingData

Extractor = Callable[[torch.Tensor], torch.Tensor]
STEPS, WIDTH = 200, 64
REDUNDANCY = 0.01
# Slight views only: whatever the two views differ in, exposure or grain say, the encoder learns not to see. With the
# stronger views of a classifier it took a generator's first blurred images for real ones.
SLIGHT = {"shift": 0.04, "zoom": 0.04, "turn": 0.04, "contrast": 0.05, "noise": 0.0}


class _Twins(Trainable):
    """Two random views of an image must agree, and the numbers they agree on must differ (Barlow Twins, Zbontar et al. 2021)."""

    def __init__(self, encoder: ConvNet):
        super().__init__()
        self.encoder = encoder
        self.project = nn.Sequential(nn.Linear(encoder.feature_width, 256), nn.SiLU(), nn.Linear(256, WIDTH))

    def training_step(self, batch: Batch) -> torch.Tensor:
        views = [self.project(self.encoder.features(augment(batch, **SLIGHT))).float() for _ in range(2)]
        a, b = [(v - v.mean(0)) / (v.std(0) + 1e-4) for v in views]
        agreement = a.T @ b / len(a)
        same = (agreement.diagonal() - 1).square().sum()
        return same + REDUNDANCY * (agreement.square().sum() - agreement.diagonal().square().sum())


class _Standardised(nn.Module):
    """Features shifted and scaled to mean 0 and spread 1 over the cohort that the encoder was trained on."""

    def __init__(self, encoder: ConvNet):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.zeros(encoder.feature_width))
        self.register_buffer("spread", torch.ones(encoder.feature_width))

    def learn(self, features: torch.Tensor) -> None:
        self.mean.copy_(features.mean(0))
        self.spread.copy_(features.std(0).clamp(min=1e-4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.encoder.features(x.to(self.mean.device)) - self.mean) / self.spread


def cache_folder() -> Path:
    """Where encoders are kept: SYNTHKIT_CACHE, else ~/.cache/synthkit."""
    return Path(os.environ.get("SYNTHKIT_CACHE", Path.home() / ".cache" / "synthkit"))


@dataclass(frozen=True)
class Features:
    """A named feature extractor.

    Args:
        name: stands beside every score.
        extract: (N, C, [D,] H, W) in [-1, 1] to (N, d).
    """

    name: str
    extract: Extractor

    def of(self, cohort: Cohort) -> torch.Tensor:
        """(N, d) float64 features of all images of a cohort."""
        with torch.no_grad():
            parts = [self.extract(cohort.images.tensor(range(i, min(i + 64, len(cohort))))).flatten(1).double().cpu() for i in range(0, len(cohort), 64)]
        return torch.cat(parts)


def features(extractor: Features | Extractor | None, cohort: Cohort) -> Features:
    """The given extractor with a name, or the built-in encoder trained on this cohort."""
    if isinstance(extractor, Features):
        return extractor
    if extractor is not None:
        named = isinstance(extractor, (FunctionType, type))
        return Features(extractor.__name__ if named else type(extractor).__name__, extractor)
    return trained_encoder(cohort)


def trained_encoder(cohort: Cohort, *, steps: int = STEPS) -> Features:
    """An encoder trained on the images alone by two-view agreement; read from the cache when this cohort was seen before."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    pixels = [pixel_digest(cohort.images.raw(range(i, min(i + 512, len(cohort))))) for i in range(0, len(cohort), 512)]
    name = digest(canonical(["encoder 2", pixels, steps]))[:16]
    path = cache_folder() / "encoders" / f"{name}.safetensors"
    try:
        state = load(path.read_bytes())
    except (FileNotFoundError, SafetensorError):  # not made yet, or damaged
        write_atomically(path, _made(cohort, steps))
        state = load(path.read_bytes())
    # Always read from the file: the network just trained lies otherwise in memory, and its features differ in the last bit.
    with torch.random.fork_rng():
        scaled = _Standardised(_encoder(cohort)).to(accelerator())
    scaled.load_state_dict(state)
    scaled.eval().requires_grad_(False)
    weights = digest(canonical([digest(t.cpu().contiguous().numpy().tobytes()) for t in scaled.state_dict().values()]))
    return Features(f"synthkit encoder {weights[:6]} (two-view agreement, {len(cohort)} images of {cohort.provenance.source})", scaled)


def _encoder(cohort: Cohort) -> ConvNet:
    return ConvNet(channels=len(cohort.space.channels), size=cohort.space.size, outputs=1)


def _made(cohort: Cohort, steps: int) -> bytes:
    """A trained encoder as a safetensors file."""
    from safetensors.torch import save

    with torch.random.fork_rng():
        torch.manual_seed(0)
        twins = _Twins(_encoder(cohort))
    _train(twins, cohort, steps)
    scaled = _Standardised(twins.encoder).to(accelerator())
    scaled.learn(Features("raw", scaled).of(cohort))
    return save({name: tensor.contiguous() for name, tensor in scaled.state_dict().items()})


def _train(twins: _Twins, cohort: Cohort, steps: int) -> None:
    from synthkit.training.plan import Plan
    from synthkit.training.trainer import train

    data = TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=64, seed=0)
    train(twins, data, Plan(Steps(steps), batch_size=64, learning_rate=2e-3, average=0.99, title="Feature encoder"))
