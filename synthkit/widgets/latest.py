"""A worker for live answers: the newest question is answered, those that it overtook are dropped."""
import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")
_NOTHING = object()


class Latest(Generic[Job]):
    """Answers questions in a thread of its own, one at a time, the newest first and the overtaken ones never.

    Args:
        answer: called with a question and with `stale()`, which says whether a newer one waits; a long answer asks it and breaks off.
    """

    def __init__(self, answer: Callable[[Job, Callable[[], bool]], None]):
        self._answer, self._waiting, self._busy, self._changed = answer, _NOTHING, False, threading.Condition()

    def ask(self, job: Job) -> None:
        """Put a question; returns at once."""
        with self._changed:
            self._waiting = job
            self._changed.notify_all()
            if not self._busy:
                self._busy = True
                # It ends when nothing waits: a widget that is thrown away leaves no thread behind.
                threading.Thread(target=self._run, name="synthkit-latest", daemon=True).start()

    def stale(self) -> bool:
        """Whether a newer question waits."""
        return self._waiting is not _NOTHING

    def pause(self, seconds: float) -> bool:
        """Rest, or until a newer question comes; whether the present one is still the newest."""
        with self._changed:
            return not self._changed.wait_for(self.stale, seconds)

    def wait(self, seconds: float = 60) -> bool:
        """Until nothing is being answered; whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                job, self._waiting = self._waiting, _NOTHING
                if job is _NOTHING:
                    self._busy = False
                    self._changed.notify_all()
                    return
            try:
                self._answer(job, self.stale)  # type: ignore[arg-type]
            except Exception:  # the newest question is answered all the same
                logging.getLogger("synthkit").exception("a question could not be answered")
