"""The families of a comparison: names, checks before any long work, and their fits."""
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkit.core.budget import Budget, Minutes, Steps, resolve
from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.errors import DataError
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.metrics.naming import setting_name

Candidate = Recipe | Generator
Candidates = Sequence[Candidate] | Mapping[str, Candidate]


@dataclass(frozen=True, eq=False)
class Family:
    """One fitted family: its name in the tables, and whether it was trained here in the common budget."""

    name: str
    generator: Generator
    trained_here: bool


def named(candidates: Candidates) -> dict[str, Candidate]:
    """Recipes and generators under distinct names, in order.

    Raises:
        DataError: none, one of another type, or two of one name.
    """
    if isinstance(candidates, (Recipe, Generator)):
        candidates = [candidates]
    require_kind("compare", candidates, Iterable, "a list of recipes and fitted generators")
    for one in candidates.values() if isinstance(candidates, Mapping) else candidates:
        require_kind("compare", one, (Recipe, Generator), "a recipe such as sk.Diffusion(), or a fitted generator")
    pairs = list(candidates.items()) if isinstance(candidates, Mapping) else [(_name(one), one) for one in candidates]
    if not pairs:
        raise DataError("compare: the list of families is empty; give recipes such as sk.Diffusion(), or fitted generators")
    return dict(zip(require_names([str(name) for name, _ in pairs]), (one for _, one in pairs)))


def require_names(names: Sequence[str]) -> Sequence[str]:
    """The names; DataError unless they and their folders are distinct."""
    folders = [slug(name) for name in names]
    twice = sorted(name for name in names if folders.count(slug(name)) > 1)
    if twice:
        raise DataError(f"compare: two families would be called {twice[0]!r}; name them yourself: {{'first': ..., 'second': ...}}")
    return names


def _name(candidate: object) -> str:
    return candidate.card.name if isinstance(candidate, Generator) else setting_name(candidate)


def slug(name: str) -> str:
    """A name as that of a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower() or "family"


def require_usable(families: Mapping[str, Candidate], train: Cohort, unseen: Mapping[str, Cohort], budget: Budget) -> None:
    """Raise unless every recipe understands the budget and every fitted generator makes such images without having seen these patients."""
    for name, one in families.items():
        if isinstance(one, Recipe):
            resolve(budget, one.budgets)
            if one.teacher:
                raise DataError(f"{name} learns from a fitted {one.teacher}: fit it first, with start=, and give compare the generator that comes out")
            continue
        if not one.space.matches(train.space):
            raise DataError(f"{name} makes other images than the data are: {one.space.difference(train.space)}; give generators of one size and channels")
        for cohort in unseen.values():
            one.require_unseen(cohort)
        one.schema.check(unseen["test"].table)


def announced(families: Mapping[str, Candidate], budget: Budget) -> str:
    """What will be trained, in words."""
    recipes = {name: resolve(budget, one.budgets) for name, one in families.items() if isinstance(one, Recipe)}
    if not recipes:
        return f"{len(families)} fitted generators, nothing to train"
    minutes = sum(chosen.count for chosen in recipes.values() if isinstance(chosen, Minutes))
    each = ", ".join(f"{name} {_length(chosen)}" for name, chosen in recipes.items())
    return f"train {len(recipes)} of {len(families)} families: {each}" + (f"; {minutes:g} minutes in all" if minutes else "")


def _length(chosen: Steps | Minutes) -> str:
    return f"{chosen.count:,} steps" if isinstance(chosen, Steps) else f"{chosen.count:g} min"


def fitted(
    families: Mapping[str, Candidate], train: Cohort, *, budget: Budget, seed: int, run: Path | None, say: Callable[[str], None]
) -> list[Family]:  # fmt: skip
    """Every family ready to sample; a recipe whose fit is found finished in its folder under `run` is not fitted again."""
    ready = []
    for name, one in families.items():
        if isinstance(one, Generator):
            ready.append(Family(name, one, trained_here=False))
            continue
        say(f"train {name}")
        folder = run / slug(name) if run else None
        generator = one.fit(train, budget=budget, seed=seed, run=folder / "run" if folder else None)
        if folder:
            generator.save(folder / "generator")
        ready.append(Family(name, generator, trained_here=True))
    return ready
