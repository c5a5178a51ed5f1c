"""A worker in a process of its own: numbers of shards come in line by line, answers go out as JSON lines.

    python -m synthkit.scale.generation.process WORK DEVICE STAGE
"""
import json
import os
import sys
import traceback
from pathlib import Path
from queue import SimpleQueue
from threading import Thread

from synthkit.errors import SynthkitError
from synthkit.scale.generation.failures import told_of


def answer(work: Path, device: str, stage: Path, numbers: "SimpleQueue[int]") -> None:
    """Draw what is asked for, for as long as somebody asks."""
    # What libraries print must not come between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = None
    try:
        while True:
            number = numbers.get()
            try:
                if worker is None:
                    from synthkit.scale.generation.worker import Worker

                    worker = Worker.of(work, device)
                told = {"drawn": worker.draw(number, stage).to_json()}
            except (SynthkitError, OSError, MemoryError) as error:
                told = told_of(error)
            out.write(json.dumps(told) + "\n")
            out.flush()
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    """Draw the shards whose numbers come by standard input, until it closes."""
    numbers: SimpleQueue[int] = SimpleQueue()
    arguments = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), numbers
    Thread(target=answer, args=arguments, daemon=True).start()
    for line in sys.stdin:
        numbers.put(int(line))
    # Nobody asks any more, perhaps since that process was killed: what is being drawn is for nobody.
    os._exit(0)


if __name__ == "__main__":
    main()
