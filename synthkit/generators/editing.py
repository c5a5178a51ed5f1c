"""Edits of given images: the difference that other factors make to their own latents, added to the original pixels."""
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_number
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import canonical, digest
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.generators.diffusion import FlowNetwork
from synthkit.nets.network import LockableNetwork

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator


def after(generator: "Generator", cohort: Cohort, do: Mapping[str, Any]) -> pd.DataFrame:
    """The cohort's rows with factors set and the others held."""
    generator.require_editable("edit")
    for name, value in do.items():
        generator.schema[name]
        if not pd.api.types.is_scalar(value):
            if np.shape(value) != (len(cohort),):
                raise SchemaError(f"{name}: got {len(value)} values for {len(cohort)} images; give one value, or one per image")
        elif pd.isna(value):
            raise SchemaError(f"{name} → {value}: an edit needs a value that is known; leave {name} out to hold it")
        if name not in cohort.schema:
            raise SchemaError(f"the cohort has no factor {name!r}, so what is changed is not known; load it with that factor")
    return generator.schema.do(cohort.table, do)


@dataclass(frozen=True, eq=False)
class Inverted:
    """Images and their latents, ready for any number of edits; made by `inverted`.

    Args:
        images: (N, C, [D,] H, W).
        latent: of each under its own factors.
        raw: the reconstructions D(z, c), not clipped.
        weight: of the difference between the conditions, at every step of a flow.
    """

    generator: "Generator"
    cohort: Cohort
    images: torch.Tensor
    latent: torch.Tensor
    raw: torch.Tensor
    weight: float = 1.0

    def under(self, table: pd.DataFrame) -> torch.Tensor:
        """The images under the factors of another table, a row per image: x + D(z, c*) - D(z, c), not clipped; themselves where no factor differs."""
        return self._under(_rows(self.generator, self.cohort, table))

    def _under(self, wanted: pd.DataFrame) -> torch.Tensor:
        differs = (self.generator.code(wanted) != self.generator.code(self.cohort.table)).any(1)
        images = self.images.clone()
        if differs.any():
            rows = differs.nonzero()[:, 0]
            images[rows] += self._decoded(rows, wanted.iloc[rows.numpy()].reset_index(drop=True)) - self.raw[rows]
        return images

    def _decoded(self, rows: torch.Tensor, wanted: pd.DataFrame) -> torch.Tensor:
        if self.weight == 1:
            return self.generator.decode(self.latent[rows], wanted)
        own = self.generator.code(self.cohort.table)[rows]
        return self.generator.batched(partial(self.generator.trained.decode_away, weight=self.weight), self.latent[rows], own, self.generator.code(wanted))

    def to(self, table: pd.DataFrame, made_by: Mapping[str, Any]) -> Cohort:
        """The edited cohort under another table.

        Args:
            made_by: what led to the table, for the lineage.
        """
        made_by = {**made_by, "weight": self.weight} if self.weight != 1 else made_by
        space, wanted = self.generator.space.sixteen_bit(), _rows(self.generator, self.cohort, table)
        return edited_cohort(self.generator, self.cohort, Pixels([space.to_raw(self._under(wanted))], space), wanted, self.raw, made_by)

    def only(self, rows: np.ndarray) -> "Inverted":
        """Some of the images, by row number."""
        place = torch.from_numpy(rows)
        return Inverted(self.generator, self.cohort[rows], self.images[place], self.latent[place], self.raw[place], self.weight)

    def edit(self, do: Mapping[str, Any]) -> Cohort:
        """The edited cohort with factors set and the others held."""
        return self.to(after(self.generator, self.cohort, do), {"do": {name: str(value) for name, value in do.items()}})


def inverted(generator: "Generator", cohort: Cohort, *, weight: float = 1.0) -> Inverted:
    """Take images back to their latents, once for all edits of them.

    Raises:
        AbilityError: a family without an encoder, or, for a weight other than 1, without a velocity to weigh.
    """
    require_number("weight", weight, "a number, such as 1.5")
    network = generator.require_editable("edit")
    if weight != 1 and not isinstance(network, FlowNetwork):
        raise AbilityError(f"{type(generator.recipe).__name__} has no steps whose difference could be weighed; leave weight=1, or use Diffusion")
    latent = generator.encode(cohort)
    return Inverted(generator, cohort, cohort.images.tensor(), latent, generator.decode(latent, cohort.table), float(weight))


def edit_inside(
    generator: "Generator", cohort: Cohort, table: pd.DataFrame, mask: np.ndarray, made_by: Mapping[str, Any]
) -> tuple[Cohort, torch.Tensor]:  # fmt: skip
    """As `Inverted.to`, but only where the mask (N, [D,] H, W) is true: every other stored integer stays what it was.

    Raises:
        AbilityError: a family that cannot hold a region, which flows on pixels can.
    """
    network = generator.require_editable("edit")
    if not isinstance(network, LockableNetwork):
        raise AbilityError(f"{type(generator.recipe).__name__} cannot hold a region still: its network does not work on pixels step by step. Use Diffusion.")
    wanted = _rows(generator, cohort, table)
    reconstruction = generator.decode(generator.encode(cohort), cohort.table)
    where, start = torch.from_numpy(mask)[:, None], cohort.images.tensor()
    images = generator.batched(network.edit_inside, start, generator.code(cohort.table), generator.code(wanted), where)
    before, shown, edited = cohort.images.raw(), cohort.space.to_raw(start), cohort.space.to_raw(images)
    # Stored integers may be wider than the window that is shown of them: what looks the same stays as it is stored.
    raw = np.where(mask[:, None] & (edited != shown), edited, before).astype(before.dtype)
    return edited_cohort(generator, cohort, Pixels([raw], cohort.space), wanted, reconstruction, made_by), reconstruction


def _rows(generator: "Generator", cohort: Cohort, table: pd.DataFrame) -> pd.DataFrame:
    """The wanted factors, checked; DataError unless row by row of the cohort."""
    generator.require_fit(cohort)
    if list(table["image_id"]) != list(cohort.table["image_id"]):
        raise DataError(f"the table has other rows than the cohort's {len(cohort)} images, or another order; make it from cohort.table")
    return generator.schema.check(table.copy())


def edited_cohort(
    generator: "Generator", cohort: Cohort, pixels: Pixels, table: pd.DataFrame, reconstruction: torch.Tensor, made_by: Mapping[str, Any]
) -> Cohort:  # fmt: skip
    """Edited images with names of their own, their source and their round trip."""
    maker = generator.identity()
    wanted = table[list(cohort.schema.names)].astype(object).to_numpy().tolist()
    names = [f"edit-{digest(canonical([maker, name, dict(made_by), row]))[:16]}" for name, row in zip(table["image_id"], wanted)]
    trip = (reconstruction - cohort.images.tensor()).abs().flatten(1).mean(1).numpy() * 127.5
    rows = table.assign(source_id=table["image_id"], image_id=names, round_trip=trip)
    return Cohort(pixels, rows, cohort.schema, generator.origin("edited", None, made_by, cohort.provenance), cohort.notes)
