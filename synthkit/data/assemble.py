"""A cohort from pictures and their table rows."""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance, pixel_digest
from synthkit.data.clinical import clinical
from synthkit.data.options import Options
from synthkit.data.picture import Picture, Skip
from synthkit.data.pseudonym import pseudonym
from synthkit.data.skipped import nothing_read, skipped_frame, warn_skipped
from synthkit.data.stacking import one_kind, stack
from synthkit.errors import DataError


@dataclass(frozen=True)
class Origin:
    """What a load says of where its images come from.

    Args:
        source: for people; of a user's own folder it names the kind of files, never the folder.
        layout: what was read, for the record.
        licence: terms that go with the pixels.
        digests: {file: sha256} of published files.
        private: whether the images may show patients who must not be named; ids and file names are then coded.
        notes: caveats of the source.
    """

    source: str
    layout: str
    licence: str = "not stated"
    digests: dict[str, str] = field(default_factory=dict)
    private: bool = True
    notes: tuple[str, ...] = ()


def assemble(pictures: Sequence[Picture], rows: pd.DataFrame, skips: Sequence[Skip], options: Options, origin: Origin) -> Cohort:
    """One cohort of the pictures of one kind.

    Args:
        rows: one raw row per picture.
    Raises:
        DataError: nothing could be read, sizes differ, or (strict) files of several kinds.
    """
    if not pictures:
        raise DataError(nothing_read(skips))
    kept, others = one_kind(pictures)
    if others and options.strict:
        raise DataError(f"{others[0].file}: {others[0].reason}. strict=True allows one kind only")
    skips = sorted([*skips, *others], key=lambda skip: skip.file)
    chosen = {picture.files: None for picture in kept}
    rows = rows[[picture.files in chosen for picture in pictures]].reset_index(drop=True)
    block = stack(kept)
    facts = clinical(rows, kept, options, private=origin.private)
    images, repeated = _image_ids(kept, rows, private=origin.private)
    table = facts.table.drop(columns=["image_id", "patient_id"], errors="ignore").reset_index(drop=True)
    table.insert(0, "image_id", images)
    if any(facts.patients):
        table.insert(1, "patient_id", _patient_ids(facts.patients, images, private=origin.private))
    recipe = {"load": {"layout": origin.layout, "size": options.size, "spacing_mm": options.spacing_mm, "window": options.window,
                       "files": sum(len(p.files) for p in kept), "skipped": len(skips)}}  # fmt: skip
    warn_skipped(skips, read=sum(len(p.files) for p in kept))
    return Cohort.of(
        block.raw, table, schema=facts.schema, space=block.space,
        provenance=Provenance(_kind(kept), origin.source, recipe, digests={"pixels": pixel_digest(block.raw), **origin.digests}, licence=origin.licence),
        notes=(*origin.notes, *block.notes, *repeated, *facts.notes), skipped=skipped_frame(skips, private=origin.private),
    )  # fmt: skip


def _kind(pictures: Sequence[Picture]) -> str:
    """Real, unless the files say that they are synthetic."""
    said = {picture.synthetic for picture in pictures}
    return "mixed" if len(said) == 2 else "synthetic" if True in said else "real"


def _image_ids(pictures: Sequence[Picture], rows: pd.DataFrame, *, private: bool) -> tuple[list[str], tuple[str, ...]]:
    """Unique ids: coded for private images, else those of the table."""
    if not private:
        named = rows["image_id"].astype(str).tolist() if "image_id" in rows else []
        return (named if len(set(named)) == len(pictures) else [f"{i:06d}" for i in range(len(pictures))]), ()
    times = Counter(picture.identity for picture in pictures)
    identities = [p.identity if times[p.identity] == 1 else f"{p.identity} in {p.files[0]}" for p in pictures]
    twice = sum(count for count in times.values() if count > 1)
    note = f"{twice} images are copies of each other (the same bytes or the same SOP Instance UID): they may stand on both sides of a split."
    return [pseudonym("image", identity) for identity in identities], (note,) if twice else ()


def _patient_ids(patients: Sequence[str | None], images: Sequence[str], *, private: bool) -> list[str]:
    coded = {name: pseudonym("patient", name) if private else str(name) for name in set(patients) - {None}}
    return [image if name is None else coded[name] for name, image in zip(patients, images)]
