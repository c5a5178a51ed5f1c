"""What a metric is: a frozen dataclass that turns two feature sets into one number."""
from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from synthkit.errors import DataError

METRICS: dict[str, type["Metric"]] = {}


class Metric(ABC):
    """A distance or share between real and fake features; concrete metrics are frozen dataclasses.

    `better` is "lower" or "higher", `needs` says what `compute` takes, `least` how many rows of each it needs,
    `limits` where it can lie.
    """

    better: ClassVar[str]
    needs: ClassVar[str] = "features"
    limits: ClassVar[tuple[float, float]] = (float("-inf"), float("inf"))

    @property
    def least(self) -> int:
        return 2

    @property
    def name(self) -> str:
        return type(self).__name__

    def __init_subclass__(cls) -> None:
        METRICS[cls.__name__] = cls

    @abstractmethod
    def compute(self, real: torch.Tensor, fake: torch.Tensor) -> float:
        """The score of (N, d) real and (M, d) fake features."""


def two_sets(real: torch.Tensor, fake: torch.Tensor, *, least: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Both sets as float64, checked: (N, d) and (M, d), finite, at least `least` rows each."""
    sets = []
    for name, features in (("real", real), ("fake", fake)):
        features = torch.as_tensor(features).double()
        if features.ndim != 2 or len(features) < least:
            raise DataError(f"{name}: a feature matrix (N, d) with N >= {least} is needed, got {tuple(features.shape)}")
        if not features.isfinite().all():
            raise DataError(f"{name}: the features hold NaN or infinite values; check the extractor and the images")
        sets.append(features)
    if sets[0].shape[1] != sets[1].shape[1]:
        raise DataError(f"real has {sets[0].shape[1]} features and fake has {sets[1].shape[1]}; use one extractor for both")
    return sets[0], sets[1]
