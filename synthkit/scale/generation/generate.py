"""`generate`: any number of images from a fitted generator, in memory that does not grow with their number."""
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import move, rmtree
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.environment import environment
from synthkit.core.files import write_manifest
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.provenance import Provenance
from synthkit.core.store import is_saved, load, per_shard, save
from synthkit.errors import AbilityError, DataError, StoreError
from synthkit.generators.base import cohort_digest
from synthkit.generators.drawing import by_heart, rejection_note
from synthkit.generators.generator import Generator
from synthkit.scale.generation.crew import Crew, crew_for
from synthkit.scale.generation.job import Job
from synthkit.scale.generation.journal import Journal
from synthkit.scale.generation.place import Place
from synthkit.scale.generation.places import place_at
from synthkit.scale.generation.progress import Progress
from synthkit.scale.generation.requests import FILE, Requests
from synthkit.scale.generation.result import Generation
from synthkit.scale.generation.worker import GENERATOR, JOB, REFUSED

SHARD = 1024  # images, fewer where they are large


def generate(
    generator: Generator | str | Path, table: pd.DataFrame | str | Path, *, out: str | Path, seed: int, n: int | None = None, engine: str = "local",
    workers: int | None = None, shard_size: int | None = None, device: str = "auto", threads: int = 1, reject_copies_of: Cohort | str | Path | None = None,
) -> Generation:  # fmt: skip
    """Draw images for a table of requests and save them shard by shard as a cohort, in memory that does not grow with their number.

    A process that was killed goes on where it stopped when the same call is made again, and ends with the same files. Engine, workers and shard size change
    no image.

    Args:
        generator: fitted, or the folder of a saved one.
        table: a DataFrame, or a CSV, TSV or Parquet file, which is read in pieces; columns as for `Generator.sample`.
        out: a new or empty folder, or an address such as "s3://bucket/folder" whose driver is installed.
        seed: with the same seed, row key and factors the same image comes out.
        n: images altogether; the requests are asked again and again in their order, each time for another image, or only the first ones. One per row when
            left out.
        engine: "local" or "ray" (the cluster that RAY_ADDRESS names, else one that is started here).
        workers: processes, one GPU each; left out, one per GPU, or one on a CPU.
        shard_size: images per file; left out, up to 1,024 (64 MB at most).
        device: "auto" (all GPUs, else the CPU), "cpu", "cuda", or some of them, "cuda:0,cuda:2".
        threads: of every worker; recorded, since they decide the last bit.
        reject_copies_of: as for `Generator.sample`; a cohort or its folder. The workers have a copy of it in the cache of this machine (with Ray on theirs)
            until all is finished.
    Returns:
        What was made; `.cohort` reads it when it is asked for.
    Raises:
        SchemaError: a request that cannot be drawn, by its row; nothing was drawn then.
        StoreError: another generation in that folder, another process that writes there, or no room; what is finished is kept.
        AbilityError: workers that die again and again, or nothing but copies.
    Example:
        many = sk.generate(gen, "requests.csv", out="million", seed=0, n=1_000_000, workers=8)
    """
    require_kind("generator", generator, (Generator, str, Path), "a fitted generator, or the folder of a saved one")
    began, fitted = time.monotonic(), generator if isinstance(generator, Generator) else Generator.load(generator)
    _require_numbers(n, shard_size)
    refused, place = _refused(reject_copies_of, fitted), place_at(out)
    place.require_free()
    with TemporaryDirectory(prefix="synthkit-") as folder:
        requests, told = Requests.read(table, fitted, seed=seed, n=n, folder=Path(folder))
        crew = crew_for(engine, workers=workers, device=device, threads=threads)
        size = int(shard_size or min(SHARD, per_shard(fitted.space)))
        job = Job(fitted.identity(), told, len(requests) if n is None else int(n), int(seed), crew.kind, int(threads),
                  "" if refused is None else cohort_digest(refused), environment(), size)  # fmt: skip
        with _explained(place), place.alone(), _explained(place):
            drawn = 0
            if not _finished(place, job):
                journal = Journal.opened(place, job, sized=shard_size is not None)
                _prepare(place, journal.job, fitted, refused, Path(folder) / FILE)
                drawn = _drawn(place, journal, crew)
                _finish(place, journal, fitted)
            return Generation.of(place.name, place.manifest(), drawn=drawn, seconds=time.monotonic() - began)


def _require_numbers(n: int | None, shard_size: int | None) -> None:
    for name, value in (("n", n), ("shard_size", shard_size)):
        if value is not None:
            require_number(name, value, "a whole number of 1 or more", whole=True)
            if value < 1:
                raise DataError(f"{name}={value}: give a whole number of 1 or more")


def _refused(given: Cohort | str | Path | None, generator: Generator) -> Cohort | None:
    """The cohort whose copies are rejected."""
    if given is None:
        return None
    found = load(Path(given)) if isinstance(given, (str, Path)) else given
    require_kind("reject_copies_of", found, Cohort, "the cohort whose images may not come out again, usually train, or its folder")
    if not generator.space.matches(found.space):
        raise DataError(f"reject_copies_of holds other images than the generator makes: {generator.space.difference(found.space)}")
    return found


def _finished(place: Place, job: Job) -> bool:
    """Whether the place holds this job's cohort; StoreError where it holds another."""
    manifest = place.manifest()
    if manifest is None:
        return False
    last = (manifest["provenance"]["recipe"].get("steps") or [{}])[-1]
    if last.get("job") != job.identity or manifest["images"] != job.images - last.get("left_out", 0):
        raise StoreError(f"{place.name} holds a cohort that another generator, table, seed or number of images gave, or that was not made by generate; give "
                         "another folder")  # fmt: skip
    place.clear()
    return True


def _prepare(place: Place, job: Job, generator: Generator, refused: Cohort | None, requests: Path) -> None:
    """What the workers need, in one folder."""
    work = place.work
    rmtree(place.stage, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    move(requests, work / FILE)
    generator.save(work / GENERATOR)
    if refused is not None and not is_saved(work / REFUSED):
        save(refused, work / REFUSED)
    write_manifest(work / JOB, job.to_json())


def _drawn(place: Place, journal: Journal, crew: Crew) -> int:
    """Have all open shards drawn; answers how many requests were answered."""
    before, open_shards = journal.requests, journal.open()
    progress = Progress(journal.job.images, there=before, rejected=journal.rejected)
    try:
        for drawn, folder in crew.draw(place.work, place.stage, open_shards):
            place.take(folder, drawn.names)
            journal.enter(drawn)
            progress.add(drawn.requests, rejected=journal.rejected)
    finally:
        progress.close()
    return journal.requests - before


def _finish(place: Place, journal: Journal, generator: Generator) -> None:
    """One manifest over all shards, and nothing else left."""
    job, record = journal.job, Provenance.from_json(journal.first.provenance)
    apart = {"rejected": journal.rejected, "left_out": journal.left_out} if job.refused else {}
    if journal.left_out == job.images:
        place.clear()
        raise by_heart(generator.card.name, job.images)
    notes = (rejection_note(record.recipe["reject_copies_of"], journal.rejected, journal.left_out, job.images),) if journal.rejected else ()
    space = generator.space.sixteen_bit()
    table = pd.DataFrame(columns=["image_id", "patient_id", *generator.schema.names])
    record = record.step(job=job.identity, requests=job.requests, images=job.images, **apart)
    nothing = Cohort.of(np.empty((0, *space.shape), space.dtype), table, schema=generator.schema, space=space, provenance=record, notes=notes)
    place.finish(replace(nothing, notes=notes), journal.shards())
    place.clear()


@contextmanager
def _explained(place: Place) -> Iterator[None]:
    """What the machine lacks, as one clear error."""
    try:
        yield
    except (StoreError, AbilityError):
        raise
    except (MemoryError, torch.cuda.OutOfMemoryError) as error:
        raise AbilityError("a worker ran out of memory; what is finished is kept: give fewer workers or a smaller shard_size, and make the same call "
                           "again") from error  # fmt: skip
    except OSError as error:
        raise StoreError(f"{place.name} cannot be written ({error.strerror or error}); what is finished is kept and whole: make room, and make the same call "
                         "again, which goes on where it stopped") from error  # fmt: skip
