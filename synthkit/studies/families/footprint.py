"""What a generator costs to use: time and memory, each measured in a fresh process that does nothing else."""
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.store import load as load_cohort
from synthkit.errors import SynthkitError
from synthkit.generators.generator import BATCH, Generator

LOOK_SECONDS = 0.002
TRIALS = 5
LIMIT_SECONDS = 900


@dataclass(frozen=True)
class Footprint:
    """Measured costs.

    Args:
        seconds: per image, one value for each timed run of one full batch (warm).
        batch: images of a run.
        sampling_bytes: most memory while a batch is sampled, on top of what the libraries take; weights are counted in.
        training_bytes: the same for two training steps of one batch; None where it was not measured.
        device: where.
        threads: of the processor.
    """

    seconds: tuple[float, ...]
    batch: int
    sampling_bytes: int
    training_bytes: int | None
    device: str
    threads: int


def footprint(generator: Generator, like: Cohort, *, training: bool) -> Footprint | str:
    """Measure in processes of their own; the reason in words where that cannot be done (a family that another process cannot import).

    Args:
        like: images to take a batch of; their factors are the requests.
        training: also the memory of training, which starts a second process.
    """
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generator.save(folder / "generator")
        batch = max(BATCH.get(generator.device.type, BATCH["cpu"]), generator.recipe.batch_size, 4)
        like[:batch].save(folder / "cohort")
        try:
            used = _asked(folder, "sample")
            taught = _asked(folder, "train")["bytes"] if training else None
        except _Refused as error:
            return str(error)
    return Footprint(tuple(used["seconds"]), used["batch"], used["bytes"], taught, used["device"], used["threads"])


class _Refused(Exception):
    """The process gave no answer."""


def _asked(folder: Path, what: str) -> dict[str, object]:
    command = [sys.executable, "-m", "synthkit.studies.families.footprint", str(folder), what, str(torch.get_num_threads())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        raise _Refused(f"no answer within {LIMIT_SECONDS} s") from None
    if done.returncode:
        raise _Refused((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return json.loads(done.stdout.strip().splitlines()[-1])


class Peak:
    """The most memory of this process, looked at every 2 ms by another thread; on a GPU what torch itself counts."""

    def __init__(self, device: torch.device):
        self.device, self.most, self.done = device, 0, threading.Event()

    def look(self) -> None:
        process = psutil.Process()
        while not self.done.is_set():
            self.most = max(self.most, process.memory_info().rss)
            self.done.wait(LOOK_SECONDS)

    @contextmanager
    def watched(self) -> Iterator[None]:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            yield
            self.most = torch.cuda.max_memory_allocated(self.device)
            return
        before = psutil.Process().memory_info().rss
        watcher = threading.Thread(target=self.look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            self.done.set()
            watcher.join()
        self.most = max(0, self.most - before)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _sampled(folder: Path) -> dict[str, object]:
    import safetensors.torch  # noqa: F401  its memory, like that of reading tables, is not the generator's

    cohort, peak = load_cohort(folder / "cohort"), Peak(_device())
    with peak.watched():
        generator = Generator.load(folder / "generator")
        requests = cohort.table.head(BATCH.get(generator.device.type, BATCH["cpu"]))
        generator.sample(requests, seed=0)
    seconds = []
    for trial in range(TRIALS):
        began = time.perf_counter()
        generator.sample(requests, seed=trial)
        seconds.append((time.perf_counter() - began) / len(requests))
    return {"seconds": seconds, "batch": len(requests), "bytes": peak.most, "device": generator.device.type, "threads": torch.get_num_threads()}


def _trained(folder: Path) -> dict[str, object]:
    import synthkit.training.trainer  # noqa: F401  its libraries are not the training's memory
    from synthkit.core.budget import Steps

    recipe, cohort = Generator.load(folder / "generator").recipe, load_cohort(folder / "cohort")
    peak = Peak(_device())
    with peak.watched():
        recipe.fit(cohort[: max(4, recipe.batch_size)], budget=Steps(2), seed=0)
    return {"bytes": peak.most}


def main(folder: str, what: str, threads: str) -> None:
    """Measure what is asked and print it as JSON."""
    torch.set_num_threads(int(threads))
    try:
        print(json.dumps({"sample": _sampled, "train": _trained}[what](Path(folder))))
    except SynthkitError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
