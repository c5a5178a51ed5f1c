"""The built-in encoder: a small network trained on the real cohort itself, so that nothing is downloaded."""
import torch
from torch import nn

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.device import accelerator
from synthkit.core.provenance import canonical, digest, pixel_digest
from synthkit.core.schema import Schema
from synthkit.metrics.cached import cached_weights
from synthkit.metrics.features import Features
from synthkit.nets.augment import augment
from synthkit.nets.convnet import ConvNet
from synthkit.nets.network import Batch, Trainable
from synthkit.nets.predictor import factor_loss
from synthkit.training.data import TrainingData

STEPS, WIDTH = 200, 64
REDUNDANCY, AGREEMENT = 0.01, 0.1
# Slight views only: whatever the two views differ in, exposure or grain say, the encoder learns not to see.
SLIGHT = {"shift": 0.04, "zoom": 0.04, "turn": 0.04, "contrast": 0.05, "noise": 0.0}
# Images of patients differ most in few directions, anatomy and exposure; unless all are brought to about one spread, a blur
# or a missing finding drowns in them. Half of the mean variance is added, so that mere rounding is not blown up.
SHRINKAGE = 0.5


class _Learner(Trainable):
    """Two random views of an image must agree in numbers that differ (Barlow Twins, Zbontar et al. 2021) and tell its factors."""

    def __init__(self, encoder: ConvNet, schema: Schema):
        super().__init__()
        self.encoder, self.schema = encoder, schema
        self.project = nn.Sequential(nn.Linear(encoder.feature_width, 256), nn.SiLU(), nn.Linear(256, WIDTH))
        self.tell = nn.Linear(encoder.feature_width, max(1, sum(factor.width for factor in schema.factors)))

    def training_step(self, batch: Batch) -> torch.Tensor:
        seen = [self.encoder.features(augment(batch, **SLIGHT)) for _ in range(2)]
        a, b = [(v - v.mean(0)) / (v.std(0) + 1e-4) for v in (self.project(features).float() for features in seen)]
        agreement = a.T @ b / len(a)
        same = (agreement.diagonal() - 1).square().sum()
        alike = same + REDUNDANCY * (agreement.square().sum() - agreement.diagonal().square().sum())
        told = sum(factor_loss(self.schema, self.tell(features), batch.c) for features in seen) / 2 if self.schema.factors else 0
        return AGREEMENT * alike + told


class _Whitened(nn.Module):
    """The first principal components of the features over the cohort that the encoder was trained on, each of about one spread."""

    def __init__(self, encoder: ConvNet):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.zeros(encoder.feature_width))
        self.register_buffer("turn", torch.eye(encoder.feature_width)[:, :WIDTH].clone())

    def learn(self, features: torch.Tensor) -> None:
        spread = features.std(0).clamp(min=1e-4)
        scaled = (features - features.mean(0)) / spread
        variances, directions = torch.linalg.eigh(scaled.T @ scaled / (len(scaled) - 1))
        turn = directions / (variances.clamp(min=0) + SHRINKAGE * variances.mean()).sqrt() / spread[:, None]
        self.mean.copy_(features.mean(0))
        self.turn.copy_(turn[:, -WIDTH:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.encoder.features(x.to(self.mean.device)) - self.mean) @ self.turn


def trained_encoder(cohort: Cohort, *, steps: int = STEPS) -> Features:
    """An encoder trained on a cohort's images and factors; read from the cache when this cohort was seen before.

    Returns:
        Features of width 64, the principal components of a convolutional network's last two stages, whitened with shrinkage.
    """
    learnt = _learnt_factors(cohort)
    pixels = [pixel_digest(cohort.images.raw(range(i, min(i + 512, len(cohort))))) for i in range(0, len(cohort), 512)]
    told = digest(cohort.schema.only(learnt.names).encode(cohort.table).tobytes())
    state = cached_weights("encoders", ["encoder 4", cohort.space.to_json(), list(learnt.names), pixels, told, steps], lambda: _made(cohort, learnt, steps))
    with torch.random.fork_rng():
        whitened = _Whitened(_network(cohort)).to(accelerator())
    whitened.load_state_dict(state)
    whitened.eval().requires_grad_(False)
    weights = digest(canonical([digest(t.cpu().contiguous().numpy().tobytes()) for t in whitened.state_dict().values()]))
    eyes = "two views and factors" if learnt.factors else "two views"
    return Features(f"synthkit encoder {weights[:6]} ({eyes} of {len(cohort)} images of {cohort.provenance.source})", whitened)


def _learnt_factors(cohort: Cohort) -> Schema:
    """The factors that vary and are known for at least half of the images."""
    known = {name: cohort.table[name].dropna() for name in cohort.schema.names}
    return cohort.schema.only(tuple(name for name, values in known.items() if values.nunique() > 1 and 2 * len(values) >= len(cohort)))


def _network(cohort: Cohort) -> ConvNet:
    return ConvNet(channels=len(cohort.space.channels), size=cohort.space.size, outputs=1)


def _made(cohort: Cohort, learnt: Schema, steps: int) -> dict[str, torch.Tensor]:
    """The weights of a trained encoder and the turn of its features."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        learner = _Learner(_network(cohort), learnt)
    _train(learner, cohort, steps)
    whitened = _Whitened(learner.encoder).to(accelerator())
    with torch.no_grad():
        whitened.learn(Features("raw", lambda x: learner.encoder.features(x.to(whitened.mean.device))).of(cohort).to(whitened.mean))
    return whitened.state_dict()


def _train(learner: _Learner, cohort: Cohort, steps: int) -> None:
    from synthkit.training.plan import Plan
    from synthkit.training.trainer import train

    data = TrainingData(cohort, learner.schema.encode(cohort.table), batch_size=64, seed=0)
    train(learner, data, Plan(Steps(steps), batch_size=64, learning_rate=2e-3, average=0.99, title="Feature encoder"))
