"""Draws shards: the same code in this process, in another one, or on another machine."""
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.device import threads, usable
from synthkit.core.files import read_manifest
from synthkit.core.pixels import Pixels
from synthkit.core.store import load, per_shard, write_shard
from synthkit.generators.drawing import Refusal, drawn
from synthkit.generators.generator import Generator
from synthkit.scale.generation.drawn import Drawn, encoded
from synthkit.scale.generation.job import Job
from synthkit.scale.generation.requests import Requests

JOB, GENERATOR, REFUSED = "job.json", "generator", "refused"
PIECE = 1024  # images that are drawn at once, fewer where they are large


@dataclass(frozen=True, eq=False)
class Worker:
    """A generator on one device, with the requests of a job.

    Args:
        refusal: what may not come out; None where copies are not looked for.
    """

    job: Job
    generator: Generator
    requests: Requests
    refusal: Refusal | None

    @staticmethod
    def of(folder: Path, device: str) -> "Worker":
        """From the folder that holds a job and all it needs."""
        job = Job(**read_manifest(folder / JOB))
        with threads(job.threads):
            generator = Generator.load(folder / GENERATOR).to(str(usable(device)))
            refusal = Refusal.of(generator, load(folder / REFUSED)) if job.refused else None
        return Worker(job, generator, Requests(folder, generator.schema), refusal)

    def draw(self, number: int, folder: Path) -> Drawn:
        """Draw one shard and write its files into a folder."""
        start, stop = self.job.range_of(number)
        size = min(PIECE, per_shard(self.generator.space))
        with threads(self.job.threads):
            pieces = [self._piece(first, min(first + size, stop)) for first in range(start, stop, size)]
        cohort, told = _whole([piece for piece, _, _ in pieces]), pieces[0][0].provenance.to_json()
        rejected, left_out = (sum(piece[place] for piece in pieces) for place in (1, 2))
        if not len(cohort):
            return Drawn(number, stop - start, rejected, left_out, told, {}, {}, "")
        shard = write_shard(folder, cohort)
        sizes = {entry["file"]: (folder / entry["file"]).stat().st_size for entry in shard.files.values()}
        return Drawn(number, stop - start, rejected, left_out, told, shard.files, sizes, encoded(shard.leaves))

    def _piece(self, start: int, stop: int) -> tuple[Cohort, int, int]:
        """Some images, the number of rejected draws, and of requests left out."""
        keys, wanted = self.requests.take(start, stop)
        if self.refusal is None:
            return drawn(self.generator, keys, wanted, self.job.seed), 0, 0
        done = self.refusal.drawn(self.generator, keys, wanted, self.job.seed)
        return done.cohort, done.rejected, done.left_out


def _whole(pieces: list[Cohort]) -> Cohort:
    """Pieces of one make as one cohort."""
    if len(pieces) == 1:
        return pieces[0]
    raw = np.concatenate([piece.images.raw() for piece in pieces])
    table = pd.concat([piece.table for piece in pieces if len(piece)] or [pieces[0].table], ignore_index=True)
    return replace(pieces[0], images=Pixels([raw], pieces[0].space), table=table)
