"""How long an experiment will take, measured on a few steps before it starts."""
import time
from collections.abc import Callable
from dataclasses import dataclass

from synthkit.core.budget import Budget, Minutes, Steps, resolve
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import one_thread
from synthkit.studies.hybrid.design import Design
from synthkit.studies.hybrid.pools import SPARE, requests

SHORT, LONG, IMAGES = 2, 8, 8


@dataclass(frozen=True)
class Cost:
    """Seconds, as far as a few steps tell them.

    Args:
        fits: classifiers still to be trained; `fit` is the time of one.
        generator: of its training or fine-tuning.
        images: of drawing and editing synthetic images.
        jobs: fits that run at the same time.
    """

    fits: int
    fit: float
    generator: float
    images: float
    jobs: int

    @property
    def minutes(self) -> float:
        """Of everything."""
        return (self.fits * self.fit / self.jobs + self.generator + self.images) / 60

    def announced(self, limit: float | None) -> str:
        """In words; FitError where it is over the limit in minutes."""
        made = f"{self.fits} classifiers of {self.fit:.1f} s each, {self.jobs} at a time"
        told = f"about {self.minutes:.1f} min: {made}, generator {self.generator / 60:.1f} min, synthetic images {self.images / 60:.1f} min"
        if limit is not None and self.minutes > limit:
            raise FitError(f"this experiment would take {told}; limit={limit:g} min. Give fewer seeds, shares or arms, a smaller budget, or a larger limit")
        return told


def measured_cost(design: Design, generator: Generator | Recipe, *, pending: int, budget: Budget | None, drawn: bool, jobs: int) -> Cost:
    """The cost of what is not finished yet.

    Args:
        pending: classifiers still to be trained.
        budget: of the generator's training or fine-tuning; None where it is used as it is, or is trained already.
        drawn: whether the synthetic images are drawn already.
    """
    fit, training, ready = _fit_seconds(design) if pending else 0.0, 0.0, generator
    if budget is not None:
        recipe = generator if isinstance(generator, Recipe) else generator.recipe
        training = _training_seconds(recipe, design, resolve(budget, recipe.budgets))
    if isinstance(ready, Recipe) and not drawn:
        ready = ready.fit(design.real, budget=Steps(SHORT))
    return Cost(pending, fit, training, _drawing_seconds(ready, design) if not drawn else 0.0, jobs)


def _fit_seconds(design: Design) -> float:
    """Of training one classifier and predicting with it."""
    real = design.images(design.real)
    with one_thread():
        fit = _extrapolated(lambda steps: design.task.fit(real, budget=steps, early_stopping=False, progress=False), design.steps)
        some = real[: min(64, len(real))]
        fitted = design.task.fit(real, budget=Steps(SHORT), early_stopping=False, progress=False)
        return fit + _timed(lambda: fitted.predict(some)) / len(some) * (len(design.valid) + len(design.test))


def _extrapolated(fit: Callable[[Steps], object], steps: int) -> float:
    """Seconds of a fit from two short ones: what it costs to begin, and each step."""
    fit(Steps(SHORT))
    short, long = (_timed(lambda count=count: fit(Steps(count))) for count in (SHORT, LONG))
    return short + max(0.0, long - short) / (LONG - SHORT) * (steps - SHORT)


def _training_seconds(recipe: Recipe, design: Design, budget: Steps | Minutes) -> float:
    if isinstance(budget, Minutes):
        return 60 * budget.count
    return _extrapolated(lambda steps: recipe.fit(design.real, budget=steps), budget.count)


def _drawing_seconds(generator: Generator, design: Design) -> float:
    """Of sampling both classes; an edit takes a decoding more, and an inversion."""
    kinds = {candidate.arm.added for candidate in design.candidates}
    some = requests(design, generator, IMAGES)[0]
    each = _timed(lambda: generator.sample(some, seed=0)) / IMAGES
    sampled = design.most_added * (SPARE if "filtered" in kinds else 1.0) if kinds & {"sampled", "filtered"} else 0.0
    edited = 3 * design.most_added / 2 if "edited" in kinds else 0.0
    return each * (sampled + edited)


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
