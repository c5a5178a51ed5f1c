"""What a metric notices: known faults put into real images, in growing degree, against what it says of faultless ones."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.randomness import permutation
from synthkit.core.schema import Category
from synthkit.errors import DataError, SchemaError
from synthkit.metrics.alike import require_alike
from synthkit.metrics.asked import require_distinct, required_metrics
from synthkit.metrics.corruptions import Blur, Copies, Corruption, LabelShuffling, ModeDropping, Noise
from synthkit.metrics.defaults import default_metrics
from synthkit.metrics.extractors import features
from synthkit.metrics.features import Extractor, Features, described
from synthkit.metrics.kernel import KID
from synthkit.metrics.metric import ImageMetric, Metric
from synthkit.metrics.noticed import Sensitivity, summary
from synthkit.metrics.probe import fit_probe
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

LEAST = 40


def sensitivity(
    real: Cohort, *, train: Cohort | None = None, factor: str | None = None, metrics: Sequence[Metric] | None = None,
    extractor: str | Features | Extractor | None = None, corruptions: Sequence[Corruption] | None = None, splits: int = 8, seed: int = 0,
) -> Sensitivity:  # fmt: skip
    """Measure the instruments: real images with known faults are scored against other real images.

    Args:
        real: patients to split at random, again and again; one half is spoilt and compared with the other.
        train: further real patients, one half for the encoder and one for a judge of `factor`.
        factor: a category; one of its levels is dropped, KID is also taken within its levels, and the judge scores it.
        metrics, extractor: as of `sk.evaluate`, but one extractor.
        corruptions: faults to try; by default blur, noise, copies and, where there is a factor, mode dropping and shuffled labels.
        splits: random splits of the patients.
    Raises:
        DataError: fewer than 40 images, or fewer than 3 splits.
        SchemaError: a factor that is not a category with two levels in `real`.
        LeakageError: a patient in both real and train.
    """
    _require(real, train, splits)
    level = None if factor is None else _rarer(real, factor)
    if corruptions is None:
        asked = () if factor is None else (ModeDropping(factor, level), LabelShuffling())
        corruptions = (Blur(), Noise(), Copies(), *asked)
    # Who judges must not be whom the encoder knows by heart.
    learn, judged = (real, None) if train is None else train.split((0.5, 0.5), seed=seed)
    eyes = features(extractor, learn)
    judge = fit_probe(judged, (factor,), eyes) if judged is not None and factor is not None and _rarer(judged, factor) else None
    taken, found = default_metrics(real.space) if metrics is None else required_metrics(metrics), []
    require_distinct("corruptions", [fault.name for fault in corruptions])
    for split in range(splits):
        half, other = real.split((0.5, 0.5), seed=seed + split)
        panel = _Panel(half, factor, taken, eyes, judge)
        for fault in corruptions:
            for degree in (0.0, *fault.degrees):
                spoilt = fault.apply(other, degree, seed=seed + split)
                shared = {"corruption": fault.name, "degree": degree, "unit": fault.unit, "n": min(len(half), len(spoilt))}
                found += [{**shared, **score} for score in panel.scores(spoilt, seed=seed + split)]
    rows = summary(pd.DataFrame(found), splits)
    missing = [metric.name for metric in taken if metric.name not in set(rows["metric"])]
    notes = [f"{len(real)} real images, {splits} random splits of the patients; the splits share images, so z is a rough guide."]
    notes += [f"{', '.join(missing)}: left out, more images are needed than a half holds."] if missing else []
    return Sensitivity(f"What each metric notices, on {real.provenance.source}", rows, tuple(notes))


def _require(real: Cohort, train: Cohort | None, splits: int) -> None:
    if len(real) < LEAST:
        raise DataError(f"{len(real)} images cannot show what a metric notices; at least {LEAST} are needed")
    if splits < 3:
        raise DataError(f"splits={splits} cannot show how faultless scores scatter; at least 3 are needed")
    if train is not None:
        require_alike("real", {"real": real, "train": train})
        require_disjoint(real, train, names=("real", "train"))


def _rarer(real: Cohort, factor: str) -> str:
    declared = real.schema[factor]
    counts = real.table[factor].value_counts()
    if not isinstance(declared, Category) or len(counts[counts > 0]) < 2:
        raise SchemaError(f"{factor} is not a category of which two levels occur in the cohort; give one that is, for instance sex")
    return str(counts[counts > 0].idxmin())


@dataclass(frozen=True)
class _Panel:
    """All instruments, with the faultless half that they compare with."""

    real: Cohort
    factor: str | None
    metrics: Sequence[Metric]
    eyes: Features
    judge: Predictor | None

    def scores(self, fake: Cohort, *, seed: int) -> Iterator[dict[str, object]]:
        n = min(len(self.real), len(fake))
        real = self.real[np.sort(permutation(len(self.real), seed=seed, identity="real", stream="equal n")[:n])]
        fake = fake[np.sort(permutation(len(fake), seed=seed, identity="fake", stream="equal n")[:n])]
        x, y = self.eyes.of(real), self.eyes.of(fake)
        for metric in self.metrics:
            if isinstance(metric, ImageMetric):
                a, b = (described(cohort, metric.describe, name=metric.origin) for cohort in (real, fake))
                yield _row(metric.name, metric.origin, metric.compare(a, b), metric.better)
            elif n >= metric.least(x.shape[1]):
                yield _row(metric.name, self.eyes.name, metric.compare(x, y), metric.better, share=metric.share)
        if self.factor is not None:
            yield _row(f"KID within {self.factor}", self.eyes.name, _within(x, y, real.table[self.factor], fake.table[self.factor]), "lower")
        if self.judge is not None:
            seen = Reading.of(self.judge.schema[self.factor], self.judge.predict(fake), fake.table)
            yield _row(f"Adherence AUC of {self.factor}", self.eyes.name, seen.value() if seen else float("nan"), "higher", share=True)


def _row(metric: str, extractor: str, value: float, better: str, *, share: bool = False) -> dict[str, object]:
    return {"metric": metric, "extractor": extractor, "value": value, "better": better, "share": share}


def _within(x: torch.Tensor, y: torch.Tensor, real: pd.Series, fake: pd.Series) -> float:
    """The mean of KID over the levels that both sets show."""
    pairs = [(np.flatnonzero(real == level), np.flatnonzero(fake == level)) for level in sorted(set(real.dropna()) & set(fake.dropna()))]
    values = [KID().compute(x[a], y[b]) for a, b in pairs if min(len(a), len(b)) > 1]
    return float(np.mean(values)) if values else float("nan")
