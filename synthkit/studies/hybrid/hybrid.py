"""Hybrid experiments: do synthetic images help where only k real patients show the finding?"""
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from synthkit.core.budget import Budget
from synthkit.core.cohort import Cohort
from synthkit.core.files import read_manifest, write_manifest
from synthkit.core.kinds import require_number
from synthkit.core.provenance import canonical, digest
from synthkit.errors import DataError, FitError
from synthkit.generators.base import Recipe, cohort_digest
from synthkit.generators.generator import Generator
from synthkit.metrics.paired import Paired
from synthkit.studies.hybrid.arms import ARMS, Arm
from synthkit.studies.hybrid.choice import Choice, choose, cuts, most_read
from synthkit.studies.hybrid.cost import measured_cost
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.effects import Readings
from synthkit.studies.hybrid.fits import Job
from synthkit.studies.hybrid.ledger import CHOICE, EXPERIMENT, Ledger
from synthkit.studies.hybrid.notes import notes
from synthkit.studies.hybrid.pools import Pools, pools
from synthkit.studies.hybrid.rare import Rare
from synthkit.studies.hybrid.result import Hybrid, rows
from synthkit.studies.hybrid.run import Run, place, processes
from synthkit.studies.hybrid.source import SEED, prepared, require_fair, require_trainable
from synthkit.tasks.classifier import Classifier


def hybrid(
    task: Classifier | str, *, real: Cohort, valid: Cohort, test: Cohort, generator: Generator | Recipe, rare: Mapping[str, Any],
    arms: Sequence[Arm] = ARMS, shares: Iterable[float] = (0.5, 1, 2), seeds: Iterable[int] = range(5), budget: Budget = "lesson",
    generator_budget: Budget = "lesson", fine_tune: Budget | None = None, run: str | Path | None = None, jobs: int | None = None,
    limit: float | None = None, most: int = 10_000, progress: bool = True, say: Callable[[str], None] = print,
) -> Hybrid:  # fmt: skip
    """What synthetic images add when only k patients of a rare class may teach, beside baselines that cost nothing.

    The training set keeps k patients of the rare class (drawn by rare["seed"], 0 by default) and all patients without it. Every arm
    trains the same recipe for the same number of steps from the same weights per seed, all but "real only" with augmentation. A share
    is added images per real training image, half of them of the rare class. How often an image is drawn differs by arm:

    - "real only", "standard augmentation", "duplicated real" (the same real images again, each class as often as "naive mix" adds
      synthetic ones) and "naive mix" (sampled images mixed in) draw every image equally often;
    - "class-balanced augmentation" draws every level of the target equally often; so does "synthetic pretraining", from sampled images
      first and from real ones then;
    - "balanced mix" (sampled images), "counterfactual augmentation" (healthy images edited to the rare class beside their originals) and
      "filtered synthetic" (sampled images that pass a filter) draw every level equally often, and within it real and added images.

    Not among the arms unless asked for (`arms=(*ARMS, SELF_SUPERVISED)`, from `synthkit.studies.hybrid.arms`): "self-supervised pretraining"
    learns from sampled and real images without labels first, and from the real ones then.

    So "naive mix" differs from "duplicated real" in the images alone, and "balanced mix" from "class-balanced augmentation".

    Arm and share are chosen by mean AUPRC on `valid` over `seeds`, and written down. Only then are the chosen arm and its baselines
    trained again from seeds of their own, which set their thresholds on `valid` anew, and test images predicted: these runs are the
    headline. Read on the runs that chose it, an arm would keep the luck of their seeds. The runs of the choice are "exploratory".

    Args:
        task: a classifier recipe, or the factor to predict.
        real, valid, test: cohorts of different patients. `valid` chooses and sets thresholds, `test` is read once. Under 8 patients
            of the rare class in `test` there is no verdict and no relative difference.
        generator: a recipe, fitted here on the k-shot training set, or a generator fitted elsewhere on other patients.
        rare: {"dx": "df", "k": 10}, and "seed" for another draw of the k patients.
        arms: of `synthkit.studies.hybrid.arms`; real only, class-balanced and duplicated real stay in.
        seeds: of initial weights and batch order, such as range(5); under 3 there is no verdict.
        budget: steps of each classifier: "smoke", "lesson", "full" or Steps.
        generator_budget: of a recipe's training on the k-shot set.
        fine_tune: budget for a fitted generator to go on on the k-shot set; None uses it as it is.
        run: folder of finished pieces; the same call goes on where it stopped.
        jobs: processes; one per processor by default. The table does not depend on it.
        limit: minutes; an experiment that would take longer is not begun.
        most: synthetic images at most.
        say: called with the expected time before the start.
    Returns:
        Hybrid: AUPRC, AUC, sensitivity at the threshold of 0.9 specificity on `valid`, Brier score and calibration error, with
        paired differences. Intervals carry the test patients and the seeds, not another draw of the k patients or of the generator.
    Raises:
        LeakageError: a patient in two cohorts, or a generator that learnt from valid, test, or training patients beyond the k.
        DataError, SchemaError: one class only, k larger than there is, under 2 patients of the rare class in valid or test, other sizes,
            a factor that the generator does not know.
        FitError: longer than `limit`; a run folder of another experiment.

    Example:
        sk.hybrid(sk.Classifier("dx"), real=train, valid=valid, test=test, generator=gen, rare={"dx": "df", "k": 10}, fine_tune="400 steps")
    """
    design = Design.of(task, real=real, valid=valid, test=test, rare=Rare.of(rare), arms=arms, shares=shares, seeds=seeds, budget=budget, most=most)
    training = generator_budget if isinstance(generator, Recipe) else fine_tune
    require_fair(generator, design, fine_tune)
    require_trainable(generator, training)
    count = processes(jobs)
    if limit is not None:
        require_number("limit", limit, "minutes, or None for no limit")
    with place(run) as folder:
        ledger = Ledger(folder)
        identity = _identity(design, generator, training)
        ledger.require_same(identity)
        say(_announced(design, generator, ledger, training, count, limit))
        ledger.begin(identity)
        ready = prepared(generator, design, budget=generator_budget, fine_tune=fine_tune, folder=folder)
        work = _work(design, pools(design, ready, seed=SEED, folder=folder, progress=progress), ledger, count, progress)
        first = work.all_jobs(design.seeds)
        chances = work.train(first)
        choice = choose(work.candidates, chances, design.rare.positive(design.valid))
        _write_down(choice, ledger)
        again = work.all_jobs(design.fresh, only=choice.read)
        headline, exploratory = (_readings(work, jobs, found) for jobs, found in ((again, work.train(again)), (first, chances)))
        return _told(work, choice, headline, exploratory, notes(design, work.pools, generator, fine_tune))


def _identity(design: Design, generator: Generator | Recipe, training: Budget | None) -> dict[str, Any]:
    """What an experiment is; the pixels of test are not looked at yet."""
    known = generator.to_json() if isinstance(generator, Recipe) else {"weights": generator.weights_digest(), "recipe": generator.recipe.to_json()}
    return {
        "task": asdict(design.task), "rare": asdict(design.rare), "arms and shares": [asdict(candidate) for candidate in design.candidates],
        "seeds": design.seeds, "steps": design.steps,
        "real": cohort_digest(design.real), "valid": cohort_digest(design.valid), "test": digest(canonical(design.test.table.to_json())),
        "generator": known, "generator budget": str(training),
    }  # fmt: skip


def _announced(design: Design, generator: Generator | Recipe, ledger: Ledger, training: Budget | None, jobs: int, limit: float | None) -> str:
    """The expected time of what is left; what is finished is counted by its files, since its keys need the synthetic images."""
    finished, path = len(list(ledger.folder.glob("fit-*.json"))), ledger.folder / CHOICE
    again = 1 + len(read_manifest(path)["against"]) if path.is_file() else most_read(design.candidates)
    total, drawn = (len(design.candidates) + again) * len(design.seeds), finished > 0
    cost = measured_cost(design, generator, pending=max(0, total - finished), budget=None if drawn else training, drawn=drawn, jobs=jobs)
    return f"hybrid: {cost.announced(limit)}" + (f" ({finished} of {total} classifiers are there already)" if finished else "")


def _work(design: Design, made: Pools, ledger: Ledger, jobs: int, progress: bool) -> Run:
    left = tuple(candidate for candidate in design.candidates if candidate.arm.added not in made.skipped)
    if not any(candidate.arm.synthetic for candidate in left):
        raise DataError(f"no arm with synthetic images is left: {'; '.join(made.skipped.values())}")
    return Run(design, left, made, ledger, jobs, progress)


def _write_down(choice: Choice, ledger: Ledger) -> None:
    """Store the choice before any test image is predicted; FitError where another one was made here."""
    record = {"chosen": choice.chosen.name, "against": list(choice.against), "valid AUPRC": dict(choice.valid)}
    path = ledger.folder / CHOICE
    if path.is_file() and read_manifest(path)["chosen"] != record["chosen"]:
        raise FitError(f"{path} names another choice, made from other fits than lie beside {EXPERIMENT}; give a new folder")
    write_manifest(path, record)


def _readings(work: Run, jobs: dict[str, list[Job]], on_valid: dict[str, np.ndarray]) -> dict[str, Paired]:
    """The scores of these runs on test, at the thresholds that each of them sets on validation."""
    design, rare = work.design, work.design.rare
    frozen = cuts(on_valid, rare.positive(design.valid))
    return Readings(work.test(jobs), frozen, rare.positive(design.test), design.test.table["patient_id"].to_numpy(str)).paired()


def _told(work: Run, choice: Choice, headline: dict[str, Paired], exploratory: dict[str, Paired], said: tuple[str, ...]) -> Hybrid:
    """The result, with its counts."""
    design, rare = work.design, work.design.rare
    common = {"n_real": len(design.real), "n_test": len(design.test), "n_rare": len(rare.patients(design.test))}
    common |= {"seeds": len(design.seeds), "steps": design.steps}
    facts = {one.name: {**common, "n_added": design.added(one.share), "n_distinct": work.distinct(one)} for one in work.candidates}
    title = f"Hybrid training for {rare.factor} = {rare.level} from {rare.k} patients, tested on {design.test.provenance.source}"
    used = {"test": design.test, "train": design.real, "valid": design.valid}
    return Hybrid(title, rows(choice, headline, exploratory, facts), said, choice=choice, cohorts=used)
