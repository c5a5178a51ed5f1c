"""The cohorts of several sites, each under a name."""
from collections.abc import Mapping, Sequence

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.errors import DataError, FitError


def named(sites: Sequence[Cohort] | Mapping[str, Cohort], what: str, *, like: Sequence[str] = ()) -> dict[str, Cohort]:
    """Cohorts by name, as they were given or by their sources.

    Args:
        what: the argument's own name.
        like: names that were given before, in their order, and no others.
    Raises:
        DataError: something else than cohorts, or names that are not those of the sites.
        FitError: fewer than two.
    """
    if isinstance(sites, Cohort) or not isinstance(sites, (Sequence, Mapping)):
        raise DataError(f'{what}: got a {type(sites).__name__}; give cohorts by name, {{"north": north, "south": south}}, or a list of them')
    if isinstance(sites, Mapping):
        given = {str(name): cohort for name, cohort in sites.items()}
    else:
        if like and len(sites) != len(like):
            raise DataError(f"{what}: {len(sites)} given for the sites {', '.join(like)}; give one for each, or some by name")
        sources = list(like) or [_source(cohort) for cohort in sites]
        given = dict(zip(sources if len(set(sources)) == len(sources) else [f"site {number + 1}" for number in range(len(sites))], sites))
    for name, cohort in given.items():
        require_kind(f"{what}[{name!r}]", cohort, Cohort, "a cohort, as sk.load(...) answers")
    if like and set(given) - set(like):
        raise DataError(f"{what}: {sorted(set(given) - set(like))[0]!r} is none of the sites {', '.join(like)}")
    if not like and len(given) < 2:
        raise FitError(f"{what}: {len(given)} given, and averaging needs two or more; use recipe.fit(...) on one cohort")
    return given


def _source(cohort: object) -> str:
    return cohort.provenance.source if isinstance(cohort, Cohort) else "?"
