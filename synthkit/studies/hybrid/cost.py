"""How long an experiment will take, measured on a few steps before it starts."""
import time
from collections.abc import Callable
from dataclasses import dataclass

from synthkit.core.budget import Budget, Minutes, Steps, resolve
from synthkit.core.cohort import Cohort
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import one_thread
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.filtering import failing
from synthkit.studies.hybrid.pools import SPARE, requests

SHORT, LONG, IMAGES = 2, 8, 8


@dataclass(frozen=True)
class Cost:
    """Seconds, as far as a few steps tell them.

    Args:
        fits: classifiers still to be trained; `fit` is the time of one.
        generator: of its training or fine-tuning.
        images: of drawing and editing synthetic images.
        filtering: of the classifier that filters them, and of their checks.
        jobs: fits that run at the same time.
    """

    fits: int
    fit: float
    generator: float
    images: float
    filtering: float
    jobs: int

    @property
    def minutes(self) -> float:
        """Of everything."""
        return (self.fits * self.fit / self.jobs + self.generator + self.images + self.filtering) / 60

    def announced(self, limit: float | None) -> str:
        """In words; FitError where it is over the limit in minutes."""
        made = f"up to {self.fits} classifiers of {self.fit:.1f} s each, {self.jobs} at a time"
        images = f"generator {self.generator / 60:.1f} min, synthetic images {self.images / 60:.1f} min, their filter {self.filtering / 60:.1f} min"
        told = f"about {self.minutes:.1f} min: {made}, {images}"
        if limit is not None and self.minutes > limit:
            raise FitError(f"this experiment would take {told}; limit={limit:g} min. Give fewer seeds, shares or arms, a smaller budget, or a larger limit")
        return told


def measured_cost(design: Design, generator: Generator | Recipe, *, pending: int, budget: Budget | None, drawn: bool, jobs: int) -> Cost:
    """The cost of what is not finished yet.

    Args:
        pending: classifiers still to be trained.
        budget: of the generator's training or fine-tuning; None where it is used as it is, or is trained already.
        drawn: whether the synthetic images are drawn and filtered already.
    """
    fit, training, recipe = _fit_seconds(design) if pending else 0.0, 0.0, generator if isinstance(generator, Recipe) else generator.recipe
    ready = recipe.fit(design.real, budget=Steps(SHORT)) if isinstance(generator, Recipe) and not drawn else generator
    if budget is not None:
        training = _training_seconds(recipe, design, resolve(budget, recipe.budgets))
    if drawn:
        return Cost(pending, fit, training, 0.0, 0.0, jobs)
    some, each = _drawn(ready, design)
    return Cost(pending, fit, training, each * _images(design), _filter_seconds(design, some, fit), jobs)


def _fit_seconds(design: Design) -> float:
    """Of training one classifier and predicting with it."""
    real = design.images(design.real)
    with one_thread():
        some, fitted = real[: min(64, len(real))], design.task.fit(real, budget=Steps(SHORT), early_stopping=False, progress=False)
        fit = _extrapolated(lambda steps: design.task.fit(real, budget=steps, early_stopping=False, progress=False), design.steps)
        return fit + _timed(lambda: fitted.predict(some)) / len(some) * (len(design.valid) + len(design.test))


def _extrapolated(fit: Callable[[Steps], object], steps: int) -> float:
    """Seconds of a fit from two short ones, after one that was not timed: what it costs to begin, and each step."""
    short, long = (_timed(lambda count=count: fit(Steps(count))) for count in (SHORT, LONG))
    return short + max(0.0, long - short) / (LONG - SHORT) * (steps - SHORT)


def _training_seconds(recipe: Recipe, design: Design, budget: Steps | Minutes) -> float:
    if isinstance(budget, Minutes):
        return 60 * budget.count
    recipe.fit(design.real, budget=Steps(1))
    return _extrapolated(lambda steps: recipe.fit(design.real, budget=steps), budget.count)


def _drawn(generator: Generator, design: Design) -> tuple[Cohort, float]:
    """A few sampled images, and the seconds of each."""
    made: list[Cohort] = []
    asked = requests(design, generator, IMAGES)[0]
    took = _timed(lambda: made.append(generator.sample(asked, seed=0)))
    return design.images(made[0]), took / IMAGES


def _images(design: Design) -> float:
    """Images to be sampled for both classes; an edit counts as three, for its inversion and two decodings."""
    kinds = {candidate.arm.added for candidate in design.candidates}
    sampled = design.most_added * (SPARE if "filtered" in kinds else 1.0) if kinds & {"sampled", "filtered"} else 0.0
    edited = 3 * design.most_added / 2 if "edited" in kinds else 0.0
    return sampled + edited


def _filter_seconds(design: Design, some: Cohort, fit: float) -> float:
    """Of one more classifier, and of the checks of both sides beside the training images."""
    if all(candidate.arm.added != "filtered" for candidate in design.candidates):
        return 0.0
    real = design.images(design.real)
    few = real[: min(64, len(real))]
    each = _timed(lambda: failing(few, some)) / (len(few) + len(some))
    return fit + each * (2 * len(real) + SPARE * design.most_added)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
