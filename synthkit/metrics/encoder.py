"""The built-in encoder: a small network trained on the real cohort itself, without a download or a label."""
import torch
from torch import nn

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.device import accelerator
from synthkit.core.provenance import canonical, digest, pixel_digest
from synthkit.metrics.cached import cached_weights
from synthkit.metrics.features import Features
from synthkit.nets.augment import augment
from synthkit.nets.convnet import ConvNet
from synthkit.nets.network import Batch, Trainable
from synthkit.training.data import TrainingData

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


def trained_encoder(cohort: Cohort, *, steps: int = STEPS) -> Features:
    """An encoder trained on the images alone by two-view agreement; read from the cache when this cohort was seen before."""
    pixels = [pixel_digest(cohort.images.raw(range(i, min(i + 512, len(cohort))))) for i in range(0, len(cohort), 512)]
    state = cached_weights("encoders", ["encoder 2", pixels, steps], lambda: _made(cohort, steps))
    with torch.random.fork_rng():
        scaled = _Standardised(_network(cohort)).to(accelerator())
    scaled.load_state_dict(state)
    scaled.eval().requires_grad_(False)
    weights = digest(canonical([digest(t.cpu().contiguous().numpy().tobytes()) for t in scaled.state_dict().values()]))
    return Features(f"synthkit encoder {weights[:6]} (two-view agreement, {len(cohort)} images of {cohort.provenance.source})", scaled)


def _network(cohort: Cohort) -> ConvNet:
    return ConvNet(channels=len(cohort.space.channels), size=cohort.space.size, outputs=1)


def _made(cohort: Cohort, steps: int) -> dict[str, torch.Tensor]:
    """The weights of a trained encoder and the scale of its features."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        twins = _Twins(_network(cohort))
    _train(twins, cohort, steps)
    scaled = _Standardised(twins.encoder).to(accelerator())
    scaled.learn(Features("raw", scaled).of(cohort))
    return scaled.state_dict()


def _train(twins: _Twins, cohort: Cohort, steps: int) -> None:
    from synthkit.training.plan import Plan
    from synthkit.training.trainer import train

    data = TrainingData(cohort, cohort.schema.encode(cohort.table), batch_size=64, seed=0)
    train(twins, data, Plan(Steps(steps), batch_size=64, learning_rate=2e-3, average=0.99, title="Feature encoder"))
