"""The append-only log of a watch: one JSON line per finished step, each sealed with the digest of all before it."""
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from synthkit.core.lineage import plain
from synthkit.core.provenance import canonical, digest
from synthkit.errors import StoreError

START = "0" * 16


class Steps:
    """The steps in a log, and where the next one goes.

    The seal shows what was changed, taken out or put in later; it has no key and proves nothing against somebody who reckons it anew.

    Args:
        path: of the file, which need not be there yet.
    Raises:
        StoreError: a step that was changed, removed or put in; a line that broke off, as a power cut leaves it, is passed over.
    """

    def __init__(self, path: Path):
        self.path, self.seal, self.done = path, START, []
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            step = _read(line)
            if step is None:  # it broke off; were it a step that was made unreadable, the seal of the next one would not fit
                continue
            if step.pop("seal", None) != _seal(self.seal, step):
                raise StoreError(f"{path}: line {number} was changed, removed or put in after it was written; restore the log, or watch in a new folder")
            self.seal = _seal(self.seal, step)
            self.done.append(step)
        self.torn = bool(lines and lines[-1])

    def find(self, name: str) -> dict[str, Any] | None:
        """The step of this name, or None while it is not finished."""
        return next((step for step in self.done if step["step"] == name), None)

    def append(self, name: str, /, **told: Any) -> dict[str, Any]:
        """Write one finished step behind all others and flush it to disk."""
        step = {"step": name, "at": datetime.now(UTC).isoformat(timespec="seconds"), **plain(told)}
        self.seal = _seal(self.seal, step)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.write((b"\n" if self.torn else b"") + json.dumps({**step, "seal": self.seal}, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.torn = False
        self.done.append(step)
        return step


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        step = json.loads(line)
    except ValueError:
        return None
    return step if isinstance(step, dict) else None


def _seal(before: str, step: dict[str, Any]) -> str:
    return digest(before.encode() + canonical(step))[:16]
