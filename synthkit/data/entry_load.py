"""Loading a catalog entry, by its layout."""
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.imports import class_at
from synthkit.core.schema import Schema
from synthkit.data.arrays import array_pictures, read_arrays
from synthkit.data.assemble import Origin, assemble
from synthkit.data.catalog import digests
from synthkit.data.entry import Entry
from synthkit.data.folder import by_index
from synthkit.data.options import Options
from synthkit.data.picture import Picture
from synthkit.data.resize import fit
from synthkit.data.tables import read_table
from synthkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from synthkit.phantoms.phantom import Phantom

CATALOG_SEED = 1  # subjects that the shipped generator was not trained on (those of seed 0)
OTHER_COPY = "{} is not the copy whose digest the catalog records: it may hold other images (`synthkit data check {}` compares)."


def available(one: Entry) -> bool:
    """Whether it can be loaded now, without a download."""
    return one.get == "embedded" or (one.get == "package" and find_spec("nilearn") is not None) or one.local_folder() is not None


def _phantom(one: Entry, size: int) -> "Phantom":
    from synthkit.phantoms.phantom import Phantom

    return class_at(one.source, Phantom)(size=size)


@cache
def schema_of(one: Entry) -> Schema:
    """Its factors; a phantom declares its own."""
    return _phantom(one, one.size[0]).schema if one.layout == "phantom" else one.schema


def load(one: Entry, options: Options) -> Cohort:
    """The cohort of an entry."""
    for argument, value in (("table", options.table), ("join", options.join), ("patient", options.patient)):
        if value is not None:
            raise DataError(f"{argument}= has no effect on {one.name!r}: the catalog declares it. Give the folder's path to load it your own way")
    return LAYOUTS[one.layout](one, options)


def _load_phantom(one: Entry, options: Options) -> Cohort:
    sizes = options.target_size(len(one.size)) or one.size
    if len(set(sizes)) > 1 or options.spacing_mm is not None or options.window is not None:
        raise DataError(f"{one.name} has equal sides and is made to size: give one number as size= (it was {options.size}), no spacing_mm= and no window=")
    cohort = _phantom(one, sizes[0]).cohort(one.images, seed=CATALOG_SEED)
    named = options.factors.factors if isinstance(options.factors, Schema) else cohort.schema.names if options.factors is None else options.factors
    schema = cohort.schema.only(tuple(factor if isinstance(factor, str) else factor.name for factor in named))
    return replace(cohort, schema=schema, notes=tuple(dict.fromkeys((*cohort.notes, *one.notes))))


def _wanted(one: Entry, options: Options) -> Options:
    """The declared factors, or those that the caller names (declared ones as declared, others inferred)."""
    if isinstance(options.factors, Schema):
        return replace(options, patient=one.patient)
    named = one.schema if options.factors is None else [one.schema[f] if isinstance(f, str) and f in one.schema else f for f in options.factors]
    return replace(options, patient=one.patient, factors=named)


def _load_arrays(one: Entry, options: Options) -> Cohort:
    folder = one.local_folder() or _fetch(one)
    stack = read_arrays(next(folder / file for file in one.files if file.endswith(".npz")))
    rows, notes = stack.table, ()
    if "metadata.csv" in one.files:
        rows, notes = by_index(read_table("metadata.csv", folder), len(stack.values), join=None)
    rows = rows.rename(columns=dict(one.columns))
    pictures, skips = array_pictures(stack, options, channel=one.channel)
    rows = rows.iloc[[int(picture.files[0].removeprefix("row ")) for picture in pictures]].reset_index(drop=True)
    found = {file: digests(folder / file) for file in one.files}
    other = [file for file, known in one.files.items() if not any(f"{kind}:{value}" in known for kind, value in found[file].items())]
    caveats = (OTHER_COPY.format(" and ".join(other), one.name),) if other else ()
    origin = Origin(one.name, one.layout, one.licence, {file: found[file]["sha256"] for file in one.files}, False, (*one.notes, *notes, *caveats))
    return assemble(pictures, rows, skips, _wanted(one, options), origin)


def _fetch(one: Entry) -> Path:
    """Download a published file into the cache, checked by its digest."""
    if not one.download:
        raise DataError(
            f"{one.name} is not on this machine. Download it from {one.address} (terms: {one.terms}) and unpack it, then run\n"
            f"  synthkit data prepare {one.name} --from FOLDER\n"
            f"A copy that is already prepared is found with SYNTHKIT_DATA set to the folder that holds {one.folder}/"
        )
    import pooch

    file, known = next(iter(one.files.items()))
    target = one.target_folder()
    try:
        pooch.retrieve(one.download, known_hash=known[0], fname=file, path=target)
    except Exception as error:  # of the network library underneath, whatever it is
        raise DataError(
            f"{one.name} could not be downloaded ({type(error).__name__}). Download {one.download} by hand, save it as {target / file}, or set "
            f"SYNTHKIT_DATA to the folder that holds {one.folder}/{file}"
        ) from error
    return target


def _load_package(one: Entry, options: Options) -> Cohort:
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise MissingExtraError(f"{one.name} comes with nilearn, which is not installed: pip install nilearn") from error
    from synthkit.data.nifti import volume

    pixels, channel, spacing = volume(load_mni152_template(resolution=2), window=options.window)
    template = Picture(pixels, (replace(channel, name=one.channel),), ("template",), one.name, spacing_mm=spacing)
    rows = pd.DataFrame({"image_id": [one.name]})
    origin = Origin(one.name, one.layout, one.licence, {}, False, one.notes)
    return assemble([fit(template, options)], rows, [], _wanted(one, options), origin)


LAYOUTS: dict[str, Callable[[Entry, Options], Cohort]] = {
    "phantom": _load_phantom, "package": _load_package, "arrays": _load_arrays, "medmnist": _load_arrays,
}  # fmt: skip
