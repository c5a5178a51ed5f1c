"""Which eye to score with: the built-in encoder, radiomics, one made elsewhere, or any callable."""
from types import FunctionType

from synthkit.core.cohort import Cohort
from synthkit.errors import DataError
from synthkit.metrics.encoder import trained_encoder
from synthkit.metrics.features import Extractor, Features
from synthkit.metrics.pretrained import pretrained


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
        if extractor != "radiomics":
            return pretrained(extractor)
        from synthkit.metrics.radiomics import radiomic_features

        return radiomic_features()
    if not callable(extractor):
        raise DataError(f"an extractor is a name, a callable or a module, got {type(extractor).__name__}")
    named = isinstance(extractor, (FunctionType, type))
    return Features(extractor.__name__ if named else type(extractor).__name__, extractor)
