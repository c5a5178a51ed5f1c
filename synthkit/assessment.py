"""Everything that can be said of a synthetic cohort against a real one, written to a folder."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.result import Scores
from synthkit.metrics.checks.check import check
from synthkit.metrics.checks.result import ImageChecks
from synthkit.metrics.evaluate import evaluate
from synthkit.report.report import Report

SHARES = (0.5, 0.25, 0.25)
ENOUGH = 100  # real images; fewer are not split


@dataclass(frozen=True)
class Assessed:
    """What an assessment leaves behind: the page, the tables, and the results themselves."""

    report: Path
    scores: Path
    images: Path
    quality: Scores
    checks: ImageChecks


def assess(
    real: Cohort, fake: Cohort, *, out: str | Path, train: Cohort | None = None, judge: Cohort | None = None, by: Sequence[str] = (),
    extractor: Sequence[str] = ("encoder",), seed: int = 0, say: Callable[[str], None] = print,
) -> Assessed:  # fmt: skip
    """Score a synthetic cohort, check each of its images, and write `report.html`, `scores.csv` and `images.csv`.

    Args:
        real: test patients that no generator saw. Where neither `train` nor `judge` is given, the patients of 100 images or
            more are split: half to compare with, a quarter for the encoder and the floor, a quarter for the judge.
        train, judge, by, extractor: as of `sk.evaluate`.
        out: folder, made when it is not there.
        say: called with a line of progress.
    Raises:
        DataError, LeakageError: as `sk.evaluate`.
    """
    out = Path(out)
    if train is None and judge is None and len(real) >= ENOUGH:
        real, train, judge = real.split(SHARES, by="patient_id", seed=seed)
        say(f"real patients are split: {len(real)} images to compare with, {len(train)} for the encoder and the floor, {len(judge)} for the judge")
    say(f"score {len(fake)} synthetic images against {len(real)} real ones")
    quality = evaluate(real=real, fake=fake, train=train, judge=judge, by=by, extractor=list(extractor), seed=seed)
    say("check every image")
    checks = check(fake, like=real if train is None else train)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "scores.csv", quality.frame().to_csv(index=False).encode())
    write_atomically(out / "images.csv", checks.frame().to_csv(index=False).encode())
    page = Report(f"Quality of {fake.provenance.source}", [quality, checks, real, fake]).save(out / "report.html")
    return Assessed(page, out / "scores.csv", out / "images.csv", quality, checks)
