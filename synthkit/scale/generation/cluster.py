"""Workers of a Ray cluster, or of a Ray that is started on this machine; their shards come back over the network, so that they need share no folder."""
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind
from synthkit.errors import AbilityError, MissingExtraError, SynthkitError
from synthkit.scale.generation.crew import TRIES, Crew, desk, devices_of
from synthkit.scale.generation.drawn import Drawn
from synthkit.scale.generation.failures import given_up, raised, told_of


@dataclass(frozen=True, eq=False)
class Cluster(Crew):
    """Actors of Ray.

    Args:
        kind: "cpu" or "cuda", one GPU per actor.
        size: how many actors.
        threads: of each.
        started: whether Ray was started for this, and is to be stopped afterwards.
    """

    kind: str
    size: int
    threads: int
    started: bool

    @staticmethod
    def of(*, workers: int | None, device: str, threads: int) -> "Cluster":
        """Join the cluster that RAY_ADDRESS names, use the one of this process, or start one here.

        Raises:
            MissingExtraError: Ray is not installed.
            AbilityError: devices that the cluster does not have free, since actors would wait for them for ever.
        """
        require_kind("device", device, str, '"auto", "cpu" or "cuda"')
        if device not in ("auto", "cpu", "cuda"):
            raise AbilityError(f'device {device!r}: Ray chooses the devices itself; give "auto", "cpu" or "cuda"')
        ray = _ray()
        started = not ray.is_initialized()
        if started:
            _start(ray, cpus=max((workers or 1) * threads, os.cpu_count() or 1), gpus=sum(one != "cpu" for one in devices_of("auto")))
        have = ray.available_resources()
        gpus, cpus = int(have.get("GPU", 0)), int(have.get("CPU", 0))
        kind = "cuda" if device == "cuda" or (device == "auto" and gpus) else "cpu"
        room = gpus if kind == "cuda" else cpus // threads
        size = int(workers or (room if kind == "cuda" else 1))
        if not 1 <= size <= room:
            if started:
                ray.shutdown()
            raise AbilityError(f"{size} worker(s) on {kind} of {threads} thread(s) each: {cpus} CPUs and {gpus} GPUs of the cluster are free, room for {room}; "
                               "give fewer workers or threads")  # fmt: skip
        return Cluster(kind, size, threads, started)

    def draw(self, work: Path, stage: Path, numbers: Sequence[int]) -> Iterator[tuple[Drawn, Path]]:
        ray = _ray()
        folder = desk(stage, 0)
        try:
            team = Team(ray, ray.put(_bundle(work)), self)
            for told, files in team.drawn(numbers):
                drawn = raised(told)
                for name, data in files.items():
                    write_atomically(folder / name, data)
                yield drawn, folder
        finally:
            if self.started:
                ray.shutdown()


class Team:
    """The actors of one run; an actor that dies is replaced.

    Args:
        bundle: reference to the files of the job.
    """

    def __init__(self, ray: Any, bundle: Any, cluster: Cluster):
        self.ray, self.bundle, self.cluster, self.deaths = ray, bundle, cluster, {}
        self.kind = ray.remote(max_restarts=0, num_cpus=cluster.threads, num_gpus=int(cluster.kind == "cuda"))(Seat)

    def drawn(self, numbers: Sequence[int]) -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
        """Answers and files, as they come; an actor has the next shard as soon as it is free."""
        todo = list(numbers)[::-1]
        busy = {self._ask(self._hire(), todo) for _ in range(min(self.cluster.size, len(todo)))}
        while busy:
            ready = self.ray.wait([one.answer for one in busy], num_returns=1)[0][0]
            asked = next(one for one in busy if one.answer == ready)
            busy.remove(asked)
            try:
                found = self.ray.get(ready)
            except self.ray.exceptions.RayError as error:
                self.deaths[asked.number] = self.deaths.get(asked.number, 0) + 1
                if self.deaths[asked.number] >= TRIES:
                    yield given_up(self.cluster.kind, asked.number, _said(self.ray, error)), {}
                    return
                todo.append(asked.number)
                busy.add(self._ask(self._hire(), todo))
                continue
            if todo:
                busy.add(self._ask(asked.seat, todo))
            yield found

    def _hire(self) -> Any:
        return self.kind.remote(self.bundle, self.cluster.kind, self.cluster.threads)

    def _ask(self, seat: Any, todo: list[int]) -> "Asked":
        number = todo.pop()
        return Asked(number, seat, seat.draw.remote(number))


@dataclass(frozen=True)
class Asked:
    """A shard that an actor is drawing."""

    number: int
    seat: Any
    answer: Any


class Seat:
    """An actor: unpacks the job where it runs, and draws.

    Args:
        bundle: the files of the job by name.
    """

    def __init__(self, bundle: dict[str, bytes], kind: str, threads: int):
        from tempfile import TemporaryDirectory

        self.place = TemporaryDirectory(prefix="synthkit-")
        self.work, self.kind, self.worker = Path(self.place.name), kind, None
        for name, data in bundle.items():
            write_atomically(self.work / name, data)

    def draw(self, number: int) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The answer, and the files of the shard."""
        from synthkit.scale.generation.worker import Worker

        try:
            self.worker = self.worker or Worker.of(self.work, self.kind)
            folder = desk(self.work / "stage", 0)
            drawn = self.worker.draw(number, folder)
            files = {name: (folder / name).read_bytes() for name in drawn.names}
            for name in files:
                (folder / name).unlink()
            return {"drawn": drawn.to_json()}, files
        except (SynthkitError, OSError, MemoryError) as error:
            return told_of(error), {}


def _said(ray: Any, error: Exception) -> str:
    """The line that tells most: of an error in the code its last one, of a death the first."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1 if isinstance(error, ray.exceptions.RayTaskError) else 0]


def _bundle(work: Path) -> dict[str, bytes]:
    """The files of a job; they travel to every machine once."""
    return {path.relative_to(work).as_posix(): path.read_bytes() for path in work.rglob("*") if path.is_file()}


def _ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError('engine "ray" needs Ray: pip install "synthkit[scale]"') from error
    return ray


def _start(ray: Any, *, cpus: int, gpus: int) -> None:
    """Join the cluster of RAY_ADDRESS, or start Ray on this machine, without dashboard or reports."""
    here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": cpus, "num_gpus": gpus, "include_dashboard": False}
    for last in (False, True):
        try:
            ray.init(log_to_driver=False, configure_logging=False, **here)
            return
        except Exception as error:
            # A bare Exception is what Ray raises where a node needs more than 30 s to start, as on a busy machine.
            ray.shutdown()
            if last or type(error) is not Exception:
                raise AbilityError(f"Ray cannot be started or reached ({error}); see RAY_ADDRESS, or use engine=\"local\"") from error
