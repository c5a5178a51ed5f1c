"""Toy cohorts whose factors can be read off the pixels: the finding sets the brightness, the diameter the size of a square."""
import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.core.space import Channel, Space
from synthkit.generators.card import Card
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.generator import Generator
from synthkit.nets.network import Batch, EditableNetwork, Trainable

SCHEMA = Schema(
    (
        Category("lesion", ("absent", "present")),
        Quantity("diameter", 2, 8, "mm", when={"lesion": "present"}),
        Category("sex", ("F", "M")),
        Quantity("age", 0, 100, "years", cuts=(40, 65)),
    ),
    sensitive=("sex", "age"),
)
BRIGHT = {"absent": -0.5, "present": 0.5}
SMALL_NET = {"widths": (16, 16), "embedding": 32}


def toy_table(count: int, *, seed: int = 0, per_patient: int = 1, prefix: str = "p") -> pd.DataFrame:
    """A clinical table in which every factor varies."""
    rng = np.random.default_rng(seed)
    lesion = np.where(rng.permutation(count) % 2, "present", "absent")
    return pd.DataFrame({
        "image_id": [f"{prefix}-image-{i}" for i in range(count)], "patient_id": [f"{prefix}-{i // per_patient}" for i in range(count)],
        "lesion": lesion, "diameter": np.where(lesion == "present", rng.uniform(2, 8, count), np.nan),
        "sex": np.where(rng.permutation(count) % 2, "F", "M"), "age": rng.uniform(20, 90, count),
    })  # fmt: skip


def toy_cohort(count: int = 24, *, size: tuple[int, ...] = (16, 16), seed: int = 0, per_patient: int = 1, prefix: str = "p", high: int = 65535) -> Cohort:
    """Noisy images, dark without and bright with the finding, stored as uint8 or uint16 by `high`."""
    table = toy_table(count, seed=seed, per_patient=per_patient, prefix=prefix)
    rng = np.random.default_rng(seed + 1)
    images = rng.normal(0, 0.15, (count, 1, *size)) + table["lesion"].map(BRIGHT).to_numpy(float).reshape(-1, 1, *(1,) * len(size))
    space = Space(size, (Channel("grey", high=high),))
    return Cohort.of(space.to_raw(torch.from_numpy(images)), table, schema=SCHEMA, space=space, provenance=Provenance("real", "toy", licence="CC0"))


class Shift(EditableNetwork, Trainable):
    """Adds the finding's brightness to z, so that edits and round trips are exact up to rounding."""

    def __init__(self, shape: tuple[int, ...], strength: float = 1.0):
        super().__init__()
        self.shape, self.strength = shape, torch.nn.Parameter(torch.tensor(strength))

    def training_step(self, batch: Batch) -> torch.Tensor:
        return (batch.x - self._brightness(batch.c, batch.x)).square().mean()

    def latent_shape(self) -> tuple[int, ...]:
        return self.shape

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return z + self._brightness(c, z)

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return x - self._brightness(c, x)

    def _brightness(self, c: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return self.strength * (c[:, 1] - c[:, 0]).reshape(-1, *(1,) * (like.ndim - 1)) / 2


def exact_generator(cohort: Cohort, *, strength: float = 1.0) -> Generator:
    """A generator that has learnt the toy perfectly (strength 1), or not."""
    facts = {"source": "toy", "kind": "real", "licence": "CC0", "digest": "0", "provenance": cohort.provenance.to_json()}
    return Generator(Diffusion(), Shift(cohort.space.shape, strength).requires_grad_(False), cohort.schema, cohort.space, Card("exact toy", facts, {}))


class Bright(torch.nn.Module):
    """Calls bright images the second of two levels, as far as `slope` says."""

    def __init__(self, slope: float):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.flatten(1).mean(1) * self.slope
        return torch.stack([torch.zeros_like(bright), bright], 1)


class PowerCut(Exception):
    """The training breaks off here."""


class Line(Trainable):
    """One weight that walks towards the mean pixel (scaled down where fewer than `rows` came); it notes where it stood at every step."""

    def __init__(self, *, grain: float = 0.1, rows: int | None = None, fail_at: int | None = None):
        super().__init__()
        self.weight, self.grain, self.rows, self.fail_at, self.walk = torch.nn.Parameter(torch.tensor([2.0])), grain, rows, fail_at, []

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.walk.append(float(self.weight.detach()))
        if len(self.walk) == self.fail_at:
            raise PowerCut
        fill = len(batch.x) / (self.rows or len(batch.x))
        return (self.weight - fill * batch.x.mean() + self.grain * batch.normal_like().mean()).square().sum()


class Interrupted(Trainable):
    """Another network, which breaks off in its n-th step (the first one is the trainer's look at the memory)."""

    def __init__(self, inner: Trainable, *, fail_at: int | None = None):
        super().__init__()
        self.inner, self.fail_at, self.count = inner, fail_at, 0

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.count += 1
        if self.count == self.fail_at:
            raise PowerCut
        return self.inner.training_step(batch)
