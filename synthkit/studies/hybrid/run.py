"""All fits of an experiment, in several processes, each stored when it is finished."""
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_number
from synthkit.core.provenance import canonical, digest
from synthkit.errors import DataError
from synthkit.generators.base import cohort_digest
from synthkit.studies.hybrid.arms import Candidate
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.fits import TEST, VALID, Job, fit_key
from synthkit.studies.hybrid.ledger import Ledger
from synthkit.studies.hybrid.pools import Pools


@dataclass(frozen=True, eq=False)
class Run:
    """A design with its images, ready to be trained.

    Args:
        candidates: those whose images could be made.
        jobs: processes.
    """

    design: Design
    candidates: tuple[Candidate, ...]
    pools: Pools
    ledger: Ledger
    jobs: int
    progress: bool

    def added(self, candidate: Candidate) -> Cohort | None:
        """The images that a candidate adds."""
        return self.pools.by_kind[candidate.arm.added].first(self.design.added(candidate.share)) if candidate.share else None

    def distinct(self, candidate: Candidate) -> int:
        """How many of them differ."""
        return self.pools.by_kind[candidate.arm.added].distinct(self.design.added(candidate.share)) if candidate.share else 0

    def all_jobs(self, seeds: tuple[int, ...], *, only: Container[str] | None = None) -> dict[str, list[Job]]:
        """One job per candidate and seed, or those of the candidates in `only`."""
        design = self.design
        common = {"real": cohort_digest(design.images(design.real)), "valid": cohort_digest(design.images(design.valid))}
        pools = {kind: digest(canonical([cohort_digest(pool.rare), cohort_digest(pool.other)])) for kind, pool in self.pools.by_kind.items()}

        def job(candidate: Candidate, seed: int) -> Job:
            arm = candidate.arm
            data = common | ({"added": pools[arm.added]} if candidate.share else {})
            key = fit_key(design.task, arm, candidate.share, seed=seed, steps=design.steps, data=data)
            return Job(self.ledger, key, design.task, arm, design.rare, seed, design.steps)

        return {one.name: [job(one, seed) for seed in seeds] for one in self.candidates if only is None or one.name in only}

    def train(self, jobs: dict[str, list[Job]]) -> dict[str, np.ndarray]:
        """Chances (seeds, n) of the rare class on validation, by candidate; what is finished already is only read."""
        design, left = self.design, {name: [job for job in runs if not self.ledger.has("fit", job.key)] for name, runs in jobs.items()}

        def calls() -> Iterator[tuple[Any, tuple[Any, ...]]]:
            for candidate in self.candidates:
                waiting = left.get(candidate.name, [])
                added = self.added(candidate) if waiting else None
                yield from ((job.fit, (design.images(design.real), added, design.images(design.valid))) for job in waiting)

        self._each(calls(), sum(map(len, left.values())), "classifiers")
        return self._stored(jobs, "fit", VALID, {name: [job.key for job in runs] for name, runs in jobs.items()})

    def test(self, jobs: dict[str, list[Job]]) -> dict[str, np.ndarray]:
        """Chances (seeds, n) of the rare class on the test images, by candidate."""
        test, schema = self.design.images(self.design.test), self.design.schema
        seen = cohort_digest(test)
        keys = {name: [{**job.key, "test": seen} for job in runs] for name, runs in jobs.items()}
        left = [(job, key) for name, runs in jobs.items() for job, key in zip(runs, keys[name]) if not self.ledger.has("test", key)]
        self._each(((job.test, (key, test, schema)) for job, key in left), len(left), "test")
        return self._stored(jobs, "test", TEST, keys)

    def _each(self, calls: Iterator[tuple[Any, tuple[Any, ...]]], count: int, what: str) -> None:
        from joblib import Parallel, delayed
        from tqdm.auto import tqdm

        done = Parallel(n_jobs=self.jobs, return_as="generator")(delayed(act)(*given) for act, given in calls)
        for _ in tqdm(done, total=count, desc=what, unit="fit", mininterval=1.0, disable=not self.progress or not count):
            pass

    def _stored(self, jobs: dict[str, list[Job]], kind: str, name: str, keys: dict[str, list[dict[str, Any]]]) -> dict[str, np.ndarray]:
        return {arm: np.stack([self.ledger.read(kind, key)[name].numpy() for key in keys[arm]]) for arm in jobs}


@contextmanager
def place(run: str | Path | None) -> Iterator[Path]:
    """The run folder, or one that goes when the experiment is over."""
    if run is not None:
        yield Path(run)
        return
    with TemporaryDirectory() as scratch:
        yield Path(scratch)


def processes(jobs: int | None) -> int:
    """How many fits run at the same time: one per processor, or one where there is a GPU."""
    from joblib import cpu_count

    from synthkit.core.device import accelerator

    if jobs is None:
        return 1 if accelerator() == "cuda" else cpu_count()
    require_number("jobs", jobs, "a number of processes, 1 or more, or None for one per processor", whole=True)
    if jobs < 1:
        raise DataError(f"jobs={jobs}: give a number of processes, 1 or more, or None for one per processor")
    return int(jobs)
