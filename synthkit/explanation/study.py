"""What the studies of attribution maps share: checked arguments, the maps of a classifier, and those that know nothing of it."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap
from synthkit.core.kinds import require_kind
from synthkit.errors import DataError
from synthkit.explanation.attribution import explained
from synthkit.explanation.log_odds import LogOdds
from synthkit.explanation.maps import baselines, strengths
from synthkit.explanation.methods import allowed, attributed, labelled, require_methods
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

FEWEST = 10  # images
TIMES = 500


@dataclass(frozen=True, eq=False)
class MapStudy:
    """Films and their exact twins, seen by one classifier.

    Args:
        module: the classifier as the log-odds of the level in question.
        regions: numbered structures, for FeatureAblation.
        methods: those that are compared.
        seed: of the noise map.
    """

    module: LogOdds
    device: torch.device
    patients: Cohort
    twins: Cohort
    regions: torch.Tensor
    methods: Sequence[str]
    seed: int

    @property
    def units(self) -> np.ndarray:
        """Whom each film shows: the units of every interval."""
        return self.patients.table["patient_id"].to_numpy()

    def maps(self, module: LogOdds | None = None) -> dict[str, np.ndarray]:
        """(N, pixels) magnitudes by method, of the classifier or of another module of its make."""
        x, twin = self.patients.images.tensor(), self.twins.images.tensor()
        return {name: strengths(attributed(name, module or self.module, x, twin, device=self.device, regions=self.regions)) for name in self.methods}

    def plain(self) -> dict[str, np.ndarray]:
        """(N, pixels) magnitudes of maps that know nothing of the classifier."""
        names = self.patients.table["image_id"].astype(str).tolist()
        found = baselines(self.patients.images.tensor(), self.twins.images.tensor(), names=names, seed=self.seed)
        return {name: strengths(one) for name, one in found.items()}

    def mean(self, each: np.ndarray) -> tuple[float, float, float]:
        """The mean over the films with its 95 % interval over patients."""
        low, high = bootstrap(lambda rows: float(each[rows].mean()), self.units, times=TIMES, seed=self.seed)
        return float(each.mean()), low, high


def map_study(
    classifier: Predictor, patients: Cohort, do: Mapping[str, Any], truth: Phantom, place: tuple[slice, int], methods: Sequence[str] | None, *, seed: int
) -> MapStudy:  # fmt: skip
    """The study of patients whom the twin differs from; DataError for fewer than 10."""
    if len(patients) < FEWEST:
        raise DataError(f"do={dict(do)!r} changes {len(patients)} images as it must, and {FEWEST} are needed; give more patients, chosen with .where(...)")
    twins, module = truth.counterfactual(patients, dict(do)), LogOdds(classifier.module.eval(), *place)
    regions, x = labelled(truth.masks(patients), patients), patients.images.tensor(range(1))
    chosen = methods or allowed(module, x, twins.images.tensor(range(1)), regions[:1], device=classifier.device)
    return MapStudy(module, classifier.device, patients, twins, regions, chosen, seed)


def checked_study(
    classifier: Predictor, patients: Cohort, do: Mapping[str, Any], truth: Phantom, methods: Sequence[str] | None, target: str | None, level: str | None
) -> tuple[str, str, tuple[slice, int]]:  # fmt: skip
    """Target, level, and where the outputs carry it; refuses what cannot be studied."""
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("patients", patients, Cohort, "films of the phantom, as a cohort")
    require_kind("do", do, Mapping, 'what the twins differ in, such as {"marker": "absent", "effusion": "absent"}')
    require_kind("truth", truth, Phantom, "the phantom that drew the patients")
    require_methods(methods)
    patients.schema.do(patients.table, do)
    classifier.require_unseen(patients)
    classifier.predict(patients[:1])
    return explained(classifier, target, level)
