"""Where images come from: immutable records that follow a cohort through every step."""
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from synthkit.errors import DataError

KINDS = ("real", "synthetic", "edited", "mixed")
PATIENT_BYTES = 8


def canonical(data: Any) -> bytes:
    """JSON with sorted keys and no blanks: equal data, equal bytes."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def digest(data: bytes) -> str:
    """sha256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def patient_digest(patient_id: str) -> str:
    """A short digest (8 bytes, hex) by which a patient is known again; whoever knows the id can compute it, so it hides nothing."""
    return digest(patient_id.encode())[: 2 * PATIENT_BYTES]


def pixel_digest(raw: np.ndarray) -> str:
    """sha256 over dtype, shape and bytes of stored pixels (little endian), whatever the file format."""
    raw = np.ascontiguousarray(raw).astype(raw.dtype.newbyteorder("<"), copy=False)
    return digest(canonical([raw.dtype.str, list(raw.shape)]) + raw.tobytes())


@cache
def code_version() -> str:
    """Version of the installed synthkit."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"synthkit {version('synthkit')}"
    except PackageNotFoundError:
        return "synthkit (not installed)"


@dataclass(frozen=True)
class Provenance:
    """One link in a cohort's history.

    Args:
        kind: real, synthetic, edited or mixed.
        source: what a person would call it ("nih-cxr64", "chest phantom").
        recipe: what made it, as JSON.
        seed: of the making, or None.
        digests: {what: sha256}.
        licence: terms that go with the pixels.
        parents: the records this one was made from.
    """

    kind: str
    source: str
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    code: str = field(default_factory=code_version)
    licence: str = "not stated"
    parents: tuple["Provenance", ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"provenance kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if self.seed is not None:
            object.__setattr__(self, "seed", int(self.seed))

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "recipe": dict(self.recipe), "digests": dict(self.digests), "parents": [p.to_json() for p in self.parents]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Provenance":
        return Provenance(**{**data, "parents": tuple(Provenance.from_json(p) for p in data["parents"])})

    def step(self, **what: Any) -> "Provenance":
        """The same origin after a step that only chose rows (a split, a filter): recorded in the recipe."""
        return replace(self, recipe={**self.recipe, "steps": [*self.recipe.get("steps", ()), what]})

    def key(self) -> str:
        """A short digest by which images name their maker; choosing rows does not change it."""
        recipe = {name: value for name, value in self.recipe.items() if name != "steps"}
        return digest(canonical({**self.to_json(), "recipe": recipe}))[:16]

    def all(self) -> Iterator["Provenance"]:
        """This record and all it was made from."""
        yield self
        for parent in self.parents:
            yield from parent.all()

    @staticmethod
    def merge(parts: tuple["Provenance", ...]) -> "Provenance":
        """The record of several cohorts put together; every part stays a parent."""
        distinct = tuple({canonical(p.to_json()): p for p in parts}.values())
        if len(distinct) == 1:
            return distinct[0]
        kinds = {p.kind for p in distinct}
        licences = sorted({p.licence for p in distinct})
        sources = list(dict.fromkeys(p.source for p in distinct))
        return Provenance(kinds.pop() if len(kinds) == 1 else "mixed", " + ".join(sources), licence="; ".join(licences), parents=distinct)

    def lines(self, depth: int = 0) -> list[str]:
        """One indented line per record, for people."""
        text = f"{self.kind}: {self.source}" + (f", seed {self.seed}" if self.seed is not None else "")
        return ["  " * depth + text, *(line for p in self.parents for line in p.lines(depth + 1))]
