"""A page to print: what will be read, how, by whom, and what decides, fixed before the first reading."""
from html import escape
from typing import TYPE_CHECKING

from synthkit.studies.reader.burned_in import suspects
from synthkit.studies.reader.power import equivalence_power, reads_needed

if TYPE_CHECKING:
    from synthkit.studies.reader.study import ReaderStudy

STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:44rem;margin:2rem auto}table{border-collapse:collapse}"
    "td,th{border:1px solid #999;padding:.3rem .6rem;text-align:left}.blank{width:24rem}"
)
GUESSED = ("Share of right answers with Wilson's interval per reader; {more}Cohen's kappa, Krippendorff's alpha; agreement with oneself on repeats. "
           "Equivalence with guessing by two one-sided tests at 5 %, margin 10 points unless another is written here: ______.")  # fmt: skip
ANALYSES = {
    "real-or-synthetic": GUESSED.format(more="area under the ROC curve with readers and patients resampled; "),
    "2afc": GUESSED.format(more=""),
    "plausibility": "Mean rating of synthetic minus real images with readers and patients resampled; shares called plausible; Cohen's kappa, "
                    "Krippendorff's alpha; agreement with oneself on repeats.",
    "diagnosis": "Share of right answers on real and on synthetic images, and their difference with readers and patients resampled; Cohen's kappa, "
                 "Krippendorff's alpha; agreement with oneself on repeats.",
}  # fmt: skip
FIELDS = ("Reader", "Speciality and years", "Display", "Date", "Signature")


def protocol(study: "ReaderStudy") -> str:
    """HTML of one page, with fields to be filled in by hand."""
    trials, repeats = len(study.trials), sum(trial.repeat_of >= 0 for trial in study.trials)
    keys = "".join(f"<tr><td>{number}</td><td>{escape(answer)}</td></tr>" for number, answer in enumerate(study.asked.answers, start=1))
    marked = [int(suspects(cohort).sum()) for cohort in (study.real, study.fake)]
    fields = "".join(f"<tr><th>{name}</th><td class='blank'>&nbsp;</td></tr>" for name in FIELDS)
    guesses = trials - repeats
    return (
        f"<!doctype html><meta charset='utf-8'><title>Reader study {study.digest}</title><style>{STYLE}</style>"
        f"<h1>Reader study: {escape(study.task)}</h1>"
        f"<p>Study {study.digest}, seed {study.seed}. Real images: {escape(study.real.provenance.source)}; synthetic images: "
        f"{escape(study.fake.provenance.source)}.</p>"
        f"<h2>What is done</h2><p>{trials} trials in a fixed random order, {repeats} of them repeats of earlier ones. The reader does not know which images "
        "are real. All are shown in one window, at one size, without time limit; the time is recorded. An answer cannot be changed. "
        f"Breaks are allowed at any time.</p><p><b>{escape(study.asked.question)}</b></p><table><tr><th>key</th><th>answer</th></tr>{keys}</table>"
        f"<h2>What is analysed</h2><p>{ANALYSES[study.task]}</p>{_planned(guesses) if study.task in ('real-or-synthetic', '2afc') else ''}"
        f"<h2>Before the first reading</h2><p>Marks that look burned in, and might give images away: {marked[0]} of {len(study.real)} real, "
        f"{marked[1]} of {len(study.fake)} synthetic images.</p><table>{fields}</table>"
        "<p>Synthetic images; not a medical device; nothing here replaces a validation on patients.</p>"
    )


def _planned(reads: int) -> str:
    return (
        f"<p>If readers only guessed, {reads} independent readings would show equivalence in {equivalence_power(reads):.0%} of studies; 80 % take "
        f"{reads_needed():,}, 90 % {reads_needed(power=0.9):,}. Several readings of one image, or by one reader, are worth less.</p>"
    )
