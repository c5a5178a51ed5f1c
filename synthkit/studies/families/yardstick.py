"""One yardstick for several families: the same real rows, the same eye, the same requests and the same random halves."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import Z, half_samples, wilson
from synthkit.errors import DataError
from synthkit.metrics.asked import taught
from synthkit.metrics.comparison import MANY, Comparison
from synthkit.metrics.extractors import features
from synthkit.metrics.features import Extractor, Features, described
from synthkit.metrics.metric import ImageMetric, Metric

FEWEST_HALVES = 30  # of fewer the spread is too uncertain for many differences at once


@dataclass(frozen=True)
class Difference:
    """A score minus another on the same images asked for, the standard error of that, and from how much it is known.

    Args:
        freedom: degrees of freedom of the error; those of few random halves are few, and the interval is Student's.
    """

    value: float
    error: float
    freedom: float = float("inf")

    def __post_init__(self) -> None:
        if not self.freedom > 0:
            raise DataError(f"freedom={self.freedom}: an error has more than 0 degrees of freedom; give the number of its draws less one")


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Real images, looked at once, that every family is held against.

    Args:
        metrics: what is scored.
        eyes: the extractor of the metrics that need features.
        sets: per metric, what is seen of the real rows (`real`) and of other real patients (`other`, where there are any).
        comparison: which rows are compared.
        learn: whom the extractor learnt from.
        seed: of the resampling.
    """

    metrics: tuple[Metric, ...]
    eyes: Features
    sets: Mapping[str, Mapping[str, torch.Tensor]]
    comparison: Comparison
    learn: Cohort
    seed: int

    @staticmethod
    def of(
        real: Cohort, *, train: Cohort, judge: object, metrics: Sequence[Metric], extractor: str | Features | Extractor | None, seed: int
    ) -> "Yardstick":  # fmt: skip
        """Teach the eye and look at the real images; `real` are also those whose factors are asked for, row by row."""
        learn, other = taught(real, real, train, judge, learns=extractor is None or extractor == "encoder", seed=seed)
        eyes = features(extractor, learn)
        cohorts = {"real": real, **({"other": other} if other is not None else {})}
        seen = {name: look(cohort, metrics, eyes) for name, cohort in cohorts.items()}
        constant = [m.name for m in metrics if not isinstance(m, ImageMetric) and not float(seen["real"][m.name].std(0).max())]
        if constant:
            raise DataError(f"the extractor {eyes.name!r} gives one and the same features for all real images; {constant[0]} cannot be taken with it")
        sets = {metric.name: {name: seen[name][metric.name] for name in cohorts} for metric in metrics}
        rows = {name: np.arange(len(cohort)) for name, cohort in cohorts.items()} | {"fake": np.arange(len(real))}
        units = {name: cohort.table["patient_id"].to_numpy() for name, cohort in cohorts.items()}
        # Every request is a case of its own, under one name in all families: so the halves are the same.
        units["fake"] = real.table["image_id"].to_numpy()
        return Yardstick(tuple(metrics), eyes, sets, Comparison.of(rows, units, seed=seed), learn, seed)

    def look(self, fake: Cohort) -> dict[str, torch.Tensor]:
        """What is seen of a family's images, per metric."""
        return look(fake, self.metrics, self.eyes)

    def row(self, metric: Metric, fake: torch.Tensor) -> dict[str, object]:
        """Value, interval, n, floor and reading of one metric."""
        return self.comparison.row(metric, {**self.sets[metric.name], "fake": fake}, seed=self.seed)

    def difference(self, metric: Metric, fake: torch.Tensor, first: torch.Tensor) -> Difference:
        """The metric of one family minus that of another.

        The standard error is the spread of the difference over random halves of the real patients and of the requests, the
        same halves for both families (delete-half jackknife, as for the scores themselves): what both owe to the choice of
        the patients and of the requests cancels. With h halves it has h - 1 degrees of freedom (Welch 1947 where Wilson's
        error at a limit is added).
        """
        (_, mine), (_, theirs) = self.comparison.real, self.comparison.fake
        real, a, b = self.sets[metric.name]["real"][mine], fake[theirs], first[theirs]
        if min(len(real), len(a)) < metric.least(real.shape[1]):
            return Difference(float("nan"), float("nan"))
        units = {"real": self.comparison.units["real"][mine], "fake": self.comparison.units["fake"][theirs]}
        times = min(metric.halves, max(FEWEST_HALVES, metric.halves * MANY // len(real)))
        halves = zip(*(half_samples(part, times=times, seed=self.seed, stream=side) for side, part in units.items()))
        enough = [(i, j) for i, j in halves if min(len(i), len(j)) >= metric.least(real.shape[1])]
        draws = [metric.compare(real[i], a[j]) - metric.compare(real[i], b[j]) for i, j in enough]
        scores = [metric.compare(real, rows) for rows in (a, b)]
        return _difference(scores, draws, _at_a_limit(scores, len(a)) if metric.share else 0.0)


def _difference(scores: Sequence[float], draws: Sequence[float], least: float) -> Difference:
    if len(draws) < 2:
        return Difference(scores[0] - scores[1], float("nan"))
    spread = float(np.std(draws, ddof=1))
    error = float(np.hypot(spread, least))
    return Difference(scores[0] - scores[1], error, (len(draws) - 1) * (error / spread) ** 4 if spread > 0 else float("inf"))


def _at_a_limit(shares: Sequence[float], n: int) -> float:
    """Standard error of a difference of shares that lie at 0 or 1, where halves show no spread: that of Wilson's intervals."""
    ends = [wilson(round(share * n), n) for share in shares if share in (0, 1)]
    return float(np.hypot.reduce([(high - low) / (2 * Z) for low, high in ends])) if ends else 0.0


def look(cohort: Cohort, metrics: Sequence[Metric], eyes: Features) -> dict[str, torch.Tensor]:
    """Per metric, one description per image; features are taken once."""
    plain = [metric for metric in metrics if not isinstance(metric, ImageMetric)]
    rows = eyes.of(cohort) if plain else torch.empty(0, 0)
    own = {metric.name: described(cohort, metric.describe, name=metric.origin) for metric in metrics if isinstance(metric, ImageMetric)}
    return {**{metric.name: rows for metric in plain}, **own}
