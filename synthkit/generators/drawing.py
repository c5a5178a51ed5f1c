"""Images drawn for a table of requests, and drawn again where they come out as near copies of training images."""
from collections.abc import Mapping
from dataclasses import dataclass, replace
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


def drawn(generator: "Generator", keys: list[str], wanted: pd.DataFrame, seed: int, *, turn: int = 0, more: Mapping[str, Any] | None = None) -> Cohort:
    """One image per row; another `turn` draws other ones for the same requests and seed, and `more` is told in their lineage."""
    identities = [f"{key}\x1f{turn}" for key in keys] if turn else keys
    z = normal(generator.trained.latent_shape(), seed=seed, identities=identities, stream="sample")
    images, space = generator.decode(z, wanted), generator.space.sixteen_bit()
    blank = pd.Series([None] * len(wanted))
    rows = pd.DataFrame({"request_id": keys, **{name: wanted[name] if name in wanted else blank for name in generator.schema.names}})
    made_by = [generator.identity(), seed, *([turn] if turn else [])]
    names = [digest(canonical([*made_by, rows.iloc[i].to_json()]))[:16] for i in range(len(rows))]
    rows.insert(0, "image_id", [f"synthetic-{name}" for name in names])
    rows.insert(1, "patient_id", rows["image_id"])
    return Cohort.of(space.to_raw(images), rows, schema=generator.schema, space=space, provenance=generator.origin("synthetic", seed, more or {}))


@dataclass(frozen=True, eq=False)
class Apart:
    """Draws without near copies, how many draws were rejected, and how many requests gave nothing but copies and are left out."""

    cohort: Cohort
    rejected: int
    left_out: int


@dataclass(frozen=True, eq=False)
class Refusal:
    """Keeps draws apart from the images of a cohort.

    Args:
        guard: knows its near copies.
        told: what the lineage says of it: `from`, `data` (digest), `limit`.
    """

    guard: CopyGuard
    told: Mapping[str, Any]

    @staticmethod
    def of(generator: "Generator", train: Cohort) -> "Refusal":
        """DataError: no cohort, another space than the generator's, or fewer than 20 patients."""
        require_kind("reject_copies_of", train, Cohort, "the cohort whose images may not come out again, usually train")
        if not generator.space.matches(train.space):
            raise DataError(f"reject_copies_of holds other images than the generator makes: {generator.space.difference(train.space)}")
        guard = CopyGuard.of(train)
        return Refusal(guard, {"from": train.provenance.source, "data": cohort_digest(train), "limit": round(guard.tail.limit, 6)})

    def drawn(self, generator: "Generator", keys: list[str], wanted: pd.DataFrame, seed: int) -> Apart:
        """As `drawn`, each request up to eight times; what becomes of one does not depend on the others."""
        open_rows, kept, rejected, more = np.arange(len(keys)), [], 0, {"reject_copies_of": self.told}
        for turn in range(TRIES):
            asked = wanted.iloc[open_rows].reset_index(drop=True)
            tried = drawn(generator, [keys[row] for row in open_rows], asked, seed, turn=turn, more=more)
            copied = self.guard.copies(tried)
            rejected += int(copied.sum())
            kept.append((open_rows[~copied], tried[~copied], turn + 1))
            open_rows = open_rows[copied]
            if not len(open_rows):
                break
        return Apart(_joined(kept), rejected, len(open_rows))


def rejection_note(told: Mapping[str, Any], rejected: int, left_out: int, requests: int) -> str:
    """What a refusal did, for the caveats."""
    return (f"{rejected} draws were near copies of {told['from']} and were rejected; {left_out} of {requests} requests are left out, since all {TRIES} draws "
            "were copies.")  # fmt: skip


def by_heart(name: str, requests: int) -> AbilityError:
    """The error where nothing but copies came out."""
    return AbilityError(f"all {requests} requests came out as near copies of training images {TRIES} times over: {name} has learnt them by heart; fit it on "
                        "more patients or for fewer steps, and see sk.privacy(...)")  # fmt: skip


def drawn_apart(generator: "Generator", keys: list[str], wanted: pd.DataFrame, seed: int, *, train: Cohort) -> Cohort:
    """As `drawn`, without near copies of the images of `train`: each request is drawn up to eight times, and left out when all are copies.

    Raises:
        DataError: another space than the generator's, or fewer than 20 patients.
        AbilityError: nothing but copies came out.
    """
    refusal = Refusal.of(generator, train)
    done = refusal.drawn(generator, keys, wanted, seed)
    if not len(done.cohort):
        raise by_heart(generator.card.name, len(keys))
    told = {**refusal.told, "rejected": done.rejected, "left out": done.left_out}
    notes = (rejection_note(refusal.told, done.rejected, done.left_out, len(keys)),) if done.rejected else ()
    return replace(done.cohort, provenance=generator.origin("synthetic", seed, {"reject_copies_of": told}), notes=notes)


def _joined(kept: list[tuple[np.ndarray, Cohort, int]]) -> Cohort:
    """The draws in the order of their requests, with the column `draws`."""
    order = np.argsort(np.concatenate([rows for rows, _, _ in kept]))
    parts = [(cohort, turns) for _, cohort, turns in kept if len(cohort)] or [(kept[0][1], 1)]
    table = pd.concat([cohort.table.assign(**{DRAWS: turns}) for cohort, turns in parts], ignore_index=True).iloc[order]
    raw = np.concatenate([cohort.images.raw() for cohort, _ in parts])[order]
    return replace(kept[0][1], images=Pixels([raw], kept[0][1].space), table=table.reset_index(drop=True))
