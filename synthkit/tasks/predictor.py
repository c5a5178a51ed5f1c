"""Predictor: a fitted classifier, or any torch module that stands for one."""
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Factor, Schema
from synthkit.core.space import Space
from synthkit.errors import DataError, LeakageError
from synthkit.nets.predictor import output_slices
from synthkit.tasks.scoring import score


@dataclass(frozen=True, eq=False, repr=False)
class Predictor:
    """Predicts factors from images.

    Args:
        module: (N, C, [D,] H, W) in [-1, 1] to logits and scaled quantities, (N, outputs).
        schema: the factors it predicts.
        space: the images it expects.
        patients: whom it was trained on; they may not be scored.
        trained: how it was made.
    """

    module: nn.Module
    schema: Schema
    space: Space
    patients: frozenset[str] = frozenset()
    trained: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        source = self.trained.get("source", "outside synthkit")
        return f"Predictor of {', '.join(self.schema.names)} from {self.space.shape} images, trained on {source} ({len(self.patients)} patients)"

    @staticmethod
    def of(module: nn.Module, factor: Factor, like: Cohort) -> "Predictor":
        """Wrap a trained torch module whose outputs are one logit per level (or one scaled number) of `factor`."""
        return Predictor(module.eval(), Schema((factor,)), like.space, trained={"module": type(module).__name__})

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def outputs(self, images: torch.Tensor) -> torch.Tensor:
        """Raw module outputs (N, outputs) on the CPU."""
        device = self.device
        self.module.eval()
        with torch.no_grad():
            parts = [self.module(images[i : i + 64].to(device)).float().cpu() for i in range(0, len(images), 64)]
        return torch.cat(parts) if parts else torch.empty(0, sum(f.width for f in self.schema.factors))

    def predict(self, cohort: Cohort) -> pd.DataFrame:
        """One row per image: `image_id`, `p_<factor>_<level>` per level of a category, `<factor>` per quantity."""
        if not cohort.space.matches(self.space):
            apart = self.space.difference(cohort.space)
            raise DataError(f"this classifier reads other images than the cohort has: {apart}; load it with size={self.space.size[-1]} and the same channels")
        blocks = [self.outputs(cohort.images.tensor(range(i, min(i + 512, len(cohort))))) for i in range(0, len(cohort), 512)]
        outputs = torch.cat(blocks) if blocks else self.outputs(torch.empty(0, *self.space.shape))
        columns: dict[str, np.ndarray] = {"image_id": cohort.table["image_id"].to_numpy()}
        for factor, place in zip(self.schema.factors, output_slices(self.schema)):
            if isinstance(factor, Category):
                chances = outputs[:, place].softmax(1).numpy()
                columns |= {f"p_{factor.name}_{level}": chances[:, i] for i, level in enumerate(factor.levels)}
            else:
                share = (outputs[:, place][:, 0].numpy().clip(-1, 1) + 1) / 2
                columns[factor.name] = factor.low + share * (factor.high - factor.low)
        return pd.DataFrame(columns)

    def score(self, cohort: Cohort, *, times: int = 200) -> pd.DataFrame:
        """AUC of each category and R² of each quantity with a 95 % patient-bootstrap interval.

        Returns:
            DataFrame factor, measure, value, low, high, n. A factor that the table lacks, or with fewer than two values, is left out.
        Raises:
            LeakageError: a patient of the training cohort is among those scored.
        """
        self.require_unseen(cohort)
        predicted = self.predict(cohort)
        rows = [score(factor, predicted, cohort.table, times=times) for factor in self.schema.factors]
        return pd.DataFrame([row for row in rows if row], columns=["factor", "measure", "value", "low", "high", "n"])

    def require_unseen(self, cohort: Cohort) -> None:
        """Raise LeakageError if a patient of the cohort was trained on."""
        both = sorted(self.patients & set(cohort.table["patient_id"]))
        if both:
            raise LeakageError(f"{len(both)} patient(s) of the cohort were trained on (first: {both[0]!r}); split by patient before fitting")
