"""Who draws: this process, others on this machine, or those of a Ray cluster. All draw the same."""
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from synthkit.core.device import usable
from synthkit.core.kinds import require_number
from synthkit.errors import AbilityError, DataError
from synthkit.scale.generation.drawn import Drawn

ENGINES = ("local", "ray")
TRIES = 3  # deaths over one shard until it is given up


class Crew(ABC):
    """Workers on their devices.

    Attributes:
        kind: of all devices, "cpu" or "cuda".
        size: how many workers.
    """

    kind: str
    size: int

    @abstractmethod
    def draw(self, work: Path, stage: Path, numbers: Sequence[int]) -> Iterator[tuple[Drawn, Path]]:
        """Draw shards of a job, in any order; each with the folder that its files lie in.

        Args:
            work: folder with the job and all it needs.
            stage: folder under which shards are written.
        Raises:
            SynthkitError: what stopped a worker, or AbilityError for workers that die three times over one shard.
        """


def crew_for(engine: str, *, workers: int | None, device: str, threads: int) -> Crew:
    """The workers that are asked for.

    Args:
        workers: one per GPU, or one on a CPU, when left out.
        device: "auto" (all GPUs, else the CPU), "cpu", "cuda" (all GPUs), or some, "cuda:0,cuda:2".
    Raises:
        DataError: an unknown engine, or no whole number of workers and threads.
        AbilityError: a device that is not here, or a cluster that is too small.
        MissingExtraError: Ray is not installed.
    """
    for name, value in (("workers", 1 if workers is None else workers), ("threads", threads)):
        require_number(name, value, "a whole number of 1 or more", whole=True)
        if value < 1:
            raise DataError(f"{name}={value}: give a whole number of 1 or more")
    if engine == "ray":
        from synthkit.scale.generation.cluster import Cluster

        return Cluster.of(workers=workers, device=device, threads=int(threads))
    if engine != "local":
        raise DataError(f"engine {engine!r} is not one of {', '.join(ENGINES)}")
    devices = devices_of(device)
    chosen = [devices[number % len(devices)] for number in range(len(devices) if workers is None else int(workers))]
    if len(chosen) == 1:
        from synthkit.scale.generation.here import Here

        return Here(chosen[0])
    from synthkit.scale.generation.processes import Processes

    return Processes(chosen, threads=int(threads))


def devices_of(device: str) -> list[str]:
    """The devices of this machine that are meant; AbilityError for one that is not here, or for a mixture."""
    import torch

    every = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if device == "auto":
        return every or ["cpu"]
    chosen = [str(usable(name.strip())) for name in str(device).split(",")]
    if chosen == ["cuda"]:
        return every
    if len({name.split(":")[0] for name in chosen}) > 1:
        raise AbilityError(f"device {device!r} mixes kinds, which differ in the last bits of an image; give one kind")
    beyond = [name for name in chosen if name.startswith("cuda:") and name not in every]
    if beyond:
        raise AbilityError(f"device {beyond[0]!r} is not here; there are {', '.join(every)}")
    return chosen


def desk(stage: Path, number: int) -> Path:
    """The folder in which one worker writes."""
    folder = stage / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
