"""Several hospitals that share synthetic images in the place of weights: each trains and draws at home, and one generator learns from what was drawn."""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.budget import Budget
from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.randomness import generator as stream
from synthkit.core.result import Tabled
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.metrics.checks.check import check
from synthkit.metrics.copying.tail import FEWEST
from synthkit.scale.federated.facts import Facts, require_together
from synthkit.scale.federated.named import named

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLUMNS = ("site", "images", "asked", "copies_rejected", "left_out", "failed_checks", "sent", "bytes_sent")
POOL = "pool"  # folder of the training on what was sent
NOTES = ("Requests are the factors of the site's own rows, drawn with replacement: what is rare in its table is rare, and told, in what it sends.",
         "Copies were looked for and rejected before anything was sent; see sk.privacy for what further attacks find.")  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Exchange(Tabled):
    """A row per site: images it has, requests, near copies drawn again (`copies_rejected`), requests given up (`left_out`), images that failed quality
    control, images and bytes sent.

    Args:
        generator: fitted on what all sites sent.
        pool: that, a synthetic cohort whose lineage leads to every site.
    """

    generator: Generator | None = None
    pool: Cohort | None = None

    def figure(self) -> "Figure":
        from plotly.graph_objects import Bar, Figure

        bars = [Bar(x=self.rows["site"], y=self.rows[name], name=name) for name in ("sent", "left_out", "failed_checks")]
        return Figure(bars, layout={"title": self.title, "barmode": "stack", "yaxis_title": "images"})


def exchange(
    recipe: Recipe, sites: Sequence[Cohort] | Mapping[str, Cohort], *, budget: Budget = "lesson", local_budget: Budget | None = None, share: float = 1.0,
    seed: int = 0, run: str | Path | None = None,
) -> Exchange:  # fmt: skip
    """Fit one generator on synthetic images of several sites: no image and no weight of a site leaves it.

    Args:
        sites: cohorts by name, or a list of them; of at least 20 patients each, since near copies are told by comparison.
        budget: of the training on what was sent.
        local_budget: of each site's own training; the same by default.
        share: synthetic images per real one.
        run: folder of checkpoints, a folder inside for each site.
    Raises:
        FitError, SchemaError, DataError, LeakageError: as `federate`.
        AbilityError: a site's generator draws nothing but near copies.

    Example:
        shared = sk.exchange(sk.Diffusion(), {"north": north, "south": south}, budget="lesson", seed=0)
        shared.generator.sample(want, seed=1)
    """
    require_kind("recipe", recipe, Recipe, "an untrained recipe, such as sk.Diffusion()")
    require_number("share", share, "a number above 0")
    require_number("seed", seed, "a whole number", whole=True)
    if share <= 0:
        raise FitError(f"share={share}: give a number above 0, such as 1: as many synthetic images as real ones")
    cohorts = named(sites, "sites")
    folders = {} if run is None else _folders(Path(run), cohorts)
    facts = {name: Facts.of(name, cohort, None) for name, cohort in cohorts.items()}
    require_together(facts)
    for name, site in facts.items():
        if len(site.patients) < FEWEST:
            raise FitError(f"site {name!r} has {len(site.patients)} patients, too few to know near copies by; give {FEWEST} or more, or leave it out")
    rows, sent = [], []
    for name, cohort in sorted(cohorts.items()):
        known = replace(cohort, provenance=facts[name].record())
        row, part = _drawn(recipe, name, known, local_budget or budget, share, seed, folders.get(name))
        rows.append(row)
        sent.append(part)
    pool = reduce(add, sent)
    fitted = recipe.fit(pool, budget=budget, seed=seed, run=Path(run) / POOL if run is not None else None)
    whole = replace(fitted, patients=fitted.patients | {one for site in facts.values() for one in site.patients})
    title = f"Synthetic images of {len(cohorts)} sites, exchanged"
    return Exchange(title, pd.DataFrame(rows, columns=[*COLUMNS]), (*NOTES, *pool.notes), generator=whole, pool=pool)


def _folders(run: Path, names: Iterable[str]) -> dict[str, Path]:
    """The folder of each site's checkpoints; FitError for a name that would lead elsewhere."""
    for name in names:
        if name in ("", "..", POOL) or Path(name).name != name or "\\" in name:
            raise FitError(f"site {name!r} cannot name a folder inside run={str(run)!r}; give the sites plain names other than {POOL!r}")
    return {name: run / name for name in names}


def _drawn(recipe: Recipe, name: str, cohort: Cohort, budget: Budget, share: float, seed: int, run: Path | None) -> tuple[dict[str, object], Cohort]:
    """What one site sends, and its row of record."""
    rng = stream(seed, name, "exchange")
    own = int(rng.integers(2**31))
    local = recipe.fit(cohort, budget=budget, seed=own, run=run)
    count = max(1, round(share * len(cohort)))
    wanted = cohort.table[list(cohort.schema.names)].iloc[rng.integers(0, len(cohort), count)].reset_index(drop=True)
    drawn = local.sample(wanted.assign(image_id=[f"{name}-{row}" for row in np.arange(count)]), seed=own, reject_copies_of=cohort)
    good = check(drawn, like=cohort).passed()
    if not len(good):
        raise FitError(f"site {name!r}: none of its {len(drawn)} synthetic images passes quality control; give it a longer local_budget")
    apart = drawn.provenance.recipe["reject_copies_of"]
    told = (name, len(cohort), count, apart["rejected"], apart["left out"], len(drawn) - len(good), len(good), int(good.images.raw().nbytes))
    return dict(zip(COLUMNS, told)), good
