"""What readers are asked: the question, the answers that they may give, and which of them is right."""
from dataclasses import dataclass

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category
from synthkit.errors import DataError

NAMES = ("real-or-synthetic", "2afc", "plausibility", "diagnosis")
SURE = ("surely real", "probably real", "rather real", "rather synthetic", "probably synthetic", "surely synthetic")
PLAUSIBLE = ("impossible", "implausible", "cannot tell", "plausible", "entirely plausible")


@dataclass(frozen=True)
class Task:
    """One kind of reading.

    Args:
        name: one of `NAMES`.
        question: as the reader sees it.
        answers: in the order of the keys 1, 2, 3 …
        target: the factor of a diagnosis.
    """

    name: str
    question: str
    answers: tuple[str, ...]
    target: str = ""

    @staticmethod
    def of(name: str, target: str | None, cohort: Cohort) -> "Task":
        """The task of this name.

        Raises:
            DataError: an unknown name, or a diagnosis without a category as its target.
        """
        if name not in NAMES:
            raise DataError(f"task={name!r} is not one of {', '.join(NAMES)}")
        if (target is not None) != (name == "diagnosis"):
            raise DataError(f"task={name!r} with target={target!r}: a diagnosis, and only that, needs target= with a category such as 'effusion'")
        if name == "real-or-synthetic":
            return Task(name, "Is this image of a patient, or synthetic?", SURE)
        if name == "2afc":
            return Task(name, "One of the two is of a patient, the other is synthetic. Which is the patient's?", ("left", "right"))
        if name == "plausibility":
            return Task(name, "Could this be an image of a patient?", PLAUSIBLE)
        factor = cohort.schema[target]
        if not isinstance(factor, Category):
            raise DataError(f"target={target!r} is a quantity; readers choose between the levels of a category")
        return Task(name, f"Which is it: {factor.name}?", factor.levels, factor.name)
