"""Channels that an image lacks, such as the CT of a patient who only had an MR: named in the table, so that they follow the row everywhere."""
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from synthkit.core.pixels import Pixels
from synthkit.core.space import Space
from synthkit.errors import DataError

if TYPE_CHECKING:
    from synthkit.core.cohort import Cohort

COLUMN = "missing_channels"
BETWEEN = "|"


def missing_channels(cohort: "Cohort") -> np.ndarray:
    """(N, C) bool: where an image lacks a channel, as the column `missing_channels` ("CT|FLAIR") tells.

    Raises:
        DataError: the column names a channel that the images do not have, or all of them.
    """
    names = [channel.name for channel in cohort.space.channels]
    missing = np.zeros((len(cohort), len(names)), bool)
    if COLUMN not in cohort.table:
        return missing
    for row, text in enumerate(cohort.table[COLUMN].fillna("").astype(str)):
        for name in filter(None, text.split(BETWEEN)):
            missing[row, channel_numbers(cohort.space, [name], what=f"column {COLUMN}")[0]] = True
    if missing.all(1).any():
        raise DataError(f"image {cohort.table['image_id'].iloc[int(missing.all(1).argmax())]!r} lacks all its channels; leave it out")
    return missing


def hide_channels(cohort: "Cohort", channels: Sequence[str], *, rows: np.ndarray | None = None) -> "Cohort":
    """The cohort with channels marked as missing, their pixels blanked, so that nothing of them is learnt or read.

    Args:
        channels: names, such as ["CT"].
        rows: (N,) bool, whose; all when left out.
    Raises:
        DataError: unknown channel, nothing left, or rows of another length.
    """
    numbers = channel_numbers(cohort.space, channels, what="channels")
    rows = np.ones(len(cohort), bool) if rows is None else np.asarray(rows)
    if rows.dtype != bool or rows.shape != (len(cohort),):
        raise DataError(f"rows: got {rows.dtype} of shape {rows.shape}; give a bool per image, ({len(cohort)},)")
    missing = missing_channels(cohort)
    missing[np.ix_(rows, numbers)] = True
    raw, blank = cohort.images.raw(), np.array([channel.low for channel in cohort.space.channels])
    raw = np.where(missing.reshape(*missing.shape, *(1,) * cohort.space.dims), blank.reshape(-1, *(1,) * cohort.space.dims), raw).astype(raw.dtype)
    return marked(cohort, Pixels([raw], cohort.space), missing)


def marked(cohort: "Cohort", images: Pixels, missing: np.ndarray) -> "Cohort":
    """The cohort with other images of the same rows, and these channels named as missing."""
    from dataclasses import replace

    names = [channel.name for channel in images.space.channels]
    texts = [BETWEEN.join(name for name, gone in zip(names, row) if gone) for row in missing]
    done = replace(cohort, images=images, table=cohort.table.assign(**{COLUMN: texts}))
    missing_channels(done)
    return done


def require_whole(cohort: "Cohort", verb: str) -> None:
    """Raise DataError if an image lacks a channel."""
    gone = missing_channels(cohort).any(1)
    if gone.any():
        raise DataError(f"cannot {verb} {int(gone.sum())} of {len(cohort)} images that lack a channel ({cohort.table[COLUMN][gone].iloc[0]}); "
                        "draw it with Generator.complete(cohort, seed=...), or leave them out")  # fmt: skip


def channel_numbers(space: Space, names: Sequence[str], *, what: str) -> list[int]:
    """The places of channels by name; DataError for a name that is none, a bare string, or nothing."""
    known = [channel.name for channel in space.channels]
    if isinstance(names, str) or not len(names):
        raise DataError(f"{what}: got {names!r}; give a list of names, such as [{known[-1]!r}]")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(f"{what}: no channel {unknown[0]!r}; the images have {', '.join(known)}")
    return [known.index(name) for name in names]
