"""What a metric notices: known faults put into real images, in growing degree, against what it says of faultless ones."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.intervals import wilson
from synthkit.core.randomness import permutation
from synthkit.core.result import Section
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
from synthkit.metrics.probe import fit_probe
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.scoring import Reading

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

LEAST = 40
SEEN = 3.0  # standard deviations of the faultless scores

Sets = Mapping[str, torch.Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity(Section):
    """Which metric sees which fault.

    Args:
        rows: DataFrame corruption, degree, unit, metric, extractor, value, floor, z, n, splits. `value` is the mean over
            random splits of the patients, `floor` the same without the fault, `z` how many standard deviations of the
            faultless scores lie between the two, positive where the metric calls it worse.
    """

    title: str
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()

    def frame(self) -> pd.DataFrame:
        return self.rows

    def seen(self) -> pd.DataFrame:
        """The least degree of each fault from which on z stays above 3, one row per metric; blank where it stays unseen."""
        table = self.rows.pivot_table(index=["metric", "extractor"], columns="corruption", values="degree", aggfunc="min", sort=False).astype(object)
        for (metric, extractor, corruption), part in self.rows.groupby(["metric", "extractor", "corruption"], sort=False):
            late = part.loc[part["z"][::-1].cummin()[::-1] > SEEN, "degree"]
            table.loc[(metric, extractor), corruption] = late.min() if len(late) else ""
        return table.reset_index()

    def figure(self) -> "Figure":
        from synthkit.core.curves import curves

        panels = {str(name): part for name, part in self.rows.groupby("corruption", sort=False)}
        units = [part["unit"].iloc[0] for part in panels.values()]
        return curves(panels, x="degree", y="z", line="metric", title=self.title, y_name="z: standard deviations of faultless scores", mark=SEEN, x_names=units)

    def caveats(self) -> list[str]:
        return list(self.notes)


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
        corruptions: faults to try; by default blur, noise, duplicates and, where there is a factor, mode dropping and shuffled labels.
        splits: random splits of the patients.
    Raises:
        DataError: fewer than 40 images, or fewer than 3 splits.
        SchemaError: a factor that is not a category with two levels in `real`.
        LeakageError: a patient in both real and train.
    """
    if len(real) < LEAST:
        raise DataError(f"{len(real)} images cannot show what a metric notices; at least {LEAST} are needed")
    if splits < 3:
        raise DataError(f"splits={splits} cannot show how faultless scores scatter; at least 3 are needed")
    if train is not None:
        require_alike("real", {"real": real, "train": train})
        require_disjoint(real, train, names=("real", "train"))
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
    rows = _summary(pd.DataFrame(found), splits)
    missing = [metric.name for metric in taken if metric.name not in set(rows["metric"])]
    notes = [f"{len(real)} real images, {splits} random splits of the patients; the splits share images, so z is a rough guide."]
    notes += [f"{', '.join(missing)}: left out, more images are needed than a half holds."] if missing else []
    return Sensitivity(f"What each metric notices, on {real.provenance.source}", rows, tuple(notes))


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


def _summary(found: pd.DataFrame, splits: int) -> pd.DataFrame:
    rows = []
    for (corruption, unit, metric, extractor), part in found.groupby(["corruption", "unit", "metric", "extractor"], sort=False):
        clean = part.loc[part["degree"] == 0, "value"]
        worse, n = 1 if part["better"].iloc[0] == "lower" else -1, int(part["n"].min())
        spread = clean.std(ddof=1)
        if part["share"].iloc[0]:
            # A share of 1 in every split has no spread, and yet is not certain.
            low, high = wilson(round(clean.mean() * n), n)
            spread = max(spread, (high - low) / 4)
        for degree, here in part.groupby("degree"):
            z = worse * (here["value"].mean() - clean.mean()) / spread if spread > 0 else float("nan")
            rows.append({"corruption": corruption, "degree": degree, "unit": unit, "metric": metric, "extractor": extractor,
                         "value": here["value"].mean(), "floor": clean.mean(), "z": z, "n": int(here["n"].min()), "splits": splits})  # fmt: skip
    return pd.DataFrame(rows)
