"""One record per image: what it is, what it was asked to be, what made it and of what; canonical JSON (RFC 8785) that can be hashed and signed."""
import json
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.merkle import leaf, root
from synthkit.core.provenance import Provenance, digest, pixel_digest

if TYPE_CHECKING:
    from synthkit.core.cohort import Cohort

VERSION = 1
MADE_BY = "made_by"  # column of cohorts that were put together: the key of the record of what made each image
KEYS = ("request_id", "source_id", "draws")  # columns that lead back to a request or an original
SAFE = 2**53 - 1  # integers that JSON numbers hold exactly


def canonical_json(data: Any) -> bytes:
    """The bytes of RFC 8785; blanks of a table become null, and numbers that JSON cannot hold become text."""
    import rfc8785

    return rfc8785.dumps(plain(data))


def plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE else str(value)
    if isinstance(value, float):
        return None if value != value else value if isfinite(value) else str(value)
    return None if pd.isna(value) else str(value)


def records(cohort: "Cohort", *, qc: pd.DataFrame | None = None) -> Iterator[bytes]:
    """The canonical record of every image, in the order of the rows.

    A record holds `image_id`, `pixels` (sha256 over dtype, shape and bytes of the stored integers), `factors`, `row` (sha256 of the whole table row), `qc`
    (sha256 of its row of quality control, or null), the keys of its request or original, and of its maker: `kind`, `source`, `recipe` (family, settings,
    device, batch, environment), `seed`, `digests` (weights), `code`, `licence` and `parents` (what the maker learnt from or edited, with digests).

    Args:
        qc: one row per image, in the same order.
    """
    makers = {key: _encoded(_maker(record)) for key, record in cohort.makers().items()}
    made_by, names = cohort.made_by(), list(cohort.schema.names)
    checks = None if qc is None else qc.to_dict("records")
    for number, row in enumerate(cohort.table.to_dict("records")):
        told = {
            "record": VERSION, "image_id": row["image_id"], "pixels": pixel_digest(cohort.images.raw([number])[0]),
            "row": digest(canonical_json(row)), "factors": {name: row[name] for name in names},
            "qc": None if checks is None else digest(canonical_json(checks[number])),
            **{name: row[name] for name in KEYS if name in row},
        }  # fmt: skip
        yield _joined({**makers[made_by[number]], **_encoded(told)})


def read_record(data: bytes | str) -> dict[str, Any]:
    """A record as a dictionary."""
    return json.loads(data)


def record_digest(record: bytes) -> str:
    """sha256 of a canonical record, in hex: what marks an exported image."""
    return digest(record)


def root_of(records_: list[bytes]) -> str:
    """The Merkle root over canonical records."""
    return root([leaf(record) for record in records_])


def manifest_root(cohort: "Cohort") -> str:
    """The Merkle root over the pixels of a cohort, whatever the order of its images: what a generator says that it learnt from."""
    return root([leaf(bytes.fromhex(one)) for one in sorted(pixel_digest(cohort.images.raw([number])[0]) for number in range(len(cohort)))])


def _maker(record: Provenance) -> dict[str, Any]:
    told = {name: value for name, value in record.to_json().items() if name != "parents"}
    recipe = {name: value for name, value in record.recipe.items() if name != "steps"}
    return {**told, "recipe": recipe, "parents": [{"kind": p.kind, "source": p.source, "digests": dict(p.digests)} for p in record.parents]}


def _encoded(fields: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: canonical_json(value) for name, value in fields.items()}


def _joined(fields: Mapping[str, bytes]) -> bytes:
    """The canonical object of canonical fields, whose names are plain ASCII; most fields are those of the maker and are encoded once."""
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), fields[name]) for name in sorted(fields)) + b"}"
