"""A generator from elsewhere, adapted to a cohort: a diffusers pipeline, conditioned by sentences or by class labels."""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import pandas as pd
import torch
from torch import nn
from torch.func import functional_call

from synthkit.core.device import accelerator
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError, StoreError
from synthkit.generators.base import Recipe
from synthkit.generators.flow import stratified_times
from synthkit.generators.foundation.pipeline import Pipeline, opened
from synthkit.generators.foundation.prompts import Template
from synthkit.generators.stages import Stage
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, KnowingNetwork, Network, Trainable
from synthkit.training.data import TrainingData

ADAPTERS = ("lora", "full")
DOT = "/"  # in the place of the dots in names, which a ParameterDict does not take
REMEMBERED = 4096  # sentences whose embedding is kept


@dataclass(frozen=True)
class Pretrained(Recipe):
    """A diffusers pipeline adapted to a cohort by LoRA (Hu et al. 2022), on latents or pixels, conditioned by text or, instead of class labels, by factors.

    The pipeline stays as it is and is needed again wherever the generator is loaded; the checkpoint holds what was trained and knows the
    pipeline by its digest. Grey images are shown to a colour pipeline three times over and read as the mean of its colours. It cannot edit.

    Args:
        path: a folder that `pipeline.save_pretrained(folder)` wrote, or a name on the hub, which is fetched once.
        adapter: "lora" (extra `foundation`), or "full", which trains all weights of the denoising network.
        template: the sentence, for instance "a chest x-ray[ of a {age}-year-old {sex}][ with {findings}]": a part in square brackets is left
            out where a factor in it is not given, and `{findings}` names what is present. Empty, every given factor is listed.
            `recipe.prompts(table, schema)` shows what comes out. Without effect where no text conditions.
        rank: of LoRA.
        steps: of sampling (DDIM, without noise), on the pipeline's own schedule.
        guidance: 1 changes nothing; above 1 the condition shows more than the data have it, for twice the evaluations.
        drop: share of training images that hide factors, a random subset each; so any subset may be asked for.
        batch_size, learning_rate: of the training.

    Example:
        gen = sk.Pretrained("models/sd-turbo", template="a chest x-ray[ with {findings}]").fit(train, budget="full", seed=0)
    """

    budgets: ClassVar[dict[str, int]] = {"smoke": 10, "lesson": 500, "full": 10_000}
    sampling: ClassVar[tuple[str, ...]] = ("steps", "guidance")
    path: str
    adapter: str = "lora"
    template: str = ""
    rank: int = 8
    steps: int = 25
    guidance: float = 1.0
    drop: float = 0.3
    batch_size: int = 8
    learning_rate: float = 3e-4

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", str(self.path))
        if self.adapter not in ADAPTERS:
            raise FitError(f"Pretrained(adapter={self.adapter!r}): give one of {', '.join(map(repr, ADAPTERS))}")
        require_kind("template", self.template, str, "a sentence with factors in braces, or nothing")
        for name, value in (("drop", self.drop), ("guidance", self.guidance), ("learning_rate", self.learning_rate)):
            require_number(name, value, "a number")
        for name, value in (("rank", self.rank), ("steps", self.steps), ("batch_size", self.batch_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise FitError(f"Pretrained({name}={value!r}): give a whole number, 1 or more")
        if self.learning_rate <= 0:
            raise FitError(f"Pretrained(learning_rate={self.learning_rate}): give a number above 0, for instance 3e-4")
        if not 0 <= self.drop < 1 or not 0 <= self.guidance < 100:
            raise FitError(f"Pretrained(drop={self.drop}, guidance={self.guidance}): drop must be 0 or more and under 1, guidance 0 or more, for instance 3")

    def prompts(self, table: pd.DataFrame, schema: Schema) -> list[str]:
        """The sentence of every row of a table of factors."""
        return Template(self.template, schema).table(table)

    def network(self, schema: Schema, space: Space) -> "AdaptedNetwork":
        pipeline = opened(self.path, adapter=self.adapter, rank=self.rank, width=schema.width)
        _require_space(self.path, pipeline, space)
        hiding = Hiding(tuple(schema.blocks()), self.drop)
        return AdaptedNetwork(pipeline, Template(self.template, schema), shape=space.shape, hiding=hiding, steps=self.steps, guidance=self.guidance)

    def limits(self, network: Network) -> tuple[str, ...]:
        untold = network.template.untold if network.pipeline.by_text else []
        return (f"The template does not tell {', '.join(untold)}: asking for them changes no image.",) if untold else ()

    def stages(self, network: Network, schema: Schema, space: Space) -> tuple[Stage, ...]:
        if network.pipeline.vae is None:
            return (Stage("adapter", network),)
        return (Stage("adapter", LatentAdaptation(network), prepare=network.latents_of),)


def _require_space(path: str, pipeline: Pipeline, space: Space) -> None:
    levels = len(pipeline.unet.config.block_out_channels) - 1
    multiple = pipeline.factor * 2**levels
    if space.dims != 2 or any(side % multiple for side in space.size):
        raise FitError(f"{path} makes pictures whose sides are multiples of {multiple}, the cohort's are {space.size}; load it with size={multiple * 8}, say")
    if len(space.channels) not in (1, pipeline.channels):
        raise FitError(f"{path} makes pictures of {pipeline.channels} channels, and the cohort's have {len(space.channels)}; grey images, or as many, fit")


class AdaptedNetwork(KnowingNetwork, Trainable):
    """The trained tensors of a pipeline, which itself is no part of this module; z is the noise from which it starts."""

    looks = (0.1, 0.3, 0.5, 0.7, 0.9)

    def __init__(self, pipeline: Pipeline, template: Template, *, shape: tuple[int, ...], hiding: Hiding, steps: int, guidance: float):
        super().__init__()
        self.pipeline, self.template, self.shape, self.hiding = pipeline, template, shape, hiding
        self.steps, self.guidance, self.evaluations = steps, guidance, steps * (1 if guidance == 1 else 2)
        self.adapter = nn.ParameterDict({name.replace(".", DOT): nn.Parameter(tensor) for name, tensor in pipeline.first_weights().items()})
        self.register_buffer("pipeline_digest", torch.tensor(list(bytes.fromhex(pipeline.digest)), dtype=torch.uint8))
        self._register_load_state_dict_pre_hook(self._same_pipeline)
        self._sentences: dict[str, torch.Tensor] = {}

    def _same_pipeline(self, state: dict[str, torch.Tensor], prefix: str, *_: object) -> None:
        told = state.get(f"{prefix}pipeline_digest")
        if told is not None:
            self.require_pipeline(bytes(told.tolist()).hex())

    def require_pipeline(self, digest: str) -> None:
        """Raise StoreError unless a pipeline of this digest is the one that is adapted."""
        if digest != self.pipeline.digest:
            raise StoreError("the pipeline is another one than this generator was trained on (its weights differ); put back the one that stood at its path")

    def latent_shape(self) -> tuple[int, ...]:
        height, width = (side // self.pipeline.factor for side in self.shape[1:])
        return (int(self.pipeline.unet.config.in_channels), height, width)

    def training_step(self, batch: Batch) -> torch.Tensor:
        """The pipeline's own loss on images; with an autoencoder the training takes cached latents (`LatentAdaptation`)."""
        return self.denoising_loss(batch, self.latents(batch.x))

    def denoising_loss(self, batch: Batch, latents: torch.Tensor) -> torch.Tensor:
        """Mean squared error of what the pipeline predicts, at stratified times."""
        _require_values(latents)
        t = stratified_times(len(latents), batch.uniform(1))
        return self._errors(latents, self.hiding(batch), batch.normal(*latents.shape), t).mean()

    def misfit(self, x: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self._errors(self.latents(x), c, noise, t).flatten(1).mean(1)

    def _errors(self, latents: torch.Tensor, c: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scheduler = self.pipeline.ddim(self.steps)
        count = scheduler.config.num_train_timesteps
        times = ((1 - t) * count).long().clamp(0, count - 1)  # time 0 is noise here, and there it is the image
        kind, at = scheduler.config.prediction_type, scheduler.add_noise(latents, noise, times)
        wanted = {"epsilon": lambda: noise, "sample": lambda: latents, "v_prediction": lambda: scheduler.get_velocity(latents, noise, times)}[kind]()
        return (self._predicted(at, times, self._told(c)).float() - wanted).square()

    def latents(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) to what the pipeline denoises."""
        mean_and_sigma = self.posterior(x)
        return mean_and_sigma if self.pipeline.vae is None else mean_and_sigma.chunk(2, 1)[0]

    @torch.no_grad()
    def posterior(self, x: torch.Tensor) -> torch.Tensor:
        """Mean and spread of the latents of images (N, 2 · channels, h, w), scaled; or the images where there is no autoencoder."""
        _require_values(x)
        self.pipeline.to(x.device)
        pictures = x.expand(-1, self.pipeline.channels, -1, -1)
        if self.pipeline.vae is None:
            return pictures
        with _exactly(x):
            found, config = self.pipeline.vae.encode(pictures.float()).latent_dist, self.pipeline.vae.config
        return torch.cat([(found.mean - (config.shift_factor or 0)) * config.scaling_factor, found.std * config.scaling_factor], 1)

    def latents_of(self, data: TrainingData) -> TrainingData:
        """Training data of mean and spread of every image's latents."""
        return data.mapped(lambda images, codes: self.posterior(images), torch.device(accelerator()))

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        scheduler, told = self.pipeline.ddim(self.steps), self._told(c)
        nothing = self._told(torch.zeros_like(c)) if self.guidance != 1 else None
        x = z
        for time in scheduler.timesteps:
            predicted = self._predicted(x, time, told)
            if nothing is not None:
                without = self._predicted(x, time, nothing)
                predicted = without + self.guidance * (predicted - without)
            x = scheduler.step(predicted, time, x).prev_sample
        return self._seen(x)

    def _seen(self, latents: torch.Tensor) -> torch.Tensor:
        pictures, vae = latents, self.pipeline.vae
        if vae is not None:
            pictures = vae.decode(latents / vae.config.scaling_factor + (vae.config.shift_factor or 0)).sample
        return pictures if len(pictures[0]) == self.shape[0] else pictures.clamp(-1, 1).mean(1, keepdim=True)

    def _predicted(self, x: torch.Tensor, times: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        self.pipeline.to(x.device)
        weights = {name.replace(DOT, "."): tensor for name, tensor in self.adapter.items()}
        named = {"encoder_hidden_states": told} if self.pipeline.by_text else {"class_labels": told}
        return functional_call(self.pipeline.unet, weights, (x, times.to(x.device)), named).sample

    def _told(self, c: torch.Tensor) -> torch.Tensor:
        """What the network is told of condition codes: embedded sentences (N, tokens, width), or the codes."""
        _require_values(c)
        return self._embedded(self.template.codes(c.detach().float().cpu().numpy()), c.device) if self.pipeline.by_text else c

    def _embedded(self, sentences: Sequence[str], device: torch.device) -> torch.Tensor:
        """Each sentence by itself, so that it does not depend on its company; kept for the next time."""
        self.pipeline.to(device)
        if len(self._sentences) > REMEMBERED:
            self._sentences.clear()
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(device.type, enabled=False):
            for sentence in dict.fromkeys(sentences):
                if sentence not in self._sentences or self._sentences[sentence].device != device:
                    self._sentences[sentence] = embedded(self.pipeline, sentence, device)
        return torch.stack([self._sentences[sentence] for sentence in sentences])


class LatentAdaptation(Trainable):
    """The loss on cached posteriors: a batch's x is mean and spread, and each step draws its latents anew."""

    def __init__(self, network: AdaptedNetwork):
        super().__init__()
        self.network = network

    def training_step(self, batch: Batch) -> torch.Tensor:
        mean, sigma = batch.x.chunk(2, 1)
        return self.network.denoising_loss(replace(batch, x=mean), mean + sigma * batch.normal(*mean.shape))


def embedded(pipeline: Pipeline, sentence: str, device: torch.device) -> torch.Tensor:
    """(tokens, width) the pipeline's own embedding of one sentence."""
    return pipeline.whole.encode_prompt(sentence, device, 1, False)[0][0]


def _exactly(x: torch.Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _require_values(x: torch.Tensor) -> None:
    if x.is_meta:
        raise NotImplementedError("a sentence hangs on values, which tensors without content do not have")
