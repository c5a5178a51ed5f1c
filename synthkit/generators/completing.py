"""Missing channels of given images, drawn given the others and the record."""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.missing import BETWEEN, COLUMN, channel_numbers, missing_channels
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import canonical, digest
from synthkit.core.randomness import normal
from synthkit.core.space import Space
from synthkit.errors import AbilityError, DataError
from synthkit.generators.diffusion import FlowNetwork

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator

DRAWN = "drawn_channels"


def completed(generator: "Generator", cohort: Cohort, missing: Sequence[str] | None, seed: int) -> Cohort:
    """See `Generator.complete`."""
    network = _network(generator)
    require_kind("cohort", cohort, Cohort, "the images to complete, as a cohort")
    require_number("seed", seed, "a whole number", whole=True)
    x, gone = known_and_gone(generator.space, cohort, missing)
    parts = generator.space.parts
    given = np.stack([~gone[:, list(part)].any(1) for part in parts], 1)
    if not given.any(1).all():
        row = int((~given.any(1)).argmax())
        raise DataError(f"image {cohort.table['image_id'].iloc[row]!r} would have nothing left to complete from; "
                        "sample whole images with .sample(table, seed=...)")  # fmt: skip
    keys = cohort.table["image_id"].tolist()
    z = normal(network.latent_shape(), seed=int(seed), identities=keys, stream="complete")
    images = generator.batched(network.complete, z, generator.code(cohort.schema.check(cohort.table)), x, torch.from_numpy(given).float())
    space, names = generator.space.sixteen_bit(), [channel.name for channel in generator.space.channels]
    drawn = [BETWEEN.join(name for name, number in zip(names, row) if number) for row in gone]
    made_by = {"complete": [*missing] if missing else "what is missing"}
    maker = generator.identity()
    ids = [f"completed-{digest(canonical([maker, name, one, int(seed)]))[:16]}" for name, one in zip(keys, drawn)]
    table = cohort.table.drop(columns=[COLUMN], errors="ignore").assign(**{"source_id": keys, "image_id": ids, DRAWN: drawn})
    origin = generator.origin("edited", int(seed), made_by, cohort.provenance)
    return Cohort(Pixels([space.to_raw(images)], space), table, cohort.schema, origin, cohort.notes)


def _network(generator: "Generator") -> FlowNetwork:
    network, family = generator.trained, type(generator.recipe).__name__
    if not isinstance(network, FlowNetwork):
        raise AbilityError(f"{family} draws all channels at once and cannot complete some from others; fit a Diffusion")
    if not network.showing.parts:
        raise AbilityError(f"{generator.card.name} makes images of one part ({', '.join(c.name for c in generator.space.channels)}): nothing stands beside it")
    if not network.showing.share:
        raise AbilityError(f"{family}(show=0) never saw some channels beside others; fit it with show above 0")
    return network


def known_and_gone(space: Space, cohort: Cohort, missing: Sequence[str] | None) -> tuple[torch.Tensor, np.ndarray]:
    """Images (N, C, [D,] H, W) on the channels of `space`, and (N, C) bool where a channel is to be drawn.

    Raises:
        DataError: images of another size, a channel that `space` has not or holds in another window, nothing to draw, no image.
    """
    if not len(cohort):
        raise DataError("the cohort is empty; there is nothing to complete")
    if cohort.space.size != space.size:
        raise DataError(f"images of {cohort.space.size}, and the generator makes {space.size}: modalities on another grid are not resampled by themselves; "
                        f"load the cohort with size={space.size[-1]}")  # fmt: skip
    theirs, places = cohort.space.channels, channel_numbers(space, [channel.name for channel in cohort.space.channels], what="the cohort's channels")
    for channel, place in zip(theirs, places):
        ours = space.channels[place]
        if (ours.unit or channel.unit) and (ours.low, ours.high, ours.unit) != (channel.low, channel.high, channel.unit):
            raise DataError(f"{channel.name}: window {channel.low:g}..{channel.high:g} {channel.unit}, and the generator learnt {ours.low:g}..{ours.high:g} "
                            f"{ours.unit}; load the cohort with that window=")  # fmt: skip
    gone = np.ones((len(cohort), len(space.channels)), bool)
    gone[:, places] = missing_channels(cohort)
    if missing is not None:
        gone[:, channel_numbers(space, missing, what="missing")] = True
    for part in space.parts:  # colours are drawn together, or not at all
        gone[:, list(part)] = gone[:, list(part)].any(1, keepdims=True)
    if not gone.any():
        raise DataError(f"no channel is missing; name what is to be drawn anew, such as missing=[{space.channels[-1].name!r}]")
    x = torch.full((len(cohort), *space.shape), -1.0)
    x[:, places] = cohort.images.tensor()
    return x, gone
