"""A recipe's tensors as they travel between sites: each once and by name, so that a plain mean over sites means the right thing."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.generators.base import Recipe
from synthkit.generators.latent import Scaling
from synthkit.generators.stages import Stage
from synthkit.nets.network import Network

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator

LEAST_SPREAD = 1e-6
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Moments:
    """Names of a mean and of what tells the spread about it, as statistics of normalisation hold them; power 1 is a variance, 2 a standard deviation."""

    mean: str
    spread: str
    power: int


@dataclass(frozen=True)
class Model:
    """A network and how it is trained."""

    network: Network
    stages: tuple[Stage, ...]

    @staticmethod
    def of(recipe: Recipe, schema: Schema, space: Space, *, seed: int, start: "Generator | None" = None) -> "Model":
        return Model(*recipe.untrained(schema, space, seed=seed, start=start))

    def _holders(self) -> Iterator[tuple[str, nn.Module]]:
        yield "network.", self.network
        yield from ((f"stage{number}.", stage.trainable) for number, stage in enumerate(self.stages))

    def _named(self) -> dict[int, str]:
        """The name of every tensor, by its identity: that under which it is met first."""
        names: dict[int, str] = {}
        for prefix, holder in self._holders():
            for name, tensor in holder.state_dict(keep_vars=True).items():
                names.setdefault(id(tensor), prefix + name)
        return names

    def trained_in(self, stage: int) -> dict[str, str]:
        """The tensors of one stage: their names there, and their names on the way."""
        names = self._named()
        return {own: names[id(tensor)] for own, tensor in self.stages[stage].trainable.state_dict(keep_vars=True).items()}

    def weights(self) -> Tensors:
        """Copies of all tensors."""
        names = self._named()
        return {names[id(t)]: t.detach().cpu().clone() for _, holder in self._holders() for t in holder.state_dict(keep_vars=True).values()}

    def parameters(self) -> frozenset[str]:
        """Names of the tensors that an optimiser moves."""
        names = self._named()
        return frozenset(names[id(weight)] for _, holder in self._holders() for weight in holder.parameters())

    def measured(self) -> frozenset[str]:
        """Names of the tensors that are measured before a stage, and that no step of it changes."""
        names = self._named()
        scalings = [module for _, holder in self._holders() for module in holder.modules() if isinstance(module, Scaling)]
        return frozenset(names[id(tensor)] for scaling in scalings for tensor in scaling.state_dict(keep_vars=True).values())

    @torch.no_grad()
    def take(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Put tensors in the place of those of the same name."""
        names = self._named()
        for _, holder in self._holders():
            for tensor in holder.state_dict(keep_vars=True).values():
                if names[id(tensor)] in weights:
                    tensor.copy_(weights[names[id(tensor)]])

    def moments(self) -> list[Moments]:
        """Pairs whose mean over sites is that of the pooled images only as first and second moment."""
        names, found = self._named(), {}
        for _, holder in self._holders():
            for module in holder.modules():
                held = module.state_dict(keep_vars=True)
                if isinstance(module, _NormBase) and "running_mean" in held:
                    pair = Moments(names[id(held["running_mean"])], names[id(held["running_var"])], 1)
                elif isinstance(module, Scaling):
                    pair = Moments(names[id(held["shift"])], names[id(held["scale"])], 2)
                else:
                    continue
                found[pair.mean] = pair
        return list(found.values())


def packed(tensors: Mapping[str, torch.Tensor], moments: list[Moments]) -> dict[str, np.ndarray]:
    """Tensors as arrays that may be averaged: spreads become second moments, whole numbers become real ones."""
    arrays = {name: (t if t.is_floating_point() else t.double()).detach().cpu().numpy() for name, t in tensors.items()}
    for pair in moments:
        if pair.spread in arrays:
            arrays[pair.spread] = arrays[pair.spread].astype(np.float64) ** pair.power + arrays[pair.mean].astype(np.float64) ** 2
    return arrays


def unpacked(arrays: Mapping[str, np.ndarray], like: Mapping[str, torch.Tensor], moments: list[Moments]) -> Tensors:
    """Arrays as `packed` wrote them, or means of several, as the tensors they stand for."""
    told = {name: np.asarray(array) for name, array in arrays.items()}
    for pair in moments:
        if pair.spread in told:
            variance = np.maximum(told[pair.spread] - told[pair.mean].astype(np.float64) ** 2, LEAST_SPREAD**2)
            told[pair.spread] = variance ** (1 / pair.power)
    whole = {name for name in told if not like[name].is_floating_point()}
    return {name: torch.from_numpy(np.array(np.rint(a) if name in whole else a)).to(like[name].dtype) for name, a in told.items()}
