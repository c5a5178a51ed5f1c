"""The least change that makes a classifier change its mind, and whether another classifier sees it too."""
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import digest
from synthkit.errors import AbilityError, DataError
from synthkit.explanation.attribution import explained
from synthkit.explanation.cout import cout
from synthkit.explanation.flip_result import ADVERSARIAL, FLIPPED, HELD, UNJUDGED, Flip
from synthkit.explanation.log_odds import LogOdds
from synthkit.generators.diffusion import FlowNetwork
from synthkit.generators.editing import edited_cohort
from synthkit.generators.generator import Generator
from synthkit.generators.steering import cleaning_steps, least_depth, returned, shifted, steered, turned
from synthkit.generators.vae import LadderNetwork
from synthkit.tasks.predictor import Predictor

STRENGTHS = (0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
CLEAN = 2  # steps, at the end of the way, that are the network's alone


def flip(
    generator: Generator, classifier: Predictor, cohort: Cohort, *, target: str | None = None, level: str | None = None, witness: Predictor | None = None,
    depth: float = 0.7, strengths: Sequence[float] = STRENGTHS,
) -> Flip:  # fmt: skip
    """Change each image as little as needed for the classifier to cross one half, along images that the generator finds likely.

    The classifier's gradient leads a flow from the image's own latent back to the image, or moves a VAE's latent, with growing strength until it
    flips; `synthkit.generators.steering` says how. The target is hidden from the generator, which would undo the change otherwise; all other factors hold.

    Args:
        target, level: the factor and level whose chance is to cross one half, upwards or downwards; the classifier's only category and its last level.
        witness: another classifier of the target. Where it does not follow, the change is called adversarial.
        depth: of a flow: how far back towards noise; more depth lets larger structures change.
        strengths: tried one after another.
    Raises:
        AbilityError: a generator that is neither a flow on pixels nor a VAE.
        DataError: no images, images of another size, a depth or strengths out of range, the classifier as its own witness.
        LeakageError: a patient whom generator or classifier learnt from.
        SchemaError: unknown target or level.

    Example:
        sk.flip(gen, clf, test[:16], target="effusion", witness=other)
    """
    target, level, column = _checked(generator, classifier, witness, cohort, target, level, depth, strengths)
    module, name = LogOdds(classifier.module.eval(), *column), f"p_{target}_{level}"
    before = classifier.predict(cohort)[name].to_numpy()
    sign = torch.from_numpy(np.where(before > 0.5, -1.0, 1.0).astype(np.float32))
    # Told the target, the flow would lead every image back to what it shows.
    x, c = cohort.images.tensor(), generator.code(_without(cohort.table, target, generator))
    network = generator.trained
    start = generator.batched(partial(turned, network, depth=depth), x, c)
    reconstruction = generator.batched(partial(returned, network, depth=depth), start, c)
    images, after, at = x.clone(), before.copy(), np.full(len(cohort), np.nan)
    left, space = np.arange(len(cohort)), generator.space.sixteen_bit()
    for strength in sorted(strengths):
        found = generator.batched(_lead(network, module, depth), x[left], start[left], c[left], sign[left], torch.full((len(left),), float(strength)))
        shown = Cohort(Pixels([space.to_raw(found)], space), cohort.table.iloc[left].reset_index(drop=True), cohort.schema, cohort.provenance)
        images[left], after[left] = found, classifier.predict(shown)[name].to_numpy()
        crossed = (after[left] > 0.5) != (before[left] > 0.5)
        at[left[crossed]] = strength
        left = left[~crossed]
        if not len(left):
            break
    weights = digest(b"".join(weight.detach().cpu().contiguous().numpy().tobytes() for weight in classifier.module.state_dict().values()))
    asked = {"flip": target, "level": level, "depth": depth, "strengths": list(strengths)}
    made_by: Mapping[str, Any] = {**asked, "classifier": repr(classifier), "weights": weights}
    edited = edited_cohort(generator, cohort, Pixels([space.to_raw(images)], space), cohort.table.copy(), reconstruction, made_by)
    verdicts = _verdicts(before, after, witness, cohort, edited, name)
    transition = cout(lambda shown: classifier.outputs(shown)[:, column[0]].softmax(1)[:, column[1]].numpy(), x, images, before)
    return Flip(cohort, edited, target, level, before, after, verdicts, at, transition, witness is not None)


def _without(table: pd.DataFrame, target: str, generator: Generator) -> pd.DataFrame:
    """The table with the target, and what hangs on it, unknown."""
    hidden = [factor.name for factor in generator.schema.factors if factor.name == target or target in factor.when]
    return table.assign(**{name: None for name in hidden})


def _lead(network: FlowNetwork | LadderNetwork, module: nn.Module, depth: float) -> Any:
    """A step for `Generator.batched`: images, what they are led from, codes, which way each should go, and how strongly."""
    at = next(iter(module.parameters()), torch.empty(0)).device

    def step(x: torch.Tensor, start: torch.Tensor, c: torch.Tensor, sign: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
        def pull(guess: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                seen = guess.to(at, torch.float32, copy=True).requires_grad_()
                (slope,) = torch.autograd.grad((module(seen)[:, 0] * sign.to(at, copy=True)).sum(), seen)
            slope = slope.to(guess.device)
            return slope / slope.square().flatten(1).mean(1).sqrt().clamp(min=1e-12).reshape(-1, *(1,) * (guess.ndim - 1))

        if isinstance(network, FlowNetwork):
            return steered(network, x, start, c, pull, strength, depth=depth)
        return shifted(network, x, start, c, pull, strength)

    return step


def _verdicts(before: np.ndarray, after: np.ndarray, witness: Predictor | None, cohort: Cohort, edited: Cohort, name: str) -> np.ndarray:
    crossed = (after > 0.5) != (before > 0.5)
    verdicts = np.where(crossed, FLIPPED, HELD).astype(object)
    if witness is not None:
        first, then = (witness.predict(images)[name].to_numpy() > 0.5 for images in (cohort, edited))
        agreed = first == (before > 0.5)
        verdicts[crossed & ~agreed] = UNJUDGED
        verdicts[crossed & agreed & (then == first)] = ADVERSARIAL
    return verdicts


def _checked(
    generator: Generator, classifier: Predictor, witness: Predictor | None, cohort: Cohort, target: str | None, level: str | None, depth: float,
    strengths: Sequence[float],
) -> tuple[str, str, tuple[slice, int]]:  # fmt: skip
    require_kind("generator", generator, Generator, "a fitted generator")
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("witness", witness, (Predictor, type(None)), "another fitted classifier")
    require_kind("cohort", cohort, Cohort, "the images to change, as a cohort")
    if not isinstance(generator.require_editable("edit"), FlowNetwork | LadderNetwork):
        raise AbilityError(f"{type(generator.recipe).__name__} cannot be led by a classifier's gradient; use Diffusion or VAE")
    generator.require_fit(cohort)
    for one in (generator, classifier):
        one.require_unseen(cohort)
    require_number("depth", depth, "a share of the way back, above 0 and up to 1")
    require_kind("strengths", strengths, Sequence, "numbers, such as (.1, .3, 1)")
    for strength in strengths:
        require_number("strengths", strength, "numbers, such as (.1, .3, 1)")
    if not 0 < depth <= 1 or not len(strengths) or min(strengths) <= 0:
        raise DataError(f"depth={depth!r}, strengths={tuple(strengths)}: depth lies above 0 and up to 1, and strengths are above 0")
    if isinstance(generator.trained, FlowNetwork) and depth < (least := least_depth(generator.trained)):
        raise DataError(f"depth={depth!r}: so near the image nothing is led; with these steps of the solver give {least:g} or more")
    if isinstance(generator.trained, FlowNetwork) and (clean := cleaning_steps(generator.trained, depth)) < CLEAN:
        raise DataError(f"this generator takes {generator.trained.steps} steps, and {clean} would be left to clean what a gradient leaves in the image; "
                        "give it more, gen.using(steps=12)")  # fmt: skip
    if witness is not None and witness.module is classifier.module:
        raise DataError("witness: it is the classifier itself, which always agrees; give another, trained on other patients or from another seed")
    target, level, column = explained(classifier, target, level)
    if witness is not None:
        explained(witness, target, level)
    return target, level, column
