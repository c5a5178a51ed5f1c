"""A cohort described in Croissant 1.1, so that other tools find, check and read it: its files by digest, its rows with types, how it was made."""
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.files import checked, file_digest, write_atomically
from synthkit.core.kinds import require_kind
from synthkit.core.lineage import plain
from synthkit.core.schema import Category, Factor
from synthkit.core.store import MANIFEST, is_saved, load, manifest_of, shard_files
from synthkit.errors import DataError, StoreError
from synthkit.export.begin import destination, unwritten
from synthkit.export.croissant_context import CONTEXT
from synthkit.export.croissant_records import PLACE, pictures_of, write_records
from synthkit.export.responsible import NOT_STATED, responsible

DESCRIPTION, RECORDS, SAVED = "croissant.json", "records.parquet", "cohort"
ROWS = "images"  # the record set
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
FORMATS = {".parquet": "application/x-parquet", ".json": "application/json", ".npy": "application/x-npy"}
KINDS = {"pixels": "stored integers (N, C, [D,] H, W)", "table": "the clinical table", "records": "one canonical record of lineage per image",
         "qc": "quality control per image", "skipped": "files that could not be read", "cohort": "manifest of the saved cohort"}  # fmt: skip


def to_croissant(
    cohort: Cohort | str | Path, folder: str | Path, *, name: str | None = None, biases: str | Sequence[str] = (),
    limitations: str | Sequence[str] = (), more: Mapping[str, Any] | None = None,
) -> Path:  # fmt: skip
    """Describe a cohort in Croissant 1.1 with its responsible-AI properties; `mlcroissant` validates it and reads its rows.

    The folder then holds the saved cohort (`cohort`, as of `Cohort.save`), `records.parquet` with a row per image (the table, where its pixels lie, and
    2D images as PNG), and `croissant.json`, which names every file by sha256. What is not known is left out, or says "not stated".

    Args:
        cohort: the cohort, or the folder of a saved one inside `folder`, which is then described where it lies.
        folder: new, empty, or of the same cohort.
        name: of the data set; the cohort's source when left out.
        biases, limitations: what its owner knows, beside what is counted.
        more: further properties, such as {"creator": {"@type": "Organization", "name": "…"}, "citeAs": "…", "datePublished": "2026-11-30", "url": "…"}.
    Returns:
        The path of croissant.json.
    Raises:
        DataError: no image, a folder with something else, a property that follows from the cohort, or no room.
        StoreError: a saved cohort that is damaged.

    Example:
        sk.to_croissant(fake, "out/croissant", more={"rai:dataUseCases": ["Teaching"]})
    """
    require_kind("cohort", cohort, (Cohort, str, Path), "a cohort, or the folder of a saved one")
    _require_told(name, biases, limitations, more)
    place = destination(folder)
    found, saved = (cohort, place / SAVED) if isinstance(cohort, Cohort) else _lying(Path(cohort).expanduser(), place)
    if not len(found):
        raise DataError("to_croissant: the cohort is empty; give one image or more")
    told = _properties(found, name, biases, limitations, more or {})
    try:
        if isinstance(cohort, Cohort):
            _require_own(found, place)
            found.save(saved)
        manifest = manifest_of(saved)
        inside = saved.relative_to(place).as_posix()
        write_records(found, place / RECORDS, [(f"{inside}/{shard['pixels']['file']}", shard["images"]) for shard in manifest["shards"]])
        told |= {"distribution": [_records_file(place), *_files(place, saved, manifest)], "recordSet": [_record_set(found)]}
        write_atomically(place / DESCRIPTION, json.dumps(plain(told), indent=1, ensure_ascii=False).encode())
    except StoreError:
        raise
    except OSError as error:
        raise unwritten(place, "to_croissant", error) from error
    return place / DESCRIPTION


def _require_told(name: object, biases: object, limitations: object, more: object) -> None:
    require_kind("name", name, (str, type(None)), "the data set's name")
    for what, said in (("biases", biases), ("limitations", limitations)):
        require_kind(what, said, Sequence, "a sentence, or a list of them")
    require_kind("more", more, (Mapping, type(None)), 'a mapping, such as {"citeAs": "…"}')


def _lying(saved: Path, place: Path) -> tuple[Cohort, Path]:
    """A saved cohort inside the folder that is to describe it."""
    found = load(saved)
    saved, inside = saved.resolve(), place.resolve()
    if inside not in saved.parents:
        beside = "and a description names files that lie beside it"
        raise DataError(f"to_croissant: {str(saved)!r} does not lie inside {str(place)!r}, {beside}; give folder={str(saved.parent)!r}")
    return found, place / saved.relative_to(inside)


def _require_own(cohort: Cohort, place: Path) -> None:
    """Refuse a folder with anything but an earlier, or broken off, description of the same cohort."""
    there = [path.name for path in place.iterdir() if not path.name.startswith(".")] if place.is_dir() else []
    others = sorted({*there} - {DESCRIPTION, RECORDS, SAVED})
    if others:
        raise DataError(f"to_croissant: {str(place)!r} holds other files ({others[0]}); give a new or empty folder")
    if is_saved(place / SAVED) and not manifest_of(place / SAVED)["root"].startswith(cohort.version):
        raise DataError(f"to_croissant: {str(place)!r} holds another cohort; give a new or empty folder")


def _properties(cohort: Cohort, name: str | None, biases: str | Sequence[str], limitations: str | Sequence[str], more: Mapping[str, Any]) -> dict[str, Any]:
    """All but files and rows."""
    kind, source = cohort.provenance.kind, cohort.provenance.source
    patients = cohort.table["patient_id"].nunique()
    made = {
        "@context": CONTEXT, "@type": "sc:Dataset", "name": name or source, "conformsTo": list(CONFORMS_TO),
        "description": f"{kind.capitalize()} medical images: {source}. {len(cohort)} images of {patients} patients.", "license": cohort.provenance.licence,
        "version": f"1.0.0+{cohort.version}", "keywords": ["medical imaging", kind], "isLiveDataset": False, **responsible(cohort, biases, limitations),
    }  # fmt: skip
    free = {"description", *(key for key, value in made.items() if value in (NOT_STATED, [NOT_STATED]))}
    fixed = [key for key in more if key in {*made, "distribution", "recordSet"} - free]
    if fixed:
        raise DataError(f"more: {fixed[0]!r} follows from the cohort and cannot be given; what can: description, creator, citeAs, datePublished, url …")
    return made | dict(more)


def _records_file(place: Path) -> dict[str, Any]:
    return _file(RECORDS, file_digest(place / RECORDS), "one row per image: the clinical table, where the pixels lie, and 2D images as PNG")


def _files(place: Path, saved: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """All files of the saved cohort, each of which is still what was saved."""
    inside, entries = saved.relative_to(place).as_posix(), [*shard_files(manifest), (manifest["skipped"], "skipped")]
    found = {checked(saved, entry).name: _file(f"{inside}/{entry['file']}", entry["sha256"], KINDS[kind]) for entry, kind in entries}
    return [_file(f"{inside}/{MANIFEST}", file_digest(saved / MANIFEST), KINDS["cohort"]), *found.values()]


def _file(path: str, digest: str, what: str) -> dict[str, Any]:
    return {"@type": "cr:FileObject", "@id": quote(path), "name": path, "description": what, "contentUrl": path, "encodingFormat": FORMATS[Path(path).suffix],
            "sha256": digest}  # fmt: skip


def _record_set(cohort: Cohort) -> dict[str, Any]:
    fields = [_field(str(column), _type_of(cohort.table[column]), _meaning(cohort, str(column))) for column in cohort.table.columns]
    fields += [_field(PLACE[0], "sc:Text", "file of the stored integers"), _field(PLACE[1], "sc:Integer", "row of the image in that file")]
    fields += [_field(one.name, "sc:ImageObject", "the stored integers as PNG, with the image's record") for one in pictures_of(cohort.space)]
    return {"@type": "cr:RecordSet", "@id": ROWS, "name": ROWS, "description": "One row per image.", "key": {"@id": f"{ROWS}/image_id"}, "field": fields}


def _field(column: str, kind: str, meaning: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{ROWS}/{quote(column)}", "name": column, "description": meaning, "dataType": kind,
            "source": {"fileObject": {"@id": RECORDS}, "extract": {"column": column}}}  # fmt: skip


def _type_of(values: pd.Series) -> str:
    is_a = pd.api.types
    kinds = {"sc:Boolean": is_a.is_bool_dtype, "sc:Integer": is_a.is_integer_dtype, "sc:Float": is_a.is_float_dtype,
             "sc:DateTime": is_a.is_datetime64_any_dtype}  # fmt: skip
    return next((name for name, fits in kinds.items() if fits(values.dtype)), "sc:Text")


def _meaning(cohort: Cohort, column: str) -> str:
    """What a column holds, as its schema says."""
    if column not in cohort.schema:
        return {"image_id": "id of the image", "patient_id": "id of the patient"}.get(column, f"column {column} of the table")
    factor: Factor = cohort.schema[column]
    within = f"one of {', '.join(factor.levels)}" if isinstance(factor, Category) else f"{factor.low:g} to {factor.high:g} {factor.unit}".rstrip()
    only = "".join(f"; only where {name} is {level}" for name, level in factor.when.items())
    return f"factor {column}: {within}{only}" + ("; sensitive" if column in cohort.schema.sensitive else "")
