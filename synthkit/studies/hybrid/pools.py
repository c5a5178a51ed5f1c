"""The images that arms add to the real ones: drawn once, stored, and shared by all seeds; a smaller share takes the first of a larger one's."""
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import read_manifest, write_manifest
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance, canonical, digest
from synthkit.core.randomness import permutation
from synthkit.core.store import is_saved, load
from synthkit.generators.base import cohort_digest
from synthkit.generators.generator import Generator
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.filtering import SIDES, kept

SPARE = 1.5  # sampled images per image that is needed, where a filter chooses among them
CHUNK = 64


@dataclass(frozen=True, eq=False)
class Pool:
    """Images of the rare class and of the others, taken in turns, so that both are added in equal numbers.

    Args:
        rare, other: the distinct images of each side, the target their only factor.
    """

    rare: Cohort
    other: Cohort

    def first(self, count: int) -> Cohort:
        """`count` images, each side from its start and from there again where it is short; repeats get ids of their own."""
        rounds = np.arange(count) // 2
        both = self.rare + self.other
        rows = np.where(np.arange(count) % 2 == 0, rounds % len(self.rare), len(self.rare) + rounds % len(self.other))
        names = [f"{name} added {number}" for number, name in enumerate(both.table["image_id"].iloc[rows])]
        table = both.table.iloc[rows].assign(image_id=names)
        return Cohort(both.images.take(rows), table, both.schema, both.provenance, both.notes)

    def distinct(self, count: int) -> int:
        """How many different images `first` holds."""
        return min(-(-count // 2), len(self.rare)) + min(count // 2, len(self.other))


@dataclass(frozen=True, eq=False)
class Pools:
    """A pool for every kind of addition that can be made, and why the others cannot."""

    by_kind: Mapping[str, Pool]
    skipped: Mapping[str, str]
    notes: tuple[str, ...] = ()


def requests(design: Design, generator: Generator, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is asked of the generator: the factors of training images with the rare level set, and those of training images without it."""
    table, rare = design.real.table, design.rare
    names = [name for name in generator.schema.names if name in table]
    order = permutation(len(table), seed=rare.seed, identity="requests", stream="hybrid")
    healthy = order[~rare.positive(design.real)[order]]

    def asked(rows: np.ndarray, kind: str) -> pd.DataFrame:
        return table.iloc[np.resize(rows, count)][names].reset_index(drop=True).assign(image_id=[f"{kind}-{number}" for number in range(count)])

    ill = generator.schema.do(asked(order, "rare"), {rare.factor: rare.level})
    return ill, generator.schema.check(asked(healthy, "other"))


def pools(design: Design, generator: Generator, *, seed: int, folder: Path, progress: bool) -> Pools:
    """All images that any arm adds."""
    wanted = {candidate.arm.added for candidate in design.candidates}
    half, real, ill = -(-design.most_added // 2), design.images(design.real), design.rare.positive(design.real)
    healthy = real[np.flatnonzero(~ill)[permutation(int((~ill).sum()), seed=design.rare.seed, identity="healthy", stream="hybrid")]]
    made, skipped, notes = {"real": Pool(real[ill], healthy)}, {}, ()
    made_by = {"weights": generator.weights_digest(), "recipe": generator.recipe.to_json(), "seed": seed}
    if wanted & {"sampled", "filtered"}:
        count = int(np.ceil(half * (SPARE if "filtered" in wanted else 1)))
        asked = requests(design, generator, count)
        key = digest(canonical([made_by, *(table.to_json() for table in asked)]))[:16]
        rare, other = (_stored(folder / f"{kind}-{key}", lambda table=table: _sampled(generator, table, seed, progress)) for kind, table in zip(SIDES, asked))
        everything = Pool(design.images(rare), design.images(other))
        made["sampled"] = Pool(everything.rare[:half], everything.other[:half])
        if "filtered" in wanted:
            chosen, why, notes = _filtered(design, everything, half, folder)
            made, skipped = (made | {"filtered": chosen}, skipped) if chosen else (made, {"filtered": why})
    if "edited" in wanted and not generator.can_edit:
        skipped["edited"] = f"{type(generator.recipe).__name__} has no encoder, so real images cannot be edited"
    elif "edited" in wanted:
        made["edited"] = _edited(design, generator, healthy, half, made_by, folder, progress)
    return Pools(made, skipped, notes)


def _sampled(generator: Generator, table: pd.DataFrame, seed: int, progress: bool) -> Cohort:
    starts = _chunks(len(table), "synthetic images", progress)
    return joined([generator.sample(table.iloc[start : start + CHUNK], seed=seed) for start in starts])


def _chunks(count: int, what: str, progress: bool) -> Iterable[int]:
    from tqdm.auto import tqdm

    return tqdm(range(0, count, CHUNK), desc=what, unit=f"x {CHUNK}", mininterval=1.0, disable=not progress)


def joined(parts: list[Cohort]) -> Cohort:
    """Cohorts of one space and schema as one, its images in one piece."""
    images = Pixels([np.concatenate([part.images.raw() for part in parts])], parts[0].space)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    origin = Provenance.merge(tuple(part.provenance for part in parts))
    return Cohort(images, pd.concat([part.table for part in parts], ignore_index=True), parts[0].schema, origin, notes)


def _filtered(design: Design, everything: Pool, half: int, folder: Path) -> tuple[Pool | None, str, tuple[str, ...]]:
    """The images that the filter keeps, or None and why, and its notes; stored by their ids, so that a resumed run does not filter again."""
    sides = (everything.rare, everything.other)
    task, steps, names = asdict(design.task), design.steps, [side.table["image_id"].tolist() for side in sides]
    key = digest(canonical([task, asdict(design.rare), steps, cohort_digest(design.real), half, names]))[:16]
    path = folder / f"filtered-{key}.json"
    if not path.is_file():
        chosen, why, notes = kept(design, *sides, half)
        ids = [side.table["image_id"].tolist() for side in chosen or ()]
        write_manifest(path, {"kept": ids, "why": why, "notes": list(notes)})
    found = read_manifest(path)
    places = [pd.Index(every).get_indexer(ids) for every, ids in zip(names, found["kept"])]
    pool = Pool(*(side[place] for side, place in zip(sides, places))) if places else None
    return pool, found["why"], tuple(found["notes"])


def _edited(design: Design, generator: Generator, healthy: Cohort, half: int, made_by: dict[str, object], folder: Path, progress: bool) -> Pool:
    """Healthy training images edited to the rare class, each beside its original."""
    ids = healthy.table["image_id"].tolist()[:half]
    place = pd.Index(design.real.table["image_id"]).get_indexer(ids)
    key = digest(canonical([made_by, ids]))[:16]
    change = {design.rare.factor: design.rare.level}

    def make() -> Cohort:
        return joined([generator.edit(design.real[place[start : start + CHUNK]], change) for start in _chunks(len(place), "edited images", progress)])

    edits = _stored(folder / f"edited-{key}", make)
    return Pool(design.images(edits), healthy[: len(edits)])


def _stored(folder: Path, make: Callable[[], Cohort]) -> Cohort:
    if not is_saved(folder):
        make().save(folder)
    return load(folder)
