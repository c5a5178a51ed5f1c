"""How a score depends on the number of images it was taken from."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.randomness import permutation
from synthkit.core.result import Section
from synthkit.errors import DataError
from synthkit.metrics.extractors import features
from synthkit.metrics.features import Extractor, Features, described
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import ImageMetric, Metric

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LEAST = 12
BETWEEN = "real against real"


@dataclass(frozen=True, eq=False, repr=False)
class SizeCurve(Section):
    """Scores at several n.

    Args:
        rows: DataFrame metric, compared, n, value, low, high, draws, extractor. `value` is the mean over random subsets,
            low and high the range that 95 % of single subsets of that n fall into (mean ± 1.96 SD).
    """

    title: str
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        return self.rows

    def figure(self) -> "Figure":
        from synthkit.core.curves import curves

        panels = {str(metric): part for metric, part in self.rows.groupby("metric", sort=False)}
        return curves(panels, x="n", y="value", line="compared", title=self.title, wide=False, log_x=True)

    def caveats(self) -> list[str]:
        return list(self.notes)


def size_curve(
    *, real: Cohort, fake: Mapping[str, Cohort] | Cohort, train: Cohort, sizes: Sequence[int] = (25, 50, 100, 200),
    metrics: Sequence[Metric] = (FrechetDistance(), KID()), extractor: str | Features | Extractor | None = None, draws: int = 12, seed: int = 0,
) -> SizeCurve:  # fmt: skip
    """Scores of one or more synthetic cohorts at several n, beside real against real at the same n.

    Args:
        real, train: two real cohorts of different patients; between them the floor is taken. The encoder learns from `train`.
        fake: a synthetic cohort, or several by name.
        sizes: numbers of images a side.
        draws: random subsets per size; at most so many distinct ones overlap little while n is small beside the cohort.
    Raises:
        DataError: a size under 12 or larger than a cohort.
        LeakageError: a patient in both real and train.
    """
    require_disjoint(real, train, names=("real", "train"))
    fakes = {"synthetic": fake} if isinstance(fake, Cohort) else dict(fake)
    cohorts = {"real": real, BETWEEN: train, **fakes}
    most = {name: len(cohort) for name, cohort in cohorts.items()}
    fewest = min(most, key=lambda name: most[name])
    if not sizes or min(sizes) < LEAST or max(sizes) > most[fewest]:
        raise DataError(f"sizes {tuple(sizes)} must lie between {LEAST} and {most[fewest]}, the number of images of {fewest!r}")
    eyes, rows = features(extractor, train), []
    for metric in metrics:
        own = isinstance(metric, ImageMetric)
        sets = {name: described(cohort, metric.describe, name=metric.origin) if own else eyes.of(cohort) for name, cohort in cohorts.items()}
        for name in (*fakes, BETWEEN):
            rows += [_row(metric, sets, name, n, draws, seed) | {"extractor": metric.origin if own else eyes.name} for n in sorted(sizes)]
    largest = f"at n = {max(sizes)} of {most[fewest]} the subsets overlap, so that they scatter less than fresh ones would"
    return SizeCurve(f"Scores against the number of images, {real.provenance.source}", pd.DataFrame(rows), (f"{draws} random subsets per point; {largest}.",))


def _row(metric: Metric, sets: Mapping[str, torch.Tensor], name: str, n: int, draws: int, seed: int) -> dict[str, object]:
    score = metric.compare if isinstance(metric, ImageMetric) else metric.compute
    first, second = sets["real"], sets[name]
    values = [score(first[_some(len(first), n, seed, f"real {draw}")], second[_some(len(second), n, seed, f"{name} {draw}")]) for draw in range(draws)]
    mean, spread = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1))
    return {"metric": metric.name, "compared": name, "n": n, "value": mean, "low": mean - spread, "high": mean + spread, "draws": draws}


def _some(count: int, wanted: int, seed: int, name: str) -> np.ndarray:
    return permutation(count, seed=seed, identity=name, stream="size curve")[:wanted]
