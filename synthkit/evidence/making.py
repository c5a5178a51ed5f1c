"""The stored integers of images, computed again from the record of what made them."""
from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.device import threads
from synthkit.core.provenance import Provenance
from synthkit.core.space import Space
from synthkit.errors import AbilityError, DataError
from synthkit.generators.base import Recipe
from synthkit.generators.checkpoint import MANIFEST, SHIPPED
from synthkit.generators.drawing import DRAWS, drawn
from synthkit.generators.editing import inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.brain import BrainPhantom
from synthkit.phantoms.chest import ChestPhantom
from synthkit.phantoms.nodule import NodulePhantom
from synthkit.phantoms.phantom import Phantom

PHANTOMS: dict[str, type[Phantom]] = {kind.__name__: kind for kind in (BrainPhantom, ChestPhantom, NodulePhantom)}
EDIT = {"do", "weight"}  # what the record of a plain edit tells beside the generator's own facts
OWN = {"recipe", "generator", "device", "batch", "threads", "environment", "steps"}


def remade(part: Cohort, maker: Provenance, *, known: Sequence[Generator], sources: Cohort | None) -> np.ndarray:
    """(N, C, [D,] H, W) stored integers of images that share a maker.

    Raises:
        AbilityError: real images, another kind of making, or weights that are not here.
        DataError: sources that lack an original.
    """
    if "phantom" in maker.recipe:
        return _stored(part, *_painted(part, maker))
    if "recipe" not in maker.recipe:
        raise AbilityError(f"{maker.source} ({maker.kind}) was not made by a generator or a phantom")
    generator = find(maker, known)
    with threads(int(maker.recipe.get("threads", torch.get_num_threads()))):
        raw = _sampled(part, maker, generator) if maker.kind == "synthetic" else _edited(part, maker, generator, sources)
    return _stored(part, raw, generator.space.sixteen_bit())


def _stored(part: Cohort, raw: np.ndarray, space: Space) -> np.ndarray:
    """On the integer scale of the cohort, which differs where cohorts were put together."""
    return raw if space.channels == part.space.channels else part.space.to_raw(space.to_float(raw))


def find(maker: Provenance, known: Sequence[Generator]) -> Generator:
    """The generator with the recorded weights, under the recorded settings; AbilityError where it is not here."""
    wanted = maker.digests.get("weights")
    for generator in (*known, *_shipped()):
        if generator.weights_digest() == wanted:
            recipe = Recipe.from_json(maker.recipe["recipe"])
            same = generator.recipe == recipe
            return generator if same else generator.using(**{name: getattr(recipe, name) for name in recipe.sampling})
    raise AbilityError(f"no generator with the weights {str(wanted)[:16]} ({maker.source}) is here; give its folder as generators=[...]")


def _shipped() -> Iterator[Generator]:
    yield from (Generator.load(path.parent) for path in sorted(SHIPPED.glob(f"*/{MANIFEST}")))


def _sampled(part: Cohort, maker: Provenance, generator: Generator) -> np.ndarray:
    table = part.table
    turns = table[DRAWS].fillna(1).astype(int).to_numpy() - 1 if DRAWS in table else np.zeros(len(table), int)
    out = np.empty((len(part), *generator.space.shape), generator.space.sixteen_bit().dtype)
    for turn in np.unique(turns):
        rows = np.flatnonzero(turns == turn)
        wanted = table.iloc[rows].reset_index(drop=True)
        again = drawn(generator, wanted["request_id"].astype(str).tolist(), wanted[list(generator.schema.names)], int(maker.seed), turn=int(turn))
        out[rows] = again.images.raw()
    return out


def _edited(part: Cohort, maker: Provenance, generator: Generator, sources: Cohort | None) -> np.ndarray:
    other = sorted(set(maker.recipe) - OWN - EDIT)
    if other:
        raise AbilityError(f"edits of another kind ({', '.join(other)}) are not replayed; make them again by the same call")
    if sources is None:
        raise DataError("edited images need their originals; give them as sources=")
    place = {name: row for row, name in enumerate(sources.table["image_id"])}
    lost = [name for name in part.table["source_id"] if name not in place]
    if lost:
        raise DataError(f"sources lacks {len(lost)} original(s), the first {lost[0]!r}")
    originals = sources[[place[name] for name in part.table["source_id"]]]
    names = list(part.schema.names)
    wanted = pd.concat([originals.table.drop(columns=names), part.table[names]], axis=1)
    again = inverted(generator, originals, weight=float(maker.recipe.get("weight", 1.0)))
    return again.to(wanted, {}).images.raw()


def _painted(part: Cohort, maker: Provenance) -> tuple[np.ndarray, Space]:
    kind = PHANTOMS.get(str(maker.recipe["phantom"]))
    if kind is None:
        raise AbilityError(f"{maker.recipe['phantom']!r} is no phantom of this synthkit")
    phantom = kind(**{name: value for name, value in maker.recipe.items() if name in {field.name for field in fields(kind)}})
    return phantom.space.to_raw(phantom.render(part) * 2 - 1), phantom.space
