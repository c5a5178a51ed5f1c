"""Edits of given images: the difference that other factors make to their own latents, added to the original pixels."""
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import canonical, digest
from synthkit.errors import AbilityError, DataError, SchemaError
from synthkit.nets.network import LockableNetwork

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator


def edit(generator: "Generator", cohort: Cohort, do: Mapping[str, Any]) -> tuple[Cohort, torch.Tensor]:
    """See `Generator.edit`; beside the edited cohort the raw reconstruction D(z, c) (N, C, [D,] H, W), which shows how good the inversion is."""
    return edit_to(generator, cohort, after(generator, cohort, do), {"do": {name: str(value) for name, value in do.items()}})


def after(generator: "Generator", cohort: Cohort, do: Mapping[str, Any]) -> pd.DataFrame:
    """The cohort's rows with factors set and the others held."""
    generator.require_editable("edit")
    for name in do:
        generator.schema[name]
        if name not in cohort.schema:
            raise SchemaError(f"the cohort has no factor {name!r}, so what is changed is not known; load it with that factor")
    return generator.schema.do(cohort.table, do)


def edit_to(generator: "Generator", cohort: Cohort, table: pd.DataFrame, made_by: Mapping[str, Any]) -> tuple[Cohort, torch.Tensor]:
    """The same images under the factors of another table, and their raw reconstructions under their own.

    Args:
        table: a row per image, in the cohort's order, such as a causal model's counterfactual rows.
        made_by: what led to the table, for the lineage.
    """
    generator.require_editable("edit")
    wanted = _rows(generator, cohort, table)
    x, z = cohort.images.tensor(), generator.encode(cohort)
    reconstruction = generator.decode(z, cohort.table)
    images = x + generator.decode(z, wanted) - reconstruction
    made = generator.space.sixteen_bit()
    return edited_cohort(generator, cohort, Pixels([made.to_raw(images)], made), wanted, reconstruction, made_by), reconstruction


def edit_inside(
    generator: "Generator", cohort: Cohort, table: pd.DataFrame, mask: np.ndarray, made_by: Mapping[str, Any]
) -> tuple[Cohort, torch.Tensor]:  # fmt: skip
    """As `edit_to`, but only where the mask (N, [D,] H, W) is true: every other stored integer stays what it was.

    Raises:
        AbilityError: a family that cannot hold a region, which flows on pixels can.
    """
    network = generator.require_editable("edit")
    if not isinstance(network, LockableNetwork):
        raise AbilityError(f"{type(generator.recipe).__name__} cannot hold a region still: its network does not work on pixels step by step. Use Diffusion.")
    wanted = _rows(generator, cohort, table)
    reconstruction = generator.decode(generator.encode(cohort), cohort.table)
    where = torch.from_numpy(mask)[:, None]
    images = generator.batched(network.edit_inside, cohort.images.tensor(), generator.code(cohort.table), generator.code(wanted), where)
    raw = np.where(mask[:, None], cohort.space.to_raw(images), cohort.images.raw()).astype(cohort.space.dtype)
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
    names = [f"edit-{digest(canonical([maker, name, dict(made_by)]))[:16]}" for name in table["image_id"]]
    trip = (reconstruction - cohort.images.tensor()).abs().flatten(1).mean(1).numpy() * 127.5
    rows = table.assign(source_id=table["image_id"], image_id=names, round_trip=trip)
    return Cohort(pixels, rows, cohort.schema, generator.origin("edited", None, made_by, cohort.provenance), cohort.notes)
