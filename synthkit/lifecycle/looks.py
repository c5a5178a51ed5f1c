"""What is compared of two cohorts: images as an encoder and as plain measures see them, and the factors of the table."""
import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category
from synthkit.errors import DataError
from synthkit.lifecycle.exchange import Distances, Levels, Measure, Quantities, euclidean
from synthkit.metrics.features import Features, described

COMPONENTS = 12  # principal ones of the features that get a row of their own
PLAIN = ("brightness", "contrast", "sharpness", "grain")


def measures_of(cohort: Cohort, eye: Features) -> list[Measure]:
    """Everything that may differ between two parts of this cohort; it knows nothing of the parts."""
    return [*_images(cohort, eye), *_table(cohort)]


def _images(cohort: Cohort, eye: Features) -> list[Measure]:
    seen = eye.of(cohort).numpy()
    if not np.isfinite(seen).all():
        raise DataError(f"the extractor {eye.name!r} gives features that are no numbers; give another, or leave out the images it cannot read")
    found: list[Measure] = [Distances("images", "all features of the images", euclidean(seen))]
    centred = seen - seen.mean(0)
    turned = centred @ np.linalg.svd(centred, full_matrices=False)[2][:COMPONENTS].T
    found += [Quantities("images", f"component {number + 1} of the features", column) for number, column in enumerate(turned.T)]
    plain = described(cohort, plain_measures, name="plain measures").numpy()
    channels = [channel.name for channel in cohort.space.channels]
    names = [f"{measure} of {channel}" if len(channels) > 1 else measure for channel in channels for measure in PLAIN]
    return found + [Quantities("images", name, column.astype(float)) for name, column in zip(names, plain.T, strict=True)]


def plain_measures(images: torch.Tensor) -> torch.Tensor:
    """(N, C, [D,] H, W) to (N, 4 C): mean, spread, steps between neighbours per spread, and what is left of three pixels in a row per spread."""
    found = []
    for channel in images.double().unbind(1):
        flat = channel.flatten(1)
        spread = flat.std(1).clamp(min=1e-6)
        steps = [channel.diff(dim=axis).abs().flatten(1).mean(1) for axis in range(1, channel.ndim)]
        bends = [channel.diff(dim=axis, n=2).abs().flatten(1).median(1).values for axis in range(1, channel.ndim)]
        found += [flat.mean(1), spread, sum(steps) / len(steps) / spread, sum(bends) / len(bends) / spread]
    return torch.stack(found, 1)


def _table(cohort: Cohort) -> list[Measure]:
    found: list[Measure] = []
    for factor in cohort.schema.factors:
        values = cohort.table[factor.name]
        if isinstance(factor, Category):
            found.append(Levels("table", factor.name, _codes(values)))
            continue
        found.append(Quantities("table", factor.name, values.to_numpy("float64")))
        if values.isna().any() and not factor.when:
            found.append(Levels("table", f"{factor.name} is blank", values.isna().to_numpy(int)))
    if len(cohort.schema.factors) > 1:
        code = cohort.schema.encode(cohort.table).astype(float)
        spread = code.std(0)
        found.append(Distances("table", "all factors of the table", euclidean(code[:, spread > 0] / spread[spread > 0])))
    return found


def _codes(values: pd.Series) -> np.ndarray:
    return pd.factorize(values.fillna("blank"), sort=True)[0]
