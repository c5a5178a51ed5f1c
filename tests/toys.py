"""Toy cohorts whose factors can be read off the pixels: the finding sets the brightness, the diameter the size of a square."""
import json
from pathlib import Path

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


def tiny_pipeline(folder: Path, *, by_text: bool = False, channels: int = 1, **noise: object) -> Path:
    """A diffusers pipeline with random weights on disk: of pixels, or of latents under sentences."""
    import diffusers

    told = {"prediction_type": "v_prediction", "beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
            "clip_sample": False, **noise}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = {"layers_per_block": 1, "block_out_channels": (16, 32), "norm_num_groups": 8}
        if not by_text:
            kinds = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "add_attention": False}
            unet = diffusers.UNet2DModel(sample_size=16, in_channels=channels, out_channels=channels, **kinds, **small)
            diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler(**told)).save_pretrained(folder)
            return folder
        from transformers import CLIPTextConfig, CLIPTextModel

        tokenizer, blocks = _letters(folder / "letters"), {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
        vae = diffusers.AutoencoderKL(latent_channels=4, sample_size=16, scaling_factor=1.0, **blocks, **small)
        kinds = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
        unet = diffusers.UNet2DConditionModel(sample_size=8, cross_attention_dim=32, attention_head_dim=8, **kinds, **small)
        config = CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                                max_position_embeddings=77, bos_token_id=0, eos_token_id=1, pad_token_id=1)  # fmt: skip
        parts = {"vae": vae, "unet": unet, "text_encoder": CLIPTextModel(config), "tokenizer": tokenizer, "scheduler": diffusers.DDIMScheduler(**told)}
        diffusers.StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False).save_pretrained(folder)
    return folder


def _letters(folder: Path):
    """A tokenizer that spells."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz0123456789-,.;:%()"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def pixels(images: torch.Tensor) -> torch.Tensor:
    """An eye that learns from nobody: (N, 16), the image on a grid of 4 x 4."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 4).flatten(1)
