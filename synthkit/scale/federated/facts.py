"""What a site tells of itself before a training: its schema, its space, its counts and digests. Never pixels, never a row of its table."""
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.lineage import manifest_root
from synthkit.core.provenance import Provenance, patient_digest
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import DataError, FitError, LeakageError, SchemaError
from synthkit.generators.base import cohort_digest

LEAST = 4  # images, of which a site can train at all


@dataclass(frozen=True)
class Facts:
    """One site.

    Args:
        name: of the site.
        images: how many it trains on, which is its weight.
        patients: digests of those it trains on.
        unseen: digests of those it only judges with.
        constant: factors that are the same for all its images.
        data: digest of pixels and factors.
        root: Merkle root over the pixels.
    """

    name: str
    images: int
    patients: tuple[str, ...]
    unseen: tuple[str, ...]
    constant: tuple[str, ...]
    data: str
    root: str
    schema_json: dict[str, Any]
    space_json: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def schema(self) -> Schema:
        return Schema.from_json(self.schema_json)

    @property
    def space(self) -> Space:
        return Space.from_json(self.space_json)

    @staticmethod
    def of(name: str, cohort: Cohort, valid: Cohort | None) -> "Facts":
        """Told by a site of its own images."""
        if len(cohort) < LEAST:
            held = f"has {len(cohort)} images" if len(cohort) else "is empty"
            raise FitError(f"site {name!r} {held}; leave it out, or give it at least {LEAST} images")
        if valid is not None:
            require_disjoint(cohort, valid, names=(f"the images of {name}", "its valid images"))
        seen, unseen = (_patients(part) for part in (cohort, valid))
        constant = tuple(factor for factor in cohort.schema.names if cohort.table[factor].nunique() < 2)
        return Facts(name, len(cohort), seen, unseen, constant, cohort_digest(cohort), manifest_root(cohort), cohort.schema.to_json(), cohort.space.to_json(),
                     _bare(cohort.provenance.to_json()))  # fmt: skip

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def from_json(text: str) -> "Facts":
        told = json.loads(text)
        return Facts(**{**told, **{name: tuple(told[name]) for name in ("patients", "unseen", "constant")}})

    def record(self) -> Provenance:
        """The origin of the site's images, with the digests of what was learnt from."""
        origin = Provenance.from_json(self.provenance)
        return Provenance(origin.kind, self.name if origin.source == self.name else f"{self.name}: {origin.source}", recipe=origin.recipe, seed=origin.seed,
                          digests={**origin.digests, "data": self.data, "root": self.root}, code=origin.code, licence=origin.licence,
                          parents=origin.parents)  # fmt: skip


def _bare(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record of origin without the conditions by which rows were chosen, since they may name patients."""
    recipe, parents = dict(record["recipe"]), [_bare(parent) for parent in record["parents"]]
    if "steps" in recipe:
        recipe["steps"] = [{**step, **({"where": "a condition"} if "where" in step else {})} for step in recipe["steps"]]
    return {**record, "recipe": recipe, "parents": parents}


def _patients(cohort: Cohort | None) -> tuple[str, ...]:
    return () if cohort is None else tuple(sorted(map(patient_digest, cohort.table["patient_id"].unique())))


def require_together(sites: Mapping[str, Facts]) -> None:
    """Raise unless these sites can train one generator.

    Raises:
        FitError: fewer than two sites.
        SchemaError: other factors at one site; the difference is named.
        DataError: other sizes, channels or windows.
        LeakageError: a patient who stands at two sites, or is trained on here and judged with there.
    """
    if len(sites) < 2:
        only = f"only {next(iter(sites))!r}" if sites else "none"
        raise FitError(f"{only} of the sites can be trained with; give two or more, or use recipe.fit(...) on one cohort")
    first = next(iter(sites.values()))
    for other in list(sites.values())[1:]:
        if other.schema != first.schema:
            ours, theirs = ({repr(factor) for factor in site.schema.factors} for site in (first, other))
            differing = [f"{site.name!r} alone has {', '.join(sorted(alone))}" for site, alone in ((first, ours - theirs), (other, theirs - ours)) if alone]
            raise SchemaError(f"sites {first.name!r} and {other.name!r} have different factors ({'; '.join(differing) or 'in another order'}); "
                              "load both with one and the same factors=")  # fmt: skip
        apart = first.space.difference(other.space)
        if apart:
            raise DataError(f"sites {first.name!r} and {other.name!r} have different images ({apart}); load both with the same size= and window=")
    for one, other in combinations(sites.values(), 2):
        shared = {"trained on at both": set(one.patients) & set(other.patients), "judged with at the second": set(one.patients) & set(other.unseen),
                  "judged with at the first": set(one.unseen) & set(other.patients)}  # fmt: skip
        for what, both in shared.items():
            if both:
                raise LeakageError(f"{len(both)} patients of site {one.name!r} stand at site {other.name!r} too ({what}); leave them out at one of them, or, "
                                   "if they are different people, make their patient ids different")  # fmt: skip
