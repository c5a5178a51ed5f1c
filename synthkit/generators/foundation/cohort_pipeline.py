"""A fitted generator of any family as a pipeline of diffusers, which reads it back and samples by it."""
from typing import Any

import numpy as np
import pandas as pd
import torch
from diffusers import ConfigMixin, DiffusionPipeline, ImagePipelineOutput, ModelMixin
from diffusers.configuration_utils import register_to_config

from synthkit.core.randomness import normal
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.generators.base import Recipe
from synthkit.generators.card import Card
from synthkit.generators.generator import Generator


class CohortNetwork(ModelMixin, ConfigMixin):
    """A generator's network; its configuration holds recipe, schema, space and card."""

    config_name = "config.json"

    @register_to_config
    def __init__(self, recipe: dict[str, Any], schema: dict[str, Any], space: dict[str, Any], card: dict[str, Any]):
        super().__init__()
        self.network = Recipe.from_json(recipe).network(Schema.from_json(schema), Space.from_json(space))

    def generator(self) -> Generator:
        """The generator, without the digests of its patients."""
        told = self.config
        return Generator(Recipe.from_json(told["recipe"]), self.network.requires_grad_(False).eval(), Schema.from_json(told["schema"]),
                         Space.from_json(told["space"]), Card.from_json(told["card"]))  # fmt: skip


class CohortPipeline(DiffusionPipeline):
    """Images for a table of factors."""

    def __init__(self, network: CohortNetwork):
        super().__init__()
        self.register_modules(network=network)

    @torch.no_grad()
    def __call__(self, factors: pd.DataFrame, *, seed: int = 0, output_type: str = "np") -> ImagePipelineOutput:
        """One image per row, the same as `Generator.sample` draws for this seed before it rounds to 16 bits.

        Args:
            factors: any subset of the factors, and `image_id`, which keys the noise.
            output_type: "np" for (N, H, W, C) in 0..1, "pil", or "pt" for (N, C, H, W) in -1..1.
        """
        generator = self.network.generator()
        generator.require_request(factors, seed)
        keys = factors["image_id"].astype(str).tolist() if "image_id" in factors else [str(row) for row in range(len(factors))]
        z = normal(generator.trained.latent_shape(), seed=seed, identities=keys, stream="sample")
        images = generator.decode(z, generator.schema.check(factors.reset_index(drop=True))).clamp(-1, 1)
        if output_type == "pt":
            return ImagePipelineOutput(images=images)
        pictures = np.moveaxis(((images + 1) / 2).numpy(), 1, -1)
        return ImagePipelineOutput(images=pictures if output_type == "np" else self.numpy_to_pil(pictures))
