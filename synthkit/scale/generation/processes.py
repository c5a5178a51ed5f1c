"""Workers in processes of this machine, one per device; one that dies is started again."""
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue, SimpleQueue
from threading import Event, Thread
from typing import Any

from synthkit.scale.generation.crew import TRIES, Crew, desk
from synthkit.scale.generation.drawn import Drawn
from synthkit.scale.generation.failures import given_up, raised, told_of

MODULE = "synthkit.scale.generation.process"  # what a worker runs
LAST = 3  # lines of what a dead worker said


class Processes(Crew):
    """Several processes.

    Args:
        devices: of each worker.
        threads: of each worker.
    """

    def __init__(self, devices: Sequence[str], *, threads: int):
        self.devices, self.threads, self.kind, self.size = devices, threads, devices[0].split(":")[0], len(devices)

    def draw(self, work: Path, stage: Path, numbers: Sequence[int]) -> Iterator[tuple[Drawn, Path]]:
        todo: SimpleQueue[int] = SimpleQueue()
        for number in numbers:
            todo.put(number)
        stop, answers = Event(), Queue(maxsize=2 * self.size)
        clerks = [Clerk(work, desk(stage, place), device, place, self.threads, stop) for place, device in enumerate(self.devices[: len(numbers)])]
        for clerk in clerks:
            Thread(target=clerk.serve, args=(todo, answers), daemon=True).start()
        try:
            for _ in numbers:
                told, folder = answers.get()
                yield raised(told), folder
        finally:
            stop.set()
            for clerk in clerks:
                clerk.end()


@dataclass(eq=False)
class Clerk:
    """A thread of this process that keeps one worker busy.

    Args:
        work: folder of the job.
        folder: where the worker writes.
        place: number of the worker.
        stop: set when nothing is wanted any more.
    """

    work: Path
    folder: Path
    device: str
    place: int
    threads: int
    stop: Event
    worker: "subprocess.Popen[str] | None" = None

    def serve(self, todo: "SimpleQueue[int]", answers: "Queue[tuple[dict[str, Any], Path]]") -> None:
        """Have shards drawn until there are no more, or until one fails."""
        told: dict[str, Any] = {}
        while not self.stop.is_set() and "error" not in told:
            try:
                told = self._insist(todo.get_nowait())
            except Empty:
                break
            except (OSError, MemoryError) as error:
                told = told_of(error)  # no process could be started
            self._hand_in(told, answers)
        self.end()

    def _hand_in(self, told: dict[str, Any], answers: "Queue[tuple[dict[str, Any], Path]]") -> None:
        """Wait with the answer until there is room for it, unless nothing is wanted any more."""
        while not self.stop.is_set():
            try:
                return answers.put((told, self.folder), timeout=1)
            except Full:
                continue

    def end(self) -> None:
        """Stop the worker."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.kill()
            worker.wait()

    def _insist(self, number: int) -> dict[str, Any]:
        """The answer of a worker, started again where it dies."""
        for _ in range(TRIES):
            told = None if self.stop.is_set() else self._ask(number)
            if told is not None:
                return told
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if self._log.exists() else []
        return given_up(self.device, number, " / ".join(said[-LAST:]))

    def _ask(self, number: int) -> dict[str, Any] | None:
        """One answer, or None where the worker died."""
        if self.worker is None:
            self.worker = self._start()
        worker = self.worker
        try:
            worker.stdin.write(f"{number}\n")
            worker.stdin.flush()
            line = worker.stdout.readline()
            return json.loads(line)
        except (OSError, ValueError):
            self.end()
            return None

    @property
    def _log(self) -> Path:
        return self.work / f"worker-{self.place}.log"

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", MODULE, str(self.work), self.device, str(self.folder)]
        # Networks that are named by import path must be found there too.
        paths = os.pathsep.join([str(Path(__file__).parents[3]), *filter(None, sys.path)])
        env = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "PYTHONPATH": paths}
        with open(self._log, "w", encoding="utf-8") as log:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env, text=True, encoding="utf-8")
