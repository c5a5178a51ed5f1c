"""The append-only log of a reading: one JSON line per answer, each sealed with the digest of all before it.

The seal shows what was changed, taken out or put in by hand; it has no key, so that it proves nothing against somebody who reckons it anew, and answers
that are missing at the end are not seen by it (the analysis says how many of the trials were answered).
"""
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synthkit.core.provenance import canonical, digest
from synthkit.errors import DataError, StoreError

START = "0" * 16


@dataclass(frozen=True)
class Answer:
    """One answer: of which reader to which trial, which one, and how long it took."""

    study: str
    reader: str
    trial: int
    answer: int
    seconds: float
    at: str


@dataclass(frozen=True)
class Log:
    """A log as it was read.

    Args:
        answers: in the order of giving.
        seal: of the last one.
        broken: how many lines broke off, as a power cut leaves them.
    """

    answers: tuple[Answer, ...]
    seal: str = START
    broken: int = 0


def read_log(path: str | Path) -> Log:
    """The answers in a log.

    Raises:
        DataError: a line that was changed, removed or put in.
        StoreError: a file that cannot be read.
    """
    try:
        lines = [line for line in Path(path).read_bytes().split(b"\n") if line]
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error}); give the log that sk.read wrote") from None
    answers, seal, broken = [], START, 0
    for number, line in enumerate(lines, start=1):
        try:
            data = json.loads(line)
            found = data.pop("seal")
            answers.append(Answer(**data))
        except (ValueError, TypeError, KeyError, AttributeError):
            broken += 1
            continue
        seal = _seal(seal, answers[-1])
        if found != seal:
            raise DataError(f"{path}: line {number} or one near it was changed, removed or put in after it was written; use the log as sk.read left it")
    if broken > 1 and not answers:
        raise DataError(f"{path} is no log of a reader study; give the file that sk.read wrote, or one that is not there yet")
    return Log(tuple(answers), seal, broken)


def append(path: str | Path, answer: Answer, seal: str) -> str:
    """Write one answer behind all others and flush it to disk; answers its seal."""
    sealed = _seal(seal, answer)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab+") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"  # a line that broke off stays behind as it is
        line = json.dumps({**answer.__dict__, "seal": sealed})
        file.write((("\n" if size and torn else "") + line + "\n").encode())
        file.flush()
        os.fsync(file.fileno())
    return sealed


def now() -> str:
    """The time, to the second, in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _seal(before: str, answer: Answer) -> str:
    return digest(before.encode() + canonical(answer.__dict__))[:16]
