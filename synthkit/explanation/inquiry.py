"""One image that is asked what-if questions: inverted once, then edited, read by a classifier and explained at every question."""
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from synthkit.causal.counterfactual import EFFECTS
from synthkit.causal.scm import SCM
from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind
from synthkit.core.schema import Category, Factor
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.attribution import Explanation, explain, explained
from synthkit.explanation.counterfactual import followed, require_request, twin_of
from synthkit.explanation.log_odds import LogOdds
from synthkit.generators.diffusion import Diffusion
from synthkit.generators.editing import after, inverted
from synthkit.generators.generator import Generator
from synthkit.generators.latent import LatentDiffusion
from synthkit.tasks.predictor import Predictor

METHOD = "IntegratedGradients"
LIVE = 8  # of its steps: a case that is kept takes more
POINTS = 7  # of a dose-response curve of a quantity


@dataclass(frozen=True, eq=False)
class Answer:
    """What one question changes.

    Args:
        do: the factors that were set.
        moved: descendants that moved with them in the causal model.
        twin: the edited image (C, [D,] H, W) in [-1, 1].
        delta: twin minus original.
        attribution: per pixel, positive where the original speaks for the level; adds up to the log-odds lost by the twin.
        chance: of the level, on the twin.
        seconds: what each part took.
    """

    do: Mapping[str, Any]
    moved: tuple[str, ...]
    twin: torch.Tensor
    delta: torch.Tensor
    attribution: torch.Tensor
    chance: float
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Inquiry:
    """A generator, a classifier and one patient; made by `inquiry`.

    Args:
        generator, live: as given, for cases that are kept, and with fewer steps, for answers.
        target, level: whose chance is followed.
        place: where the classifier's outputs carry it.
        latent, raw: of the patient's image, and its raw reconstruction, batches of one.
        before: the chance on the original.
        scm, effect: a causal model that moves descendants, if any.
    """

    generator: Generator
    live: Generator
    classifier: Predictor
    patient: Cohort
    target: str
    level: str
    place: tuple[slice, int]
    latent: torch.Tensor
    raw: torch.Tensor
    before: float
    scm: SCM | None = None
    effect: str = "total"

    @property
    def image(self) -> torch.Tensor:
        """The original (C, [D,] H, W)."""
        return self.patient.images[0]

    @property
    def round_trip(self) -> float:
        """Mean absolute error of the raw reconstruction, on 0..255."""
        return float((self.raw[0] - self.image).abs().mean()) * 127.5

    @property
    def factors(self) -> tuple[Factor, ...]:
        """Those that can be asked about: known to the generator and to the cohort."""
        return tuple(factor for factor in self.generator.schema.factors if factor.name in self.patient.schema)

    def value(self, name: str) -> Any:
        """The patient's own value; None where it is missing or does not apply."""
        value = self.patient.table[name].iloc[0]
        return None if pd.isna(value) else value

    def ask(self, do: Mapping[str, Any]) -> Answer:
        """Set factors; with nothing set, the twin is the original."""
        started = time.perf_counter()
        rows, moved = self._rows(do)
        twin = self._twin(rows) if do else self.image
        edited = time.perf_counter()
        chance = self._chance(twin)
        read = time.perf_counter()
        found = self._attributed(twin)
        seconds = {"twin": edited - started, "prediction": read - edited, "attribution": time.perf_counter() - read}
        return Answer(dict(do), moved, twin, twin - self.image, found, chance, seconds)

    def dose(self, name: str, do: Mapping[str, Any]) -> Iterator[tuple[Any, float]]:
        """The chance under each level, or at values all over the range, of one factor, the others as in `do`; one by one, so that it can be broken off."""
        factor = self.generator.schema[name]
        values = factor.levels if isinstance(factor, Category) else np.linspace(factor.low, factor.high, POINTS).tolist()
        for value in values:
            yield value, self._chance(self._twin(self._rows({**do, name: value})[0]))

    def case(self, do: Mapping[str, Any]) -> Explanation:
        """The question as a section for a report, by `sk.counterfactual` and `sk.explain` with the generator as it was given."""
        table, moved, assumed = self._followed(do)
        start = inverted(self.generator, self.patient)
        made_by = {"do": {name: str(value) for name, value in do.items()}, **({"effect": self.effect} if self.scm is not None else {})}
        twin = twin_of(start, table, do, made_by, moved, assumed)
        return explain(self.classifier, twin, methods=[METHOD], target=self.target, level=self.level)

    def _rows(self, do: Mapping[str, Any]) -> tuple[pd.DataFrame, tuple[str, ...]]:
        return self._followed(do)[:2]

    def _followed(self, do: Mapping[str, Any]) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
        """Rows, moved descendants and assumptions; factors that the causal model does not know are set by themselves."""
        known = {name: value for name, value in do.items() if self.scm is not None and name in self.scm.graph.schema}
        if self.scm is None or not known:
            return after(self.generator, self.patient, do), (), ()
        rows, moved, assumed = followed(self.generator, self.patient, known, self.scm, effect=self.effect)
        return self.generator.schema.do(rows, {name: value for name, value in do.items() if name not in known}), moved, assumed

    def _twin(self, rows: pd.DataFrame) -> torch.Tensor:
        there = _alone(self.live, self.live.trained.decode, self.latent, rows)
        return (self.image + there[0] - self.raw[0]).clamp(-1, 1)

    def _attributed(self, twin: torch.Tensor) -> torch.Tensor:
        from captum.attr import IntegratedGradients

        module, device = LogOdds(self.classifier.module.eval(), *self.place), self.classifier.device
        x, baseline = (image[None].to(device) for image in (self.image, twin))
        return IntegratedGradients(module).attribute(x, baselines=baseline, target=0, n_steps=LIVE)[0].detach().float().cpu()

    def _chance(self, image: torch.Tensor) -> float:
        place, level = self.place
        return float(self.classifier.outputs(image[None])[0, place].softmax(0)[level])


def inquiry(
    generator: Generator, classifier: Predictor, patient: Cohort, *, target: str | None = None, level: str | None = None, scm: SCM | None = None,
    effect: str = "total", steps: int | None = None,
) -> Inquiry:  # fmt: skip
    """Invert one image, ready to be asked.

    Args:
        steps: of a flow's solver for live answers, at most; None keeps the generator's own.

    Raises:
        DataError: not exactly one image, or images that generator or classifier do not take.
        AbilityError: a generator without an encoder.
        SchemaError: unknown target, level or effect; generator and cohort share no factor.
    """
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("scm", scm, (SCM, type(None)), "a causal model of the factors, such as chest.scm")
    require_request(generator, patient, {})
    if len(patient) != 1:
        raise DataError(f"patient: {len(patient)} images, and one is asked about; give one, such as patients[3]")
    generator.require_editable("edit")
    generator.require_fit(patient)
    if effect not in EFFECTS:
        raise SchemaError(f"effect: {effect!r} is not one of {', '.join(EFFECTS)}")
    target, level, place = explained(classifier, target, level)
    before = classifier.predict(patient)[f"p_{target}_{level}"].item()
    live = generator
    if steps is not None and isinstance(generator.recipe, Diffusion | LatentDiffusion):
        live = generator.using(steps=min(steps, generator.recipe.steps))
    latent = _alone(live, live.require_editable("edit").encode, patient.images.tensor(), patient.table)
    raw = _alone(live, live.trained.decode, latent, patient.table)
    made = Inquiry(generator, live, classifier, patient, target, level, place, latent, raw, before, scm, effect)
    if not made.factors:
        raise SchemaError(f"the cohort has none of the generator's factors ({', '.join(generator.schema.names)}), so there is nothing to ask")
    return made


def _alone(generator: Generator, step: Callable[..., torch.Tensor], images: torch.Tensor, rows: pd.DataFrame) -> torch.Tensor:
    """A step on a batch of one: `Generator.batched` fills its batches up, which a live answer cannot wait for; it may differ in the last bit."""
    with torch.inference_mode():
        made = step(images.to(generator.device), generator.code(rows).to(generator.device))
    return made.float().cpu()
