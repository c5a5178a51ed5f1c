"""Everything that can be said of a synthetic cohort against a real one, written to a folder."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkit.core.cohort import Cohort
from synthkit.core.files import write_atomically
from synthkit.core.result import Scores
from synthkit.errors import StoreError
from synthkit.metrics.checks.check import check
from synthkit.metrics.checks.result import ImageChecks
from synthkit.metrics.evaluate import evaluate
from synthkit.report.report import Report

SHARES = (0.35, 0.35, 0.3)
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
    extractor: Sequence[str] | None = None, seed: int = 0, say: Callable[[str], None] = print,
) -> Assessed:  # fmt: skip
    """Score a synthetic cohort, check each of its images, and write `report.html`, `scores.csv` and `images.csv`.

    Args:
        real: test patients that no generator saw. Where neither `train` nor `judge` is given, the patients of 100 images or
            more are split: 35 % to compare with, 35 % for the encoder, 30 % for the judge and the floor.
        train, judge, by, extractor: as of `sk.evaluate`.
        out: folder, made when it is not there.
        say: called with a line of progress.
    Raises:
        DataError, LeakageError: as `sk.evaluate`.
        StoreError: a folder that cannot be made.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out} cannot be made ({error}); give another folder with --out") from error
    if train is None and judge is None and len(real) >= ENOUGH:
        real, train, judge = real.split(SHARES, by="patient_id", seed=seed)
        say(f"real patients are split: {len(real)} images to compare with, {len(train)} for the encoder, {len(judge)} for the judge and the floor")
        say("  if the generator learnt from any of them, the scores are too good: then name the cohorts apart, --train and --judge")
    say(f"score {len(fake)} synthetic images against {len(real)} real ones")
    quality = evaluate(real=real, fake=fake, train=train, judge=judge, by=by, extractor=extractor, seed=seed)
    say("check every image")
    checks = check(fake, like=real if train is None else train)
    write_atomically(out / "scores.csv", quality.frame().to_csv(index=False).encode())
    write_atomically(out / "images.csv", checks.frame().to_csv(index=False).encode())
    page = Report(f"Quality of {fake.provenance.source}", [quality, checks, real, fake]).save(out / "report.html")
    return Assessed(page, out / "scores.csv", out / "images.csv", quality, checks)
