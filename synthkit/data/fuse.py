"""Modalities that were loaded one by one, as channels of the same patients."""
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.missing import marked
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import DataError, SchemaError

REGISTERED = "Modalities were laid over each other voxel by voxel; whether they are registered was not checked: look, for instance with sk.view(a, beside=b)."


def fuse(modalities: Mapping[str, Cohort], *, by: str = "patient_id") -> Cohort:
    """One cohort with a channel per modality. Who lacks one has it in the column `missing_channels`, and may be completed (`Generator.complete`).

    Args:
        modalities: {name of the channel: cohort of one channel}, registered and on one grid: nothing is resampled here.
        by: column that says which images belong together; "study_uid" where patients were imaged more than once.
    Raises:
        DataError: fewer than two modalities, images of several channels, another size or spacing, or two images of one patient.
        SchemaError: a factor that is defined otherwise in another cohort, or no such column.

    Example:
        heads = sk.fuse({"T1": sk.load("t1", size=64), "CT": sk.load("ct", size=64)})
    """
    require_kind("modalities", modalities, Mapping, 'cohorts by name, such as {"T1": t1, "CT": ct}')
    for name, cohort in modalities.items():
        require_kind(f"modalities[{name!r}]", cohort, Cohort, "a cohort, as sk.load(...) answers")
    if len(modalities) < 2:
        raise DataError(f"modalities: got {len(modalities)}; give two or more")
    space, schema = _space(modalities), _schema(modalities)
    rows = {name: _rows(name, cohort, by) for name, cohort in modalities.items()}
    keys = list(dict.fromkeys(key for found in rows.values() for key in found))
    images = np.empty((len(keys), *space.shape), space.dtype)
    images[:] = np.array([channel.low for channel in space.channels]).reshape(-1, *(1,) * space.dims)
    missing = np.ones((len(keys), len(space.channels)), bool)
    place_of = {key: place for place, key in enumerate(keys)}
    for number, (name, cohort) in enumerate(modalities.items()):
        places = np.array([place_of[key] for key in rows[name]], int)
        alone = replace(space, channels=(space.channels[number],))
        images[places, number] = alone.to_raw(cohort.images.tensor()).astype(space.dtype)[:, 0]
        missing[places, number] = False
    table, said = _table(modalities, rows, keys, schema)
    notes = tuple(dict.fromkeys((REGISTERED, *said, *(note for cohort in modalities.values() for note in cohort.notes))))
    origin = Provenance.merge(tuple(cohort.provenance for cohort in modalities.values()))
    whole = Cohort(Pixels([images], space), table, schema, origin, notes)
    return marked(whole, whole.images, missing) if missing.any() else whole


def _space(modalities: Mapping[str, Cohort]) -> Space:
    (first, head), *others = modalities.items()
    for name, cohort in modalities.items():
        if len(cohort.space.channels) != 1:
            raise DataError(f"{name}: its images have the channels {', '.join(c.name for c in cohort.space.channels)}; give cohorts of one channel each")
    for name, cohort in others:
        apart = [f"{what} {a} and {b}" for what, a, b in (("size", head.space.size, cohort.space.size), ("spacing", *_spacings(head, cohort))) if a != b]
        if apart:
            raise DataError(f"{first} and {name} lie on different grids ({'; '.join(apart)}): nothing is resampled unasked; load both with the same "
                            "size= and spacing_mm=")  # fmt: skip
    channels = tuple(replace(cohort.space.channels[0], name=name) for name, cohort in modalities.items())
    return replace(head.space, channels=channels).sixteen_bit()


def _spacings(one: Cohort, other: Cohort) -> tuple[object, object]:
    found = [cohort.space.spacing_mm and tuple(round(step, 3) for step in cohort.space.spacing_mm) for cohort in (one, other)]
    return found[0], found[1]


def _schema(modalities: Mapping[str, Cohort]) -> Schema:
    factors, sensitive = {}, []
    for name, cohort in modalities.items():
        for factor in cohort.schema.factors:
            if repr(factors.setdefault(factor.name, factor)) != repr(factor):
                raise SchemaError(f"{factor.name} is {factors[factor.name]!r} in one cohort and {factor!r} in that of {name}; "
                                  "load all with one schema, factors=")  # fmt: skip
        sensitive += cohort.schema.sensitive
    return Schema(tuple(factors.values()), sensitive=tuple(dict.fromkeys(sensitive)))


def _rows(name: str, cohort: Cohort, by: str) -> dict[str, int]:
    """{who: row} of one modality."""
    if by not in cohort.table:
        raise SchemaError(f"by={by!r}: {name} has no such column; it has {', '.join(map(str, cohort.table.columns))}")
    keys = cohort.table[by].astype(str)
    twice = keys[keys.duplicated()]
    if len(twice):
        raise DataError(f"{name}: {by} {twice.iloc[0]!r} has several images; leave one of each, or name a column that tells them apart, by=")
    return {key: row for row, key in enumerate(keys)}


def _table(modalities: Mapping[str, Cohort], rows: Mapping[str, Mapping[str, int]], keys: list[str], schema: Schema) -> tuple[pd.DataFrame, list[str]]:
    """One row per patient: each value from the first modality that knows it, and a note where they disagree."""
    known = [cohort.table.iloc[list(rows[name].values())].set_axis(list(rows[name])).reindex(keys) for name, cohort in modalities.items()]
    columns, said = {}, []
    for column in ("patient_id", *schema.names):
        found = [table[column].astype(object) for table in known if column in table]
        value = found[0]
        for other in found[1:]:
            apart = int((value.notna() & other.notna() & (value != other)).sum())
            if apart:
                said.append(f"{column} differs between modalities for {apart} of {len(keys)}; the first one named counts.")
            value = value.where(value.notna(), other)
        columns[column] = value.where(value.notna(), None).to_numpy()
    return pd.DataFrame({"image_id": keys, **columns}), said
