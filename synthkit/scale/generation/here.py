"""One worker in this process."""
from collections.abc import Iterator, Sequence
from pathlib import Path

from synthkit.scale.generation.crew import Crew, desk
from synthkit.scale.generation.drawn import Drawn
from synthkit.scale.generation.worker import Worker


class Here(Crew):
    """This process."""

    size = 1

    def __init__(self, device: str):
        self.device, self.kind = device, device.split(":")[0]

    def draw(self, work: Path, stage: Path, numbers: Sequence[int]) -> Iterator[tuple[Drawn, Path]]:
        worker, folder = Worker.of(work, self.device), desk(stage, 0)
        for number in numbers:
            yield worker.draw(number, folder), folder
