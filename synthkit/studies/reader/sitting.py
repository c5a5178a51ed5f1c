"""One reader before a study: what is shown next, and the answer that is written down."""
from pathlib import Path

from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import DataError
from synthkit.studies.reader.log import START, Answer, append, now, read_log
from synthkit.studies.reader.study import ReaderStudy, Trial


class Sitting:
    """A reader goes through the trials of a study in their order and goes on where the log ends.

    Args:
        study: what is read.
        reader: a name or number; two readers must have two.
        log: the file of answers; it may hold other readers of the same study.
    Raises:
        DataError: no name, or a log of another study.
    """

    def __init__(self, study: ReaderStudy, *, reader: str, log: str | Path):
        require_kind("study", study, ReaderStudy, "a study, as sk.ReaderStudy(real=..., fake=...) makes it")
        require_kind("log", log, (str, Path), "the file that answers are written to")
        if not isinstance(reader, str) or not reader.strip():
            raise DataError(f"reader={reader!r}: give a name or a number as text, another one for each reader")
        self.study, self.reader, self.path = study, reader.strip(), Path(log)
        found = read_log(self.path) if self.path.exists() else None
        self.seal = found.seal if found else START
        answers = found.answers if found else ()
        foreign = next((one.study for one in answers if one.study != study.digest), None)
        if foreign:
            raise DataError(f"{self.path} holds answers to another study ({foreign}, this one is {study.digest}); give another log=")
        self.done = {one.trial for one in answers if one.reader == self.reader}
        self.resumed = len(self.done)

    @property
    def current(self) -> Trial | None:
        """The trial that is to be answered next; None when all are."""
        return next((trial for trial in self.study.trials if trial.number not in self.done), None)

    def answer(self, trial: int, choice: int, seconds: float) -> None:
        """Write down the answer `choice` (from 0) to the current trial.

        Raises:
            DataError: another trial, or an answer that is none of the task's.
        """
        require_number("trial", trial, "the number of the trial that is shown", whole=True)
        require_number("choice", choice, "the number of an answer, from 0", whole=True)
        require_number("seconds", seconds, "a time of 0 or more")
        if seconds < 0:
            raise DataError(f"seconds={seconds}: give a time of 0 or more")
        if self.current is None or trial != self.current.number:
            raise DataError(f"trial {trial} is not the one that is shown; answers are given in order and once")
        if not 0 <= choice < len(self.study.asked.answers):
            raise DataError(f"answer {choice} is none of {', '.join(self.study.asked.answers)}")
        log = read_log(self.path) if self.path.exists() else None
        if log and any(one.reader == self.reader and one.trial == trial for one in log.answers):
            raise DataError(f"{self.reader!r} has answered trial {trial} elsewhere meanwhile; two readers need two names")
        said = Answer(self.study.digest, self.reader, int(trial), int(choice), round(float(seconds), 3), now())
        self.seal = append(self.path, said, log.seal if log else START)
        self.done.add(trial)
