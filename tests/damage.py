"""Ways to change a saved cohort: by chance, by whoever can write to the folder, and by whoever knows the format and makes all digests right again."""
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from synthkit.core import store
from synthkit.core.cohort import Cohort
from synthkit.core.files import read_manifest, sealed, write_manifest
from synthkit.core.lineage import canonical_json
from synthkit.core.signing import make_key, sign

CHANGED = ("removed", "added", "moved", "changed")


@dataclass(frozen=True)
class Scene:
    """A folder to damage, the dice, and the configuration folder of somebody else, with a key of his own."""

    folder: Path
    chance: random.Random
    stranger: Path

    @property
    def manifest(self) -> Path:
        return self.folder / store.MANIFEST

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.name != store.LOCK)

    def write(self, manifest: dict[str, Any]) -> None:
        """The manifest with a right seal, and no file that it does not name."""
        write_manifest(self.manifest, manifest)
        for path in self.files():
            if path.name not in store.named(manifest):
                path.unlink()


@contextmanager
def configured(folder: Path) -> Iterator[None]:
    """Keys as of another configuration folder."""
    before = os.environ.get("SYNTHKIT_CONFIG")
    os.environ["SYNTHKIT_CONFIG"] = str(folder)
    try:
        yield
    finally:
        os.environ.pop("SYNTHKIT_CONFIG")
        if before is not None:
            os.environ["SYNTHKIT_CONFIG"] = before


def bytes_changed(scene: Scene) -> str:
    """A bit, a byte, a stretch of zeros, a cut, a byte too many, two bytes exchanged, another blank."""
    chance, path = scene.chance, scene.chance.choice(scene.files())
    data, way = bytearray(path.read_bytes()), scene.chance.choice(("bit", "byte", "zeros", "cut", "grown", "exchanged", "blank"))
    place = chance.randrange(len(data))
    if way == "bit":
        data[place] ^= 1 << chance.randrange(8)
    elif way == "byte":
        data[place] = chance.randrange(256)
    elif way == "zeros":
        stretch = range(place, min(len(data), place + chance.randrange(1, 64)))
        data[place : place + len(stretch)] = bytes(len(stretch))
    elif way == "cut":
        data = data[:place]
    elif way == "grown":
        data.insert(place, chance.randrange(256))
    elif way == "exchanged":
        other = chance.randrange(len(data))
        data[place], data[other] = data[other], data[place]
    else:
        blanks = [at for at, byte in enumerate(data) if byte in b" \n"] or [0]
        data[chance.choice(blanks)] = ord("\t")
    path.write_bytes(bytes(data))
    return f"{way}: {path.name}"


def files_changed(scene: Scene) -> str:
    """A file removed, added, renamed, or two exchanged."""
    chance, path, way = scene.chance, scene.chance.choice(scene.files()), scene.chance.choice(("removed", "added", "renamed", "exchanged"))
    if way == "removed":
        path.unlink()
    elif way == "added":
        number = chance.randrange(10**9)
        name = chance.choice(("notes.txt", ".hidden", "cohort.json.bak", f"pixels-{number}.npy", f"table-{number}.parquet", "more/x"))
        (scene.folder / name).parent.mkdir(exist_ok=True)
        (scene.folder / name).write_bytes(path.read_bytes())
    elif way == "renamed":
        path.rename(path.with_name(f"{path.stem}x{path.suffix}"))
    else:
        other = chance.choice(scene.files())
        one, two = path.read_bytes(), other.read_bytes()
        path.write_bytes(two)
        other.write_bytes(one)
    return f"{way}: {path.name}"


def _rows(table: pd.DataFrame, way: str, chance: random.Random) -> pd.DataFrame:
    """A table with a row removed, added, moved or changed."""
    row = chance.randrange(len(table))
    if way == "removed":
        return table.drop(index=row)
    if way == "added":
        return pd.concat([table, table.iloc[[row]].assign(image_id="new")], ignore_index=True)
    if way == "moved":
        order = [number for number in range(len(table)) if number != row]
        order.insert((row + chance.randrange(1, len(table))) % len(table), row)
        return table.iloc[order]
    column = chance.choice([name for name in table.columns if name != "image_id"])
    value = table[column].iloc[row]
    if pd.api.types.is_bool_dtype(table[column].dtype) or not pd.api.types.is_numeric_dtype(table[column].dtype):
        return table.assign(**{column: [f"{one}x" if number == row else one if one is None else str(one) for number, one in enumerate(table[column])]})
    return table.assign(**{column: [(0 if pd.isna(value) else value) + 1 if number == row else one for number, one in enumerate(table[column])]})


def _table_file(scene: Scene, *, digests: bool) -> str:
    manifest = read_manifest(scene.manifest)
    shard = scene.chance.choice(manifest["shards"])
    kind, way = scene.chance.choice([kind for kind in ("table", "records", "qc") if kind in shard]), scene.chance.choice(CHANGED)
    path = scene.folder / shard[kind]["file"]
    data = _rows(pd.read_parquet(path), way, scene.chance).to_parquet(index=False)
    if digests:
        shard[kind] = store.put(scene.folder, kind, ".parquet", data)
        scene.write(manifest)
    else:
        path.write_bytes(data)
    return f"{kind}, row {way}"


def rows_changed(scene: Scene) -> str:
    """A row of table, records or quality control, with the digests as they were."""
    return _table_file(scene, digests=False)


def rows_changed_with_digests(scene: Scene) -> str:
    """The same, with the digests of the files and the seal made right again."""
    return _table_file(scene, digests=True)


def records_edited(scene: Scene) -> str:
    """A value inside a record, with digests."""
    manifest = read_manifest(scene.manifest)
    shard = scene.chance.choice(manifest["shards"])
    table = pd.read_parquet(scene.folder / shard["records"]["file"])
    row = scene.chance.randrange(len(table))
    before = text = table["record"][row]
    while text == before:  # 1 and 1.0 are the same in a record
        record = json.loads(before)
        what = _leaf(record, scene.chance)
        text = canonical_json(record).decode()
    table.loc[row, "record"] = text
    shard["records"] = store.put(scene.folder, "records", ".parquet", table.to_parquet(index=False))
    scene.write(manifest)
    return f"record {what}"


def pixels_changed(scene: Scene) -> str:
    """A pixel, or the order of the images, with digests."""
    manifest = read_manifest(scene.manifest)
    shard, way = scene.chance.choice(manifest["shards"]), scene.chance.choice(("one", "order", "type"))
    raw = np.load(scene.folder / shard["pixels"]["file"])
    if way == "one":
        raw.reshape(-1)[scene.chance.randrange(raw.size)] ^= 1
    elif way == "order":
        raw = raw[::-1]
    else:
        raw = raw.astype(np.int32)
    shard["pixels"] = store.put(scene.folder, "pixels", ".npy", store._npy(np.ascontiguousarray(raw)))
    scene.write(manifest)
    return f"pixels, {way}"


def shards_changed(scene: Scene) -> str:
    """Shards left out, doubled or in another order, with digests and counts."""
    manifest, way = read_manifest(scene.manifest), scene.chance.choice(("removed", "doubled", "moved", "without quality control"))
    number = scene.chance.randrange(len(manifest["shards"]))
    if way == "removed":
        del manifest["shards"][number]
    elif way == "doubled":
        manifest["shards"].append(manifest["shards"][number])
    elif way == "moved":
        manifest["shards"].append(manifest["shards"].pop(number))
    else:
        manifest["shards"][number].pop("qc", None)
    manifest["images"] = sum(one["images"] for one in manifest["shards"])
    scene.write(manifest)
    return f"shard {way}"


def _leaf(data: Any, chance: random.Random, path: str = "") -> str:
    """Change one value somewhere in nested JSON."""
    names = [*data] if isinstance(data, dict) else [*range(len(data))]
    name = chance.choice(names)
    value, here = data[name], f"{path}/{name}"
    if isinstance(value, (dict, list)) and value and chance.random() < 0.9:
        return _leaf(value, chance, here)
    way = chance.choice(("gone", "other", "other", "other", "retyped"))
    if way == "gone":
        del data[name]
    elif way == "retyped":
        data[name] = float(value) if isinstance(value, int) else value.upper() if isinstance(value, str) else [value]
    elif isinstance(value, bool) or not isinstance(value, (int, float, str)):
        data[name] = "other"
    else:
        data[name] = value + 1 if isinstance(value, (int, float)) else f"{value[:-1]}{'0' if value[-1:] != '0' else '1'}"
    return f"{here} {way}"


def manifest_edited(scene: Scene) -> str:
    """A value anywhere in the manifest, or a name too many, or their order, with a right seal."""
    manifest, way = read_manifest(scene.manifest), scene.chance.choice(("value", "value", "value", "name", "order"))
    what = way
    if way == "value":
        what = _leaf(manifest, scene.chance)
    elif way == "name":
        scene.chance.choice([manifest, manifest["shards"][0], manifest.get("signature", manifest)])["remark"] = "checked"
    else:
        manifest = dict(scene.chance.sample([*manifest.items()], len(manifest)))
    scene.manifest.write_bytes(sealed(manifest))
    return f"manifest {what}"


def manifest_edited_without_seal(scene: Scene) -> str:
    """A value in the manifest, with the seal as it was."""
    seal, manifest = json.loads(scene.manifest.read_text())["seal"], read_manifest(scene.manifest)
    what = _leaf(manifest, scene.chance)
    scene.manifest.write_text(json.dumps({**manifest, "seal": seal}, indent=1, ensure_ascii=False))
    return f"manifest {what}, no seal"


def signature_changed(scene: Scene) -> str:
    """The signature alone: another bit, other letters, the key of somebody else, or his signature under the owner's key."""
    manifest, way = read_manifest(scene.manifest), scene.chance.choice(("bit", "letters", "key", "forged", "gone"))
    given = manifest.pop("signature")
    with configured(scene.stranger):
        his = vars(sign(sealed(manifest)))
    flipped = bytearray.fromhex(given["value"])
    flipped[scene.chance.randrange(64)] ^= 1 << scene.chance.randrange(8)
    made = {"bit": {**given, "value": flipped.hex()}, "letters": {**given, "value": given["value"].upper()}, "key": {**given, "key": his["key"]},
            "forged": {**given, "value": his["value"]}, "gone": None}[way]  # fmt: skip
    write_manifest(scene.manifest, manifest | ({"signature": made} if made else {}))
    return f"signature {way}"


def _other(cohort: Cohort, way: str, chance: random.Random) -> Cohort:
    """The cohort with something changed."""
    row, table = chance.randrange(len(cohort)), cohort.table.copy()
    if way == "image removed":
        return cohort[[number for number in range(len(cohort)) if number != row]]
    if way == "images moved":
        return cohort[[*range(row, len(cohort)), *range(row)]] if row else cohort[::-1]
    if way == "image added":
        more = cohort[[row]]
        return cohort + replace(more, table=more.table.assign(image_id="new"))
    if way == "sex changed":
        table.loc[row, "sex"] = "F" if table["sex"][row] == "M" else "M"
        return replace(cohort, table=table)
    if way == "pixel changed":
        raw = cohort.images.raw().copy()
        raw[row].reshape(-1)[chance.randrange(raw[row].size)] ^= 1
        return Cohort.of(raw, table, schema=cohort.schema, space=cohort.space, provenance=cohort.provenance, notes=cohort.notes)
    if way == "licence changed":
        return replace(cohort, provenance=replace(cohort.provenance, licence="CC BY 4.0"))
    return replace(cohort, notes=(*cohort.notes, "Checked by a radiologist."))


OTHERS = ("image removed", "images moved", "image added", "sex changed", "pixel changed", "licence changed", "note added")


def _remade(scene: Scene, signature: str) -> str:
    """A cohort saved anew, whole in itself, with a signature of the given kind."""
    way = scene.chance.choice(OTHERS)
    owners = read_manifest(scene.manifest).get("signature")
    place = scene.folder.with_name(f"{scene.folder.name}-made")
    with configured(scene.stranger if signature in ("foreign", "forged") else scene.stranger / "none"):
        _other(store.load(scene.folder), way, scene.chance).save(place)
    manifest = read_manifest(place / store.MANIFEST)
    if signature == "old":
        manifest["signature"] = owners
    elif signature == "forged":
        manifest["signature"]["key"] = owners["key"]
    write_manifest(place / store.MANIFEST, manifest)
    shutil.rmtree(scene.folder)
    place.rename(scene.folder)
    return f"made anew, signature {signature}: {way}"


def made_anew_under_the_old_signature(scene: Scene) -> str:
    return _remade(scene, "old")


def made_anew_and_signed_by_a_stranger(scene: Scene) -> str:
    return _remade(scene, "foreign")


def made_anew_under_a_forged_signature(scene: Scene) -> str:
    return _remade(scene, "forged")


def made_anew_without_signature(scene: Scene) -> str:
    """Found only by who knows that it must be signed: `verify(..., key=...)`."""
    return _remade(scene, "gone")


WAYS: tuple[Callable[[Scene], str], ...] = (
    bytes_changed, files_changed, rows_changed, rows_changed_with_digests, records_edited, pixels_changed, shards_changed, manifest_edited,
    manifest_edited_without_seal, signature_changed, made_anew_under_the_old_signature, made_anew_and_signed_by_a_stranger,
    made_anew_under_a_forged_signature, made_anew_without_signature,
)  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    """All that a folder holds."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stranger(folder: Path) -> Path:
    """A configuration folder with a key that nobody trusts."""
    with configured(folder):
        make_key()
    return folder


def damaged(good: Path, folder: Path, way: Callable[[Scene], str], chance: random.Random, other: Path) -> str:
    """Copy a saved cohort into `folder` and change the copy, really; answers how."""
    before = content(good)
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(good, folder)
        what = way(Scene(folder, chance, other))
        if content(folder) != before:
            return f"{way.__name__.replace('_', ' ')} ({what})"
