"""Whether a saved cohort still is what was saved: every byte, every record, the tree over them, and who signed it."""
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import checked, sealed
from synthkit.core.kinds import require_kind
from synthkit.core.lineage import read_record, records
from synthkit.core.merkle import leaf, root
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance
from synthkit.core.result import Tabled
from synthkit.core.schema import Schema
from synthkit.core.signing import Signature, fingerprint, read_public, trusted
from synthkit.core.space import Space
from synthkit.core.store import LOCK, MANIFEST, is_saved, manifest_of, named, read_tables, shard_files
from synthkit.errors import StoreError, SynthkitError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FAILED, UNSIGNED, PASSED = "failed", "unsigned", "as saved"
COLUMNS = ("part", "result", "detail")
BROKEN = (SynthkitError, ValueError, LookupError, TypeError, AttributeError, OSError, EOFError)  # what reading a changed file may raise


@dataclass(frozen=True, eq=False, repr=False)
class Verification(Tabled):
    """What was checked of a saved cohort: `part`, `result` ("as saved", "unsigned", "failed") and `detail`, one row per finding."""

    @property
    def passed(self) -> bool:
        """Whether nothing differs from what was saved; an unsigned cohort passes, and says so."""
        return bool((self.rows["result"] != FAILED).all())

    def figure(self) -> "Figure":
        from plotly.graph_objects import Bar, Figure

        counts = self.rows["result"].value_counts()
        return Figure(Bar(x=counts.index, y=counts.to_numpy()), layout={"title": self.title, "yaxis_title": "findings"})


def verify(folder: str | Path, *, key: str | Path | None = None) -> Verification:
    """Read a saved cohort again from its bytes, and compare all of it with what its manifest, records and signature say.

    Args:
        folder: of `Cohort.save`.
        key: public key of who must have signed it (a `signing.pub`); left out, this machine's own key and those it trusts (`synthkit keys`).
    Raises:
        StoreError: no saved cohort there, or no public key in the file.
    """
    require_kind("folder", folder, (str, Path), "the folder of a saved cohort")
    require_kind("key", key, (str, Path, type(None)), "the file of a public key")
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise StoreError(f"{place} is no folder; give that of a saved cohort")
    if not is_saved(place) and not any(place.glob("*.parquet")):
        manifest_of(place)  # says that nothing was saved there
    rows = [*_found(place, None if key is None else read_public(Path(key)), trusted())]
    bad = sum(row[1] == FAILED for row in rows)
    title = f"Verification of {place.name}: " + (f"{bad} finding(s) differ from what was saved" if bad else "all is as it was saved")
    notes = () if any(row[0] == "signature" and row[1] == PASSED for row in rows) else (
        "Without a signature by a known key, whoever can write to the folder could have made another cohort of it, whole in itself.",)  # fmt: skip
    return Verification(title, pd.DataFrame(rows, columns=[*COLUMNS]), notes)


def _found(folder: Path, key: str | None, known: Collection[str]) -> Iterator[tuple[str, str, str]]:
    try:
        manifest = manifest_of(folder)
        yield _written(folder, manifest)
        yield _signature(manifest, key, known)
        yield from _strays(folder, manifest)
        yield from _content(folder, manifest)
    except BROKEN as error:
        yield "manifest", FAILED, f"it cannot be followed to the end: {error if isinstance(error, SynthkitError) else repr(error)}"


def _written(folder: Path, manifest: dict[str, Any]) -> tuple[str, str, str]:
    """Whether the manifest is, byte for byte, what `Cohort.save` writes of its content."""
    rest, given = _apart(manifest)
    plain = {} if given is None else {"signature": {name: bytes.fromhex(given[name]).hex() for name in ("key", "value")}}
    if sealed(rest | plain) != (folder / MANIFEST).read_bytes():
        return "manifest", FAILED, "it is written otherwise than it was saved"
    return "manifest", PASSED, f"{manifest['images']} images, Merkle root {manifest['root']}"


def _apart(manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str] | None]:
    """What is signed, and the signature."""
    return {name: value for name, value in manifest.items() if name != "signature"}, manifest.get("signature")


def _content(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Shard by shard, then all together."""
    leaves: list[bytes] = []
    ids: Counter[str] = Counter()
    for number, shard in enumerate(manifest["shards"]):
        found = [*_shard(folder, manifest, number, leaves, ids)]
        yield from found or [(f"shard {number}", PASSED, f"{shard['images']} images: pixels, table and records")]
    try:
        checked(folder, manifest["skipped"])
    except StoreError as error:
        yield "skipped", FAILED, str(error)
    twice = [name for name, count in ids.items() if count > 1]
    if twice:
        yield "records", FAILED, f"{len(twice)} image(s) stand there more than once (first: {twice[0]!r})"
    if root(leaves) != manifest["root"] or len(leaves) != manifest["images"]:
        yield "root", FAILED, f"the images give {root(leaves)} over {len(leaves)}, not the root of the manifest"


def _signature(manifest: dict[str, Any], key: str | None, known: Collection[str]) -> tuple[str, str, str]:
    rest, given = _apart(manifest)
    if given is None:
        return ("signature", FAILED if key else UNSIGNED, "nobody signed it" + (", and a key was asked for" if key else "; `synthkit keys` makes a key"))
    signature = Signature(given["key"], given["value"])
    name = fingerprint(signature.key)
    if not signature.holds(sealed(rest)):
        return "signature", FAILED, f"it is not what key {name} signed"
    if key is not None and signature.key != key:
        return "signature", FAILED, f"it is signed by key {name}, not by {fingerprint(key)}"
    if key is None and signature.key not in known:
        return "signature", FAILED, f"it is signed by key {name}, which is not known here; compare it with its owner, then `synthkit keys --trust FILE`"
    return "signature", PASSED, f"ed25519, key {name}"


def _strays(folder: Path, manifest: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    own = {*named(manifest), LOCK}
    yield from (("folder", FAILED, f"{name} does not lie in the folder of the cohort") for name in sorted(own) if Path(name).name != name)
    for path in sorted(folder.iterdir()):
        if path.name not in own:
            yield "folder", FAILED, f"{path.name} is not part of the cohort; move it away"
        elif path.name == LOCK and path.stat().st_size:
            yield "folder", FAILED, f"{LOCK} holds something; it was empty"


def _shard(folder: Path, manifest: dict[str, Any], number: int, leaves: list[bytes], ids: Counter[str]) -> Iterator[tuple[str, str, str]]:
    """What is wrong with one shard; its leaves and image ids are added to those before it."""
    shard, name, whole = manifest["shards"][number], f"shard {number}", True
    for entry, kind in shard_files({"shards": [shard]}):
        try:
            checked(folder, entry)
        except StoreError as error:
            whole = False
            yield f"{name}, {kind}", FAILED, str(error)
    if not whole:
        return
    try:
        kept, made = read_tables([folder / shard["records"]["file"]]), [*_records_of(folder, manifest, shard)]
    except BROKEN as error:
        yield name, FAILED, f"it cannot be read ({error!r})"
        return
    here = [leaf(one) for one in made]
    told = [one.encode() for one in kept["record"]]
    wrong = [read_record(one)["image_id"] for one, other in zip(made, told) if one != other]
    if wrong or len(made) != len(told):
        yield f"{name}, records", FAILED, f"{max(len(wrong), abs(len(made) - len(told)))} record(s) do not fit their images (first: {(wrong or ['?'])[0]!r})"
    if root(here) != shard["root"] or len(here) != shard["images"]:
        yield f"{name}, root", FAILED, "its images do not give the root that was saved"
    leaves += here
    ids.update(kept["image_id"])


def _records_of(folder: Path, manifest: dict[str, Any], shard: dict[str, Any]) -> Iterator[bytes]:
    """The records as they follow from pixels, table, quality control and provenance."""
    space = Space.from_json(manifest["space"])
    pixels = Pixels([np.load(folder / shard["pixels"]["file"], mmap_mode="r", allow_pickle=False)], space)
    table = read_tables([folder / shard["table"]["file"]])
    part = Cohort(pixels, table, Schema.from_json(manifest["schema"]), Provenance.from_json(manifest["provenance"]))
    return records(part, qc=read_tables([folder / shard["qc"]["file"]]) if "qc" in shard else None)
