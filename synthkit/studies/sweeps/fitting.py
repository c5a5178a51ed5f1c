"""Which classifier, source, judge and patients a stress test may take."""
import numpy as np

from synthkit.core.kinds import require_number
from synthkit.core.schema import Category
from synthkit.errors import DataError, SchemaError
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.studies.sweeps.images import Subjects
from synthkit.tasks.predictor import Predictor

FEWEST = 5  # patients of either class


def target_of(classifier: Predictor, target: str | None) -> str:
    """The finding that is followed: the one named, or the only one of two levels."""
    if not isinstance(classifier, Predictor):
        raise DataError(f"classifier: a fitted predictor is needed, got {type(classifier).__name__}; fit one with sk.Classifier(...).fit(train)")
    able = [factor.name for factor in classifier.schema.factors if isinstance(factor, Category) and len(factor.levels) == 2]
    if target is None and len(able) == 1:
        return able[0]
    if target not in able:
        raise SchemaError(f"target={target!r}: name one finding of two levels that the classifier predicts; there are {', '.join(able) or 'none'}")
    return target


def require_fitting(classifier: Predictor, source: object, judge: object, truth: object, share: float, threshold: float | None) -> None:
    """Raise DataError for parts of another type, for other images, or for a share or threshold outside 0..1."""
    if not isinstance(source, (Generator, Phantom)):
        raise DataError(f"source: a generator or a phantom is needed, got {type(source).__name__}")
    if judge is not None and not isinstance(judge, (Predictor, Phantom)):
        raise DataError(f"judge: a fitted predictor or a phantom is needed, got {type(judge).__name__}")
    if truth is not None and not isinstance(truth, Phantom):
        raise DataError(f"truth: a phantom is needed, got {type(truth).__name__}")
    for name, one in (("classifier", classifier), ("judge", judge), ("truth", truth)):
        if one is not None and not one.space.matches(source.space):
            raise DataError(f"the {name} is for other images than the source makes: {one.space.difference(source.space)}")
    for name, value in (("share", share), ("threshold", threshold)):
        if value is not None:
            require_number(name, value, "a number between 0 and 1")
        if value is not None and not 0 < value < 1:
            raise DataError(f"{name}={value!r} must lie between 0 and 1")


def truth_of(subjects: Subjects, target: str, classifier: Predictor) -> np.ndarray:
    """(n,) bool: who has the finding; DataError unless both classes are there and all are known."""
    if target not in subjects.table:
        raise DataError(f"base has no column {target!r}, which the classifier predicts")
    values = subjects.table[target]
    if values.isna().any():
        raise DataError(f"base: {target} is missing in {int(values.isna().sum())} of {len(values)} rows; leave these out")
    positive = (values.astype(str) == classifier.schema[target].levels[-1]).to_numpy()
    fewest = min(len(set(subjects.units[side])) for side in (positive, ~positive))
    if fewest < FEWEST:
        raise DataError(f"base: {int(positive.sum())} of {len(positive)} images have {target}; give at least {FEWEST} patients with it and {FEWEST} without")
    return positive
