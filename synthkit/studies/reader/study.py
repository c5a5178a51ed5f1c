"""A blinded reader study: which images are shown to readers, in which order, and what their answers mean."""
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.core.figures import plane
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.provenance import canonical, digest, pixel_digest
from synthkit.core.randomness import generator
from synthkit.errors import DataError
from synthkit.metrics.alike import require_alike
from synthkit.studies.reader.power import require_margin
from synthkit.studies.reader.tasks import Task

if TYPE_CHECKING:
    from synthkit.studies.reader.result import Readings

REAL, SYNTHETIC = "real", "synthetic"


@dataclass(frozen=True)
class Trial:
    """One question.

    Args:
        number: place in the order of showing, from 0.
        images: (kind, row) of the image, or of the two, from left to right.
        truth: the right answer by number, or -1 where none is right.
        repeat_of: number of the trial that it repeats, or -1.
    """

    number: int
    images: tuple[tuple[str, int], ...]
    truth: int
    repeat_of: int = -1


@dataclass(frozen=True, eq=False)
class ReaderStudy:
    """Blinded reading of real and synthetic images in a seeded order; `sk.read(study, ...)` shows it, `analyse` reads the logs.

    Of both kinds as many images are shown as the smaller cohort has, all in the window of the cohort, the same for both.

    Args:
        real, fake: images of one size, channels and window.
        task: "real-or-synthetic" (confidence 1–6), "2afc" (which of two is the patient's), "plausibility" (1–5), or "diagnosis".
        target: the category that a diagnosis is about.
        repeats: share of the trials that are shown a second time, in the second half, to see how steady a reader is.
        seed: of choice, order and sides.
    Raises:
        DataError: images that do not fit together or could be told apart by their size, an unknown task or target, no images.

    Example:
        study = sk.ReaderStudy(real=test, fake=fake, task="real-or-synthetic")
        sk.read(study, reader="A", log="log.jsonl"); study.analyse("log.jsonl")
    """

    real: Cohort
    fake: Cohort
    task: str = "real-or-synthetic"
    target: str | None = None
    repeats: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("real", "fake"):
            require_kind(name, getattr(self, name), Cohort, "a cohort of images to be read")
            if not len(getattr(self, name)):
                raise DataError(f"{name} is empty; give the images to be read")
        require_alike("real", {"real": self.real, "fake": self.fake})
        require_number("repeats", self.repeats, "a share from 0 to 0.5")
        if not 0 <= self.repeats <= 0.5:
            raise DataError(f"repeats={self.repeats}: give a share from 0 to 0.5, since what was shown in the first half is repeated in the second")
        twice = set(self.real.table["image_id"]) & set(self.fake.table["image_id"])
        if twice:
            raise DataError(f"{len(twice)} image(s) stand in real and in fake (first: {min(twice)!r}); what is synthetic must be no image of a patient")
        require_number("seed", self.seed, "a whole number", whole=True)
        if self.asked.target:
            blank = sum(int(cohort.table[self.asked.target].isna().sum()) for cohort in (self.real, self.fake))
            if blank:
                raise DataError(f"{self.asked.target} is not known for {blank} image(s), so that no answer could be called right; leave them out")

    @cached_property
    def asked(self) -> Task:
        """The question and its answers."""
        return Task.of(self.task, self.target, self.real)

    @cached_property
    def trials(self) -> tuple[Trial, ...]:
        """All questions in the order of showing."""
        count, rng = min(len(self.real), len(self.fake)), generator(self.seed, "trials", "reader study")
        chosen = [(kind, int(row)) for kind, cohort in ((REAL, self.real), (SYNTHETIC, self.fake)) for row in rng.permutation(len(cohort))[:count]]
        if self.task == "2afc":
            turned = rng.integers(0, 2, count)
            shown = [(pair[::-1] if turn else pair, int(turn)) for pair, turn in zip(zip(chosen[:count], chosen[count:]), turned)]
        else:
            shown = [((one,), self._truth(one)) for one in chosen]
        order = rng.permutation(len(shown))
        again = self._repeated(len(shown), rng)
        places = [(key, int(number), -1) for key, number in enumerate(order)] + [(place, int(order[first]), first) for first, place in again]
        first_place: dict[int, int] = {}
        trials = []
        for number, (_, which, first) in enumerate(sorted(places, key=lambda place: place[0])):
            trials.append(Trial(number, *shown[which], first_place[first] if first >= 0 else -1))
            if first < 0:
                first_place[len(first_place)] = number
        return tuple(trials)

    def _repeated(self, count: int, rng: np.random.Generator) -> list[tuple[int, float]]:
        """(which trial of the first half, where it comes again in the second half)."""
        half = max(1, count // 2)
        firsts = rng.permutation(half)[: round(self.repeats * count)]
        return [(int(first), float(rng.uniform(count / 2, count))) for first in firsts]

    def _truth(self, one: tuple[str, int]) -> int:
        kind, row = one
        if self.task == "real-or-synthetic":
            return int(kind == SYNTHETIC)
        if self.task == "diagnosis":
            return self.asked.answers.index(self._cohort(kind).table[self.asked.target].iloc[row])
        return -1

    def _cohort(self, kind: str) -> Cohort:
        return self.real if kind == REAL else self.fake

    def pictures(self, trial: Trial) -> list[np.ndarray]:
        """(H, W, 3) uint8 of the images of one trial, all in the same window; of a volume the middle slice."""
        return [plane(self._cohort(kind).images[row]) for kind, row in trial.images]

    @cached_property
    def digest(self) -> str:
        """By which a log knows its study: task, order, every image with its window and name, and what is right."""
        shown = [[_pixels(cohort), cohort.space.to_json(), cohort.table["image_id"].tolist()] for cohort in (self.real, self.fake)]
        right = [trial.truth for trial in self.trials]
        return digest(canonical([self.task, self.target, self.repeats, self.seed, shown, right, self.asked.answers]))[:16]

    def analyse(self, logs: str | Path | Sequence[str | Path], *, margin: float = 0.1) -> "Readings":
        """What the readers answered: how often they were right, how well they agree with each other and with themselves.

        Args:
            logs: one file, or several.
            margin: of the equivalence test, around chance.
        Raises:
            DataError: an empty or edited log, a log of another study, a reader who answered nothing or one trial twice.
        """
        from synthkit.studies.reader.analysis import analysed

        files = [logs] if isinstance(logs, (str, Path)) else logs
        if not isinstance(files, Sequence) or not files or not all(isinstance(file, (str, Path)) for file in files):
            raise DataError(f"logs={logs!r}: give the file that sk.read wrote, or a list of such files")
        require_margin(margin)
        return analysed(self, list(files), margin=margin)

    def protocol(self) -> str:
        """A page to print and sign before the first reading, as HTML."""
        from synthkit.studies.reader.protocol import protocol

        return protocol(self)

    def __repr__(self) -> str:
        repeated = sum(trial.repeat_of >= 0 for trial in self.trials)
        return f"ReaderStudy({self.task}, {len(self.trials)} trials, {repeated} of them repeats, study {self.digest})"


def _pixels(cohort: Cohort) -> list[str]:
    return [pixel_digest(cohort.images.raw(range(i, min(i + 512, len(cohort))))) for i in range(0, len(cohort), 512)]
