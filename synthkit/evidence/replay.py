"""Images made again from their lineage: the same bytes, nearly the same, or not."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.environment import environment
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.provenance import Provenance, pixel_digest
from synthkit.core.randomness import permutation
from synthkit.core.result import Tabled
from synthkit.core.store import manifest_of
from synthkit.errors import AbilityError, DataError, SynthkitError
from synthkit.evidence.given import cohort_of
from synthkit.evidence.making import remade
from synthkit.generators.generator import Generator

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GRADES = EXACT, TOLERANT, FAILED, NOT_REPLAYED = ("EXACT", "TOLERANT", "FAILED", "NOT REPLAYED")
LIKE = 40.0  # dB of PSNR from which on an image counts as the same but for rounding
SHOWN = 16  # of a version or digest
MEANING = (f"EXACT: the same stored integers. TOLERANT: at least {LIKE:g} dB of peak signal to noise, as other hardware or libraries give. FAILED: another "
           "image. NOT REPLAYED: nothing here can make it again, and the reason.")  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Replay(Tabled):
    """Images made again: `image_id`, `grade`, `max_abs` (difference on 0..255), `psnr` (dB, infinite where equal) and `reason`."""

    @property
    def verdict(self) -> str:
        """The worst grade of any image."""
        return max(self.rows["grade"], key=GRADES.index)

    @property
    def passed(self) -> bool:
        """Whether every image came out again, in all its bytes or nearly."""
        return self.verdict in (EXACT, TOLERANT)

    def figure(self) -> "Figure":
        from plotly.graph_objects import Bar, Figure

        counts = self.rows["grade"].value_counts().reindex([*GRADES]).dropna()
        return Figure(Bar(x=counts.index, y=counts.to_numpy()), layout={"title": self.title, "yaxis_title": "images"})


def replay(
    cohort: str | Path | Cohort, *, n: int = 64, generators: Sequence[Generator | str | Path] = (), sources: Cohort | None = None, seed: int = 0
) -> Replay:
    """Make some images of a cohort again from what their lineage says, and compare the stored integers.

    Args:
        cohort: folder of `Cohort.save`, or the cohort.
        n: how many images to choose by chance; all where there are fewer.
        generators: fitted generators or their folders, to be looked for by the digest of their weights; those that ship with synthkit are always looked at.
        sources: the originals of edited images.
        seed: of the choice.
    Raises:
        DataError: an empty cohort, or one in which nothing was made here, such as a real one.
        AbilityError: not one image could be replayed, and why.
    """
    require_number("n", n, "a whole number of 1 or more", whole=True)
    saved = cohort_of("cohort", cohort)
    if not len(saved) or n < 1:
        raise DataError(f"n={n} of {len(saved)} images: there is nothing to replay")
    if all(maker.kind == "real" for maker in saved.makers().values()):
        raise DataError(f"{saved.provenance.source} is real: its images were taken, not made, and nothing can make them again")
    require_kind("sources", sources, (Cohort, type(None)), "the cohort with the originals")
    require_kind("generators", generators, (list, tuple), "a list of fitted generators or their folders")
    chosen = saved[np.sort(permutation(len(saved), seed=seed, identity="replay", stream="replay")[:n])]
    known, rows, keys = [_opened(one) for one in generators], [], np.array(chosen.made_by())
    for key, maker in chosen.makers().items():
        rows += _compared(chosen[keys == key], maker, known, sources)
    frame = pd.DataFrame(rows)
    if (frame["grade"] == NOT_REPLAYED).all():
        raise AbilityError(f"none of {len(frame)} images can be made again here: {frame['reason'].iloc[0]}")
    saved_with = {} if isinstance(cohort, Cohort) else manifest_of(Path(cohort).expanduser())["saved with"]
    counts = frame["grade"].value_counts()
    said = ", ".join(f"{counts[grade]} {grade}" for grade in GRADES if grade in counts)
    title, notes = f"Replay of {len(frame)} images of {saved.provenance.source}: {said}", (MEANING, *_differences(chosen, saved_with))
    return Replay(title, frame, notes, cohorts={"synthetic": saved})


def _opened(given: Generator | str | Path) -> Generator:
    require_kind("generators", given, (Generator, str, Path), "a list of fitted generators or their folders")
    return given if isinstance(given, Generator) else Generator.load(given)


def _compared(part: Cohort, maker: Provenance, known: Sequence[Generator], sources: Cohort | None) -> list[dict[str, object]]:
    ids = part.table["image_id"].tolist()
    try:
        again = remade(part, maker, known=known, sources=sources)
    except SynthkitError as error:
        return [{"image_id": name, "grade": NOT_REPLAYED, "max_abs": np.nan, "psnr": np.nan, "reason": str(error)} for name in ids]
    rows = []
    for number, name in enumerate(ids):
        was, new = part.images.raw([number])[0], again[number]
        if pixel_digest(was) == pixel_digest(new):
            rows.append({"image_id": name, "grade": EXACT, "max_abs": 0.0, "psnr": np.inf, "reason": ""})
            continue
        apart = (part.space.to_float(was) - part.space.to_float(new)).double() * 127.5
        psnr = float(20 * np.log10(255) - 10 * np.log10(max(float(apart.square().mean()), 1e-12)))
        rows.append({"image_id": name, "grade": TOLERANT if psnr >= LIKE else FAILED, "max_abs": float(apart.abs().max()), "psnr": psnr, "reason": ""})
    return rows


def _differences(cohort: Cohort, saved_with: Mapping[str, str]) -> list[str]:
    """What ran then and what runs now, where they differ; of a phantom it is known only where its cohort was saved."""
    notes, now = [], environment()
    for maker in cohort.makers().values():
        then, did = (maker.recipe["environment"], "ran") if "environment" in maker.recipe else (saved_with, "was saved")
        other = [f"{name} {then[name][:SHOWN]} then, {now.get(name, 'none')[:SHOWN]} now" for name in then if then[name] != now.get(name)]
        notes += [f"{maker.source} {did} elsewhere: {'; '.join(other)}."] if other else []
    return notes
