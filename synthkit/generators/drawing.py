"""Images drawn for a table of requests, and drawn again where they come out as near copies of training images."""
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import canonical, digest
from synthkit.core.randomness import normal
from synthkit.errors import AbilityError, DataError
from synthkit.generators.base import cohort_digest
from synthkit.metrics.copying.guard import CopyGuard

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator

TRIES = 8  # draws per request until it is given up
DRAWS = "draws"  # column: how often a request was drawn


def drawn(generator: "Generator", keys: list[str], wanted: pd.DataFrame, seed: int, *, turn: int = 0) -> Cohort:
    """One image per row; another `turn` draws other ones for the same requests and seed."""
    identities = [f"{key}\x1f{turn}" for key in keys] if turn else keys
    z = normal(generator.trained.latent_shape(), seed=seed, identities=identities, stream="sample")
    images, space = generator.decode(z, wanted), generator.space.sixteen_bit()
    blank = pd.Series([None] * len(wanted))
    rows = pd.DataFrame({"request_id": keys, **{name: wanted[name] if name in wanted else blank for name in generator.schema.names}})
    made_by = [generator.identity(), seed, *([turn] if turn else [])]
    names = [digest(canonical([*made_by, rows.iloc[i].to_json()]))[:16] for i in range(len(rows))]
    rows.insert(0, "image_id", [f"synthetic-{name}" for name in names])
    rows.insert(1, "patient_id", rows["image_id"])
    return Cohort.of(space.to_raw(images), rows, schema=generator.schema, space=space, provenance=generator.origin("synthetic", seed, {}))


def drawn_apart(generator: "Generator", keys: list[str], wanted: pd.DataFrame, seed: int, *, train: Cohort) -> Cohort:
    """As `drawn`, without near copies of the images of `train`: each request is drawn up to eight times, and left out when all are copies.

    Raises:
        DataError: another space than the generator's, or fewer than 20 patients.
        AbilityError: nothing but copies came out.
    """
    require_kind("reject_copies_of", train, Cohort, "the cohort whose images may not come out again, usually train")
    if not generator.space.matches(train.space):
        raise DataError(f"reject_copies_of holds other images than the generator makes: {generator.space.difference(train.space)}")
    guard, open_rows, kept = CopyGuard.of(train), np.arange(len(keys)), []
    rejected = 0
    for turn in range(TRIES):
        tried = drawn(generator, [keys[row] for row in open_rows], wanted.iloc[open_rows].reset_index(drop=True), seed, turn=turn)
        copied = guard.copies(tried)
        rejected += int(copied.sum())
        kept.append((open_rows[~copied], tried[~copied], turn + 1))
        open_rows = open_rows[copied]
        if not len(open_rows):
            break
    if len(open_rows) == len(keys):
        raise AbilityError(f"all {len(keys)} requests came out as near copies of training images {TRIES} times over: {generator.card.name} has learnt them by "
                           "heart; fit it on more patients or for fewer steps, and see sk.privacy(...)")  # fmt: skip
    apart = {"from": train.provenance.source, "data": cohort_digest(train), "limit": round(guard.tail.limit, 6), "rejected": rejected,
             "left out": len(open_rows)}  # fmt: skip
    return _joined(generator, seed, kept, apart)


def _joined(generator: "Generator", seed: int, kept: list[tuple[np.ndarray, Cohort, int]], apart: dict[str, Any]) -> Cohort:
    order = np.argsort(np.concatenate([rows for rows, _, _ in kept]))
    table = pd.concat([cohort.table.assign(**{DRAWS: turns}) for _, cohort, turns in kept if len(cohort)], ignore_index=True).iloc[order]
    raw = np.concatenate([cohort.images.raw() for _, cohort, _ in kept])[order]
    notes = (f"{apart['rejected']} draws were near copies of {apart['from']} and were rejected; {apart['left out']} of "
             f"{len(order) + apart['left out']} requests are left out, since all {TRIES} draws were copies.",)  # fmt: skip
    origin = generator.origin("synthetic", seed, {"reject_copies_of": apart})
    space = generator.space.sixteen_bit()
    return Cohort(Pixels([raw], space), table.reset_index(drop=True), generator.schema, origin, notes if apart["rejected"] else ())
