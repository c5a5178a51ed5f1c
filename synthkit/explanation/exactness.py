"""How near a counterfactual comes to the exact one, as a share of the change that was to be made."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane, signed_plane
from synthkit.core.intervals import bootstrap
from synthkit.core.result import Section
from synthkit.errors import DataError

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from synthkit.explanation.counterfactual import Counterfactual

EXACT = 1e-6


def signed_planes(changes: torch.Tensor, limit: float) -> list[np.ndarray]:
    """A signed picture of each change of a batch, on one scale."""
    return [signed_plane(change, limit) for change in changes]


def skill(edited: torch.Tensor, factual: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    """(N,) R²_Δ = 1 - |edited - truth|² / |factual - truth|²: 1 is exact, 0 as good as doing nothing, below 0 worse.

    Where the truth changes nothing the score is NaN.
    """
    wrong = (edited - truth).double().square().flatten(1).sum(1)
    wanted = (factual - truth).double().square().flatten(1).sum(1)
    return torch.where(wanted > EXACT, 1 - wrong / wanted.clamp(min=EXACT), torch.nan).numpy()


def pooled_skill(shown: torch.Tensor, start: torch.Tensor, exact: torch.Tensor) -> Callable[[np.ndarray], float]:
    """R2_delta of some rows, pooled: 1 - |shown - exact|² / |start - exact|²; 1 is exact, 0 as good as showing no change, below 0 worse.

    Args:
        shown, start, exact: (N, ...) what was made, what it was made from, and the truth.
    Returns:
        A function of row numbers; not a number where the truth changes none of them.
    """
    wrong, wanted = ((image.double() - exact.double()).square().flatten(1).sum(1).numpy() for image in (shown, start))

    def of(rows: np.ndarray) -> float:
        whole = wanted[rows].sum()
        return float(1 - wrong[rows].sum() / whole) if whole > 0 else float("nan")

    return of


@dataclass(frozen=True, eq=False, repr=False)
class Exactness(Section):
    """Counterfactuals beside their exact truth.

    Args:
        twin: the edit.
        truth: the exact counterfactual of every row.
    """

    twin: "Counterfactual"
    truth: Cohort

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"{self.twin.title}, against the exact truth"

    def _images(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.twin.edited.images.tensor(), self.twin.factual.images.tensor(), self.truth.images.tensor()

    def frame(self) -> pd.DataFrame:
        """Pooled and median R²_Δ of the edit, and of doing nothing (0 by definition), with 95 % intervals and n."""
        edited, factual, truth = self._images()
        each = skill(edited, factual, truth)
        units = self.twin.factual.table["patient_id"].to_numpy()
        rows = []
        for name, compute in (("pooled R2_delta", pooled_skill(edited, factual, truth)), ("median R2_delta", lambda r: float(np.nanmedian(each[r])))):
            low, high = bootstrap(compute, units)
            rows.append((name, float(compute(np.arange(len(each)))), low, high, len(each), 0.0))
        return pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n", "doing_nothing"])

    def figure(self) -> "Figure":
        """Original, edit, truth, and both differences on one scale."""
        edited, factual, truth = self._images()
        limit = float((truth - factual).abs().amax()) * 0.6
        shown = range(min(6, len(edited)))
        changes = [signed_planes(made - factual, limit) for made in (edited, truth)]
        rows = [[plane(factual[i]), plane(edited[i]), plane(truth[i]), changes[0][i], changes[1][i]] for i in shown]
        scores = skill(edited, factual, truth)
        names = ["original", "edit", "truth", "edit's change", "true change"]
        labels = [f"R²Δ {scores[i]:.2f}" for i in shown]
        return picture_figure(rows, title=self.title, row_names=labels, column_names=names, caption="red brighter, blue darker")

    def caveats(self) -> list[str]:
        return ["Exact truth exists for phantoms only; on real images an edit can be checked by predictors, not proven.", *self.twin.caveats()]


def exactness(twin: "Counterfactual", truth: Cohort) -> Exactness:
    """Compare an edit with its exact truth; DataError unless both have the same patients row by row, the same size, and a change to find."""
    if len(truth) != len(twin.factual) or not truth.space.matches(twin.factual.space):
        raise DataError(f"truth has {len(truth)} images of {truth.space.shape}, the edit {len(twin.factual)} of {twin.factual.space.shape}; give the same rows")
    if list(truth.table["patient_id"]) != list(twin.factual.table["patient_id"]):
        raise DataError("truth holds other patients, or in another order, than the edit; make it from twin.factual")
    if not skill_is_defined(twin.factual, truth):
        raise DataError("the truth changes no image: there is no edit to score; does `do` set what already holds?")
    return Exactness(twin, truth)


def skill_is_defined(factual: Cohort, truth: Cohort) -> bool:
    """Whether the true counterfactual differs from the original anywhere."""
    return bool((factual.images.tensor() - truth.images.tensor()).abs().amax() > EXACT)
