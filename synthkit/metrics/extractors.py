"""Which eye to score with: the built-in encoder, radiomics, one made elsewhere, or any callable."""
from types import FunctionType

import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.metrics.encoder import trained_encoder
from synthkit.metrics.features import Extractor, Features
from synthkit.metrics.pixel_components import pixel_components
from synthkit.metrics.pretrained import pretrained
from synthkit.metrics.radiomics import radiomic_features

CONSTANT = 1e-9  # of its size; what a feature varies less is rounding


def features(extractor: str | Features | Extractor | None, cohort: Cohort) -> Features:
    """The extractor that is meant, with a name.

    Args:
        extractor: None or "encoder" for the built-in one, trained on `cohort`; "radiomics"; a name or file that
            `pretrained` opens; `Features`; or any callable or module from images to (N, d).
    """
    if extractor is None or extractor == "encoder":
        return trained_encoder(cohort)
    if isinstance(extractor, Features):
        return extractor
    if isinstance(extractor, str):
        return _scaled(radiomic_features(), cohort) if extractor == "radiomics" else pretrained(extractor)
    if not callable(extractor):
        raise DataError(f"an extractor is a name, a callable or a module, got {type(extractor).__name__}")
    if isinstance(extractor, nn.Module):
        return Features(type(extractor).__name__, _still(extractor))
    named = isinstance(extractor, (FunctionType, type))
    return Features(extractor.__name__ if named else type(extractor).__name__, extractor)


def judge_eyes(judge: Cohort, learn: Cohort | None) -> Features:
    """What a judge of few patients looks with: encoder, radiomics and principal components of pixels side by side.

    Args:
        judge: the judge's own patients.
        learn: further real patients, for the encoder; without them it is left out, since one that has learnt the factors of the
            images to be judged would see more in them than in others.
    """
    eyes = (_scaled(radiomic_features(), judge), pixel_components(judge)) + ((trained_encoder(learn),) if learn is not None else ())
    name = " and ".join(("radiomics", "pixels", "encoder")[: len(eyes)])
    return Features(name, lambda x: torch.cat([eye.extract(x).double().cpu() for eye in eyes], 1))


def _scaled(eyes: Features, cohort: Cohort) -> Features:
    """Features of very different units, as z-scores by the mean and spread of a cohort; what is constant there is left out."""
    seen = eyes.of(cohort)
    mean, spread = seen.mean(0), seen.std(0)
    varies = spread > CONSTANT * seen.abs().amax(0)
    scale = spread[varies]
    return Features(f"{eyes.name}, z-scored by {cohort.provenance.source}", lambda x: (eyes.extract(x).double()[:, varies] - mean[varies]) / scale)


def _still(module: nn.Module) -> Extractor:
    """A module that does not learn while it looks, fed on its own device."""
    place = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    return lambda x: module.eval()(x.to(place))
