"""Drift: are new patients, images and table, still like those that a generator learnt from?"""
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.randomness import permutation
from synthkit.core.result import Tabled
from synthkit.errors import DataError, SchemaError
from synthkit.lifecycle.exchange import Measure, dealt, effects, p_values
from synthkit.lifecycle.looks import measures_of
from synthkit.metrics.extractors import features

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

FEWEST = 20  # patients of a side
MOST = 1_500  # images of a side; of more, whole patients are drawn, and of each no more images than let FEWEST patients in
COLUMNS = ("part", "measure", "value", "low", "high", "scale", "p", "p_adjusted", "n", "n_old", "result")
MOVED, STEADY = "moved", "no change shown"
NOTES = (
    'p_adjusted holds for all rows together: were nothing changed, the chance that any row says "moved" is at most alpha. Whole patients are permuted.',
    "An alarm says that something changed, not that it matters: read the effect with its interval. Without one, no change was shown; there may be one.",
    "Each 95 % interval is of its row alone; some of many leave zero out by chance, which p_adjusted allows for and they do not.",
)


@dataclass(frozen=True, eq=False, repr=False)
class Drift(Tabled):
    """What changed between the patients that a generator learnt from and new ones, one row per measure, the most certain first.

    Args:
        alpha: chance of a false alarm over the whole table.
        p: the smallest adjusted p-value.
    """

    alpha: float = field(kw_only=True)
    p: float = field(kw_only=True)

    @property
    def alarm(self) -> bool:
        """Whether any row is called moved."""
        return self.p <= self.alpha

    def figure(self) -> "Figure":
        """Effects with their intervals, a panel for each scale."""
        from synthkit.core.figures import interval_plot

        return interval_plot(self.rows.assign(metric=self.rows["scale"], group=self.rows["measure"], floor=np.nan), title=self.title)


def drift(new: Cohort, *, train: Cohort, alpha: float = 0.01, extractor: Any = None, times: int = 999, seed: int = 0) -> Drift:
    """Hold new real patients against those that a generator learnt from: images, and every factor of the table.

    Args:
        new: real patients who are not in `train`.
        train: what the generator learnt from. The encoder learns from one half of its patients and the other half is compared, since an encoder knows by
            heart whom it has learnt from.
        alpha: chance of a false alarm, over all rows together.
        extractor: as of `sk.evaluate`; an eye that learns from nobody lets all of `train` be compared.
        times: permutations of the patients.
        seed: of the halves and permutations.
    Returns:
        Drift: `.alarm`, and a row per measure with effect, 95 % interval, p-value and the p-value that holds for all rows.
    Raises:
        DataError: an empty cohort, images of another space, too few patients, or permutations that cannot reach alpha.
        SchemaError: other factors.
        LeakageError: a patient in both.

    Example:
        found = sk.drift(this_month, train=train)
        found.alarm
    """
    require_comparable(new, train, alpha, times)
    learns = extractor is None or extractor in ("encoder", "radiomics")
    taught, old = train.split((0.5, 0.5), by="patient_id", seed=seed) if learns else (train, train)
    _require_patients(old, "train (the half that is compared)" if learns else "train")
    eye = features(extractor, taught)
    old, cut_old = _some(old, seed, "old")
    new, cut_new = _some(new, seed, "new")
    both = _pooled(old, new)
    first = np.arange(len(both)) < len(old)
    patients, measures = both.table["patient_id"].to_numpy(), measures_of(both, eye)
    alone, together = p_values(measures, dealt(patients, first, times=times, seed=seed))
    rows = _rows(measures, alone, together, effects(measures, np.flatnonzero(first), np.flatnonzero(~first), patients, seed=seed), first, alpha)
    more = f"More images than are compared: patients were drawn, at most {MOST // FEWEST} images of each."
    said = [f"Images are seen by {eye.name}.", *NOTES, *([more] if cut_old or cut_new else [])]
    p = float(together.min())
    title = f"{'Drift' if p <= alpha else 'No drift shown'}: {new.provenance.source} against {train.provenance.source} (p = {p:.3g}, alpha = {alpha:g})"
    return Drift(title, rows, tuple(dict.fromkeys((*said, *new.notes))), cohorts={"test": new, "train": train}, alpha=alpha, p=p)


def require_comparable(new: Cohort, train: Cohort, alpha: float, times: int) -> None:
    """Refuse what cannot be compared."""
    for name, cohort in (("new", new), ("train", train)):
        require_kind(name, cohort, Cohort, "a cohort, as sk.load(...) answers")
    require_number("alpha", alpha, "a chance of a false alarm between 0 and 1")
    require_number("times", times, "a number of permutations", whole=True)
    if not 0 < alpha < 1 or (times + 1) * alpha < 1:
        needed = int(np.ceil(1 / max(alpha, 1e-9)))
        raise DataError(f"alpha={alpha:g} cannot be reached with {times} permutations; give alpha between 0 and 1, and times={needed} or more")
    if not len(new):
        raise DataError("new: the cohort is empty; there is nothing to compare")
    apart = train.space.difference(new.space)
    if apart:
        raise DataError(f"the new images do not fit to those of train: {apart}; load both with the same size=, channels and window=")
    if new.schema != train.schema:
        odd = {repr(f) for f in new.schema.factors} ^ {repr(f) for f in train.schema.factors}
        raise SchemaError(f"the new cohort has other factors than train ({', '.join(sorted(odd)) or 'their order'}); load it with train's schema")
    require_disjoint(train, new, names=("train", "new"))
    _require_patients(new, "new")


def _require_patients(cohort: Cohort, name: str) -> None:
    patients = cohort.table["patient_id"].nunique()
    if patients < FEWEST:
        raise DataError(f"{name}: {patients} patient(s) are too few to tell a change from chance; give {FEWEST} or more")


def _some(cohort: Cohort, seed: int, name: str) -> tuple[Cohort, bool]:
    """At most so many images, by patients, and whether there were more."""
    if len(cohort) <= MOST:
        return cohort, False
    shuffled = permutation(len(cohort), seed=seed, identity=name, stream="drift images")
    turn = cohort.table.iloc[shuffled].groupby("patient_id").cumcount().to_numpy()  # the how many-th of its patient
    rows = np.sort(shuffled[turn < MOST // FEWEST])
    ids = cohort.table["patient_id"].to_numpy()[rows]
    names, counts = np.unique(ids, return_counts=True)
    order = permutation(len(names), seed=seed, identity=name, stream="drift")
    kept = names[order[np.cumsum(counts[order]) <= MOST]]
    return cohort[rows[np.isin(ids, kept)]], True


def _pooled(old: Cohort, new: Cohort) -> Cohort:
    """Both as one, whatever other columns their tables have and whatever numbers their images go by."""

    def bare(cohort: Cohort, side: str) -> Cohort:
        table = cohort.table[["image_id", "patient_id", *cohort.schema.names]]
        return replace(cohort, table=table.assign(image_id=f"{side} " + table["image_id"]))

    return bare(old, "old") + bare(new, "new")


def _rows(
    measures: list[Measure], alone: np.ndarray, together: np.ndarray, sizes: list[tuple[float, float, float]], first: np.ndarray, alpha: float
) -> pd.DataFrame:
    counts = int((~first).sum()), int(first.sum())
    told = zip(measures, alone, together, sizes, strict=True)
    made = [(m.part, m.name, *size, m.scale, p, adjusted, *counts, MOVED if adjusted <= alpha else STEADY) for m, p, adjusted, size in told]
    return pd.DataFrame(made, columns=list(COLUMNS)).sort_values(["p_adjusted", "p"], kind="stable", ignore_index=True)
