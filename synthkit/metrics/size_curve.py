"""How a score depends on the number of images it was taken from."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.randomness import permutation
from synthkit.core.result import Tabled
from synthkit.errors import DataError
from synthkit.metrics.alike import in_order, require_alike
from synthkit.metrics.extractors import features
from synthkit.metrics.features import Extractor, Features, described
from synthkit.metrics.frechet import FrechetDistance
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import ImageMetric, Metric

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LEAST = 12
USUAL = (25, 50, 100, 200, 400)
BETWEEN = "real against real"


@dataclass(frozen=True, eq=False, repr=False)
class SizeCurve(Tabled):
    """Scores at several n.

    Args:
        rows: DataFrame metric, compared, n, value, low, high, draws, extractor. `value` is the mean over random subsets,
            low and high the range that 95 % of single subsets of that n fall into (mean ± 1.96 SD).
    """

    def figure(self) -> "Figure":
        from synthkit.core.curves import curves

        panels = {str(metric): part for metric, part in self.rows.groupby("metric", sort=False)}
        return curves(panels, x="n", y="value", line="compared", title=self.title, wide=False, log_x=True, x_names=["images a side"] * len(panels))


def size_curve(
    *, real: Cohort, other: Cohort, fake: Mapping[str, Cohort] | Cohort, train: Cohort, sizes: Sequence[int] | None = None,
    metrics: Sequence[Metric] = (FrechetDistance(), KID()), extractor: str | Features | Extractor | None = None, draws: int = 12, seed: int = 0,
) -> SizeCurve:  # fmt: skip
    """Scores of one or more synthetic cohorts at several n, beside real against real at the same n.

    Args:
        real, other: two real cohorts of different patients; between them the floor is taken.
        fake: a synthetic cohort, or several by name.
        train: further real patients, from whom the encoder learns.
        sizes: numbers of images a side; left out, 25, 50, 100, 200, 400 as far as the cohorts reach.
        metrics, extractor: as of `sk.evaluate`, but one extractor.
        draws: random subsets per size, whose mean and scatter are given.
    Raises:
        DataError: a size under 12 or larger than a cohort, fewer than 3 draws, or images that do not fit together.
        LeakageError: a patient in two of the real cohorts.

    Example:
        sk.size_curve(real=test, other=judge, fake={"A": fake_a, "B": fake_b}, train=train).figure()
    """
    fakes = {"synthetic": fake} if isinstance(fake, Cohort) else dict(fake)
    if not fakes or {"real", "other", "train", BETWEEN} & set(fakes):
        raise DataError(f"fake: give a cohort, or several by names of their own, got {list(fakes)}; real, other, train and {BETWEEN!r} are taken")
    require_alike("real", {"real": real, "other": other, "train": train, **fakes})
    for (name, a), (other_name, b) in combinations({"real": real, "other": other, "train": train}.items(), 2):
        require_disjoint(a, b, names=(name, other_name))
    if draws < 3:
        raise DataError(f"draws={draws} have no scatter to show; give at least 3")
    cohorts = {name: in_order(cohort) for name, cohort in {"real": real, BETWEEN: other, **fakes}.items()}
    sizes = _sizes(sizes, {name: len(cohort) for name, cohort in cohorts.items()})
    eyes, rows = features(extractor, train), []
    for metric in metrics:
        own = isinstance(metric, ImageMetric)
        sets = {name: described(cohort, metric.describe, name=metric.origin) if own else eyes.of(cohort) for name, cohort in cohorts.items()}
        for name in (*fakes, BETWEEN):
            rows += [_row(metric, sets, name, n, draws, seed) | {"extractor": metric.origin if own else eyes.name} for n in sizes]
    notes = (
        f"{draws} random subsets per point; low and high are the range of single subsets, not an interval of their mean.",
        "Subsets of nearly all images overlap, so that they scatter less than fresh ones would.",
    )
    return SizeCurve(f"Scores against the number of images, {real.provenance.source}", pd.DataFrame(rows), notes)


def _sizes(sizes: Sequence[int] | None, counts: Mapping[str, int]) -> list[int]:
    fewest = min(counts, key=lambda name: counts[name])
    chosen = [n for n in USUAL if n <= counts[fewest]] if sizes is None else sorted({int(n) for n in sizes})
    if not chosen or chosen[0] < LEAST or chosen[-1] > counts[fewest]:
        raise DataError(f"sizes {chosen} must lie between {LEAST} and {counts[fewest]}, the number of images of {fewest!r}")
    return chosen


def _row(metric: Metric, sets: Mapping[str, torch.Tensor], name: str, n: int, draws: int, seed: int) -> dict[str, object]:
    first, second = sets["real"], sets[name]
    values = [metric.compare(first[_some(len(first), n, seed, f"real {draw}")], second[_some(len(second), n, seed, f"{name} {draw}")]) for draw in range(draws)]
    mean, spread = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1))
    return {"metric": metric.name, "compared": name, "n": n, "value": mean, "low": mean - spread, "high": mean + spread, "draws": draws}


def _some(count: int, wanted: int, seed: int, name: str) -> np.ndarray:
    return permutation(count, seed=seed, identity=name, stream="size curve")[:wanted]
