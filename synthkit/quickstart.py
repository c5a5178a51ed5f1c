"""The whole main job once: load, generate, check, edit, explain, report."""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from synthkit.core.budget import Budget
from synthkit.core.cohort import Cohort
from synthkit.core.figures import plane, png, sheet
from synthkit.core.files import write_atomically
from synthkit.core.result import Measured, Section
from synthkit.core.schema import Category
from synthkit.data.load import load
from synthkit.errors import DataError
from synthkit.explanation.attribution import explain
from synthkit.explanation.counterfactual import Counterfactual, counterfactual
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.generator import Generator
from synthkit.metrics.checks.check import check
from synthkit.metrics.evaluate import evaluate
from synthkit.phantoms.chest import ChestPhantom
from synthkit.report.gallery import COLUMNS, Gallery
from synthkit.report.report import Report
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor

PHANTOM, SHIPPED = "chest-phantom", "chest-phantom-64"
PHANTOM_IMAGES, PHANTOM_SEED = 900, 1_000  # the shipped generator was trained on subjects of another seed
EDITED = 16


@dataclass(frozen=True)
class Result:
    """What a quickstart leaves behind."""

    report: Path
    sheet: Path
    synthetic: Path
    sections: tuple[Section, ...]


def quickstart(
    *, source: str = PHANTOM, table: str | None = None, size: int | None = None, out: str | Path = "synthkit-out",
    train: bool = False, budget: Budget = "lesson", seed: int = 0, say: Callable[[str], None] = print,
) -> Result:  # fmt: skip
    """Run the main job on the chest phantom, a catalog data set or a folder, and write `report.html`.

    Args:
        source: catalog name or folder of images with their table.
        table, size: as of `sk.load`, for a folder.
        out: folder for the report, the contact sheet, the synthetic cohort and the training run.
        train: train a generator here; the shipped one is for the phantom only, so other sources always train.
        budget: of that training.
        say: called with a line of progress.
    Raises:
        DataError: nothing to load, or no factor with two levels to classify and edit.
    """
    out, phantom = Path(out), ChestPhantom(size=64)
    say(f"1/6 load {source}")
    data = phantom.cohort(PHANTOM_IMAGES, seed=PHANTOM_SEED) if source == PHANTOM else load(source, table=table, size=size)
    train = train or source != PHANTOM
    learn, judge, test = data.split((0.6, 0.2, 0.2), by="patient_id", seed=seed)
    say(f"    {len(data)} images of {data.table['patient_id'].nunique()} patients: train {len(learn)}, judge {len(judge)}, test {len(test)}")
    say(f"2/6 train a generator, budget {budget}" if train else f"2/6 open the generator {SHIPPED}")
    generator = Diffusion().fit(learn, budget=budget, seed=seed, run=out / "run") if train else Generator.pretrained(SHIPPED)
    say(f"3/6 draw {len(test)} synthetic images, one for each test patient's factors")
    fake = generator.sample(test.table, seed=seed)
    fake.save(out / "synthetic")
    say("4/6 score them and check each")
    quality, checks = evaluate(real=test, fake=fake, train=learn, judge=judge), check(fake, like=learn)
    say("5/6 train a classifier, edit images and explain its change")
    classifier, twin = _edit(generator, learn, test, seed)
    why = explain(classifier, twin)
    scored = classifier.score(test)
    scored = scored.assign(measure=scored["measure"] + " for " + scored["factor"]).drop(columns="factor")
    skill = Measured(f"The classifier of {why.target}: AUC on test patients", scored, ("Trained on the training patients, with early stopping.",))
    truth = [twin.against(phantom.counterfactual(twin.factual, twin.do))] if source == PHANTOM else []
    sections = (Gallery(test, fake), quality, checks, twin, *truth, skill, why)
    say("6/6 write the report")
    report = Report(f"synthkit quickstart: {data.provenance.source}", [data, fake, *sections]).save(out / "report.html")
    return Result(report, _sheet(test, fake, out / "real-and-synthetic.png"), out / "synthetic", sections)


def _target(cohort: Cohort) -> str:
    """The finding to classify: effusion where it is a factor, else the best balanced two-level category."""
    if "effusion" in cohort.schema and cohort.table["effusion"].nunique() == 2:
        return "effusion"
    shares = {f.name: cohort.table[f.name].value_counts(normalize=True).min() for f in cohort.schema.factors if isinstance(f, Category) and len(f.levels) == 2}
    shares = {name: share for name, share in shares.items() if cohort.table[name].nunique() == 2}
    if not shares:
        raise DataError("no factor with two levels that both occur; the quickstart needs one to classify and edit")
    return max(shares, key=lambda name: shares[name])


def _edit(generator: Generator, learn: Cohort, test: Cohort, seed: int) -> tuple[Predictor, Counterfactual]:
    target = _target(learn)
    before, after = learn.schema[target].levels[-1], learn.schema[target].levels[0]
    classifier = Classifier(target=target).fit(learn, seed=seed)
    chosen = test.where(f"{target} == '{before}'")[:EDITED]
    return classifier, counterfactual(generator, chosen, {target: after})


def _sheet(real: Cohort, fake: Cohort, path: Path) -> Path:
    count = min(3 * COLUMNS, len(real), len(fake))
    halves = [sheet([plane(cohort.images[i]) for i in range(count)], columns=COLUMNS) for cohort in (real, fake)]
    scale = max(1, 128 // real.space.size[-1])
    said = {"Description": "upper half: source images, lower half: synthetic images made by synthkit"}
    write_atomically(path, png(sheet(halves, columns=1, gap=8), scale=scale, text=said))
    return path
