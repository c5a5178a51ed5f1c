"""Rebalancing: synthetic images for the groups that a training set has too few of."""
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import DataError
from synthkit.generators.generator import Generator
from synthkit.studies.rebalancing.cells import Cells
from synthkit.studies.rebalancing.notes import caveats
from synthkit.studies.rebalancing.plan import planned
from synthkit.studies.rebalancing.requests import requested
from synthkit.studies.rebalancing.result import Rebalanced
from synthkit.studies.rebalancing.target import Target


def rebalance(
    gen: Generator, train: Cohort, *, by: Sequence[str] | str, target: Target = "balanced", within: str | None = None, limit: int = 4_096,
    test: Cohort | None = None, seed: int = 0,
) -> Rebalanced:  # fmt: skip
    """The synthetic complement that brings every group of a training set to a target; nothing real is taken away.

    The requests repeat the other factors of real people of the same cell, so that they stay plausible; a cell of fewer than ten
    patients borrows those of the cells that differ in the fewest of `by`, with `by` set.

    Args:
        gen: a generator that knows `by` and `within`; fitted on no test patient.
        train: the real training images.
        by: factors whose levels or groups (quantities, cut where the schema says) are the cells.
        target: "balanced" for as many as the largest cell, or {cell: images}, or {cell: share} adding up to 1; a cell is a level,
            or a tuple of levels where `by` names several factors.
        within: a finding, for instance; the target is then met at each of its levels by itself, and so at equal prevalence when balanced.
        limit: most synthetic images; a plan that needs more is refused before anything is drawn.
        test: patients that neither `train` nor the generator may hold.
        seed: of the requests and of the noise.
    Raises:
        SchemaError: a factor that the generator or the cohort does not know, an unknown cell.
        DataError: shares that do not add up to 1, fewer images asked for than there are, nothing to add, or more than `limit`.
        LeakageError: test patients in `train` or known to the generator.

    Example:
        more = sk.rebalance(gen, train, by="sex", within="effusion", test=test)
        clf = sk.Classifier("effusion").fit(more.joined, seed=0)
    """
    require_kind("gen", gen, Generator, "a fitted generator; a recipe is to be fitted first")
    require_kind("train", train, Cohort, "a cohort, as sk.load(...) answers")
    require_number("limit", limit, "a number of synthetic images")
    names = (by,) if isinstance(by, str) else tuple(by)
    _require_fitting(gen, train, test)
    cells = Cells.of(train, gen, names, within)
    plan = planned(cells, target, limit=limit)
    complement, blank = _drawn(gen, train, requested(plan, cells, seed=seed), seed)
    title = f"Rebalancing of {train.provenance.source} by {', '.join(names)}" + (f" within {within}" if within else "")
    return Rebalanced(title, plan, tuple(caveats(plan, cells, blank)), train=train, complement=complement)


def _require_fitting(gen: Generator, train: Cohort, test: Cohort | None) -> None:
    if test is not None:
        require_disjoint(train, test, names=("train", "test"))
        gen.require_unseen(test)
    if not gen.space.matches(train.space):
        raise DataError(f"the generator makes other images than train holds: {gen.space.difference(train.space)}; load train with size={gen.space.size[-1]}")


def _drawn(gen: Generator, train: Cohort, requests: pd.DataFrame, seed: int) -> tuple[Cohort, tuple[str, ...]]:
    """Images of the requests under the schema of train, and the factors of it that the generator does not share, blank in them."""
    shared = tuple(name for name in train.schema.names if name in gen.schema and gen.schema[name] == train.schema[name])
    numbered = requests[list(shared)].assign(image_id=[f"rebalance-{number}" for number in range(len(requests))])
    made = gen.sample(numbered, seed=seed)
    missing = {name: pd.Series([None] * len(made), dtype=object) for name in train.schema.names if name not in shared}
    kept = made.table[["image_id", "patient_id", "request_id", *shared]].assign(**missing)
    return replace(made, table=kept, schema=train.schema), tuple(missing)
