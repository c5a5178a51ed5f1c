"""What a cohort may be scored with: who stands where, and which metrics."""
from collections.abc import Sequence
from itertools import combinations

from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.errors import DataError, LeakageError
from synthkit.metrics.alike import in_order, require_alike
from synthkit.metrics.comparison import FEW
from synthkit.metrics.metric import Metric
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

LEAST = 12
ABOUT = 0.75  # of the images compared


def require_cohorts(real: Cohort, fake: Cohort, train: Cohort | None, judge: Cohort | Predictor | Phantom | None) -> None:
    """Raise unless these may be compared: cohorts of one space, large enough, no patient in two of the real ones."""
    if judge is not None and not isinstance(judge, (Cohort, Predictor, Phantom)):
        raise DataError(f"judge: a cohort, a fitted predictor or a phantom is needed, got {type(judge).__name__}")
    named = {"real": real, "train": train, "judge": judge if isinstance(judge, Cohort) else None}
    given = {name: cohort for name, cohort in named.items() if cohort is not None}
    for name, cohort in (*given.items(), ("fake", fake)):
        if not isinstance(cohort, Cohort):
            raise DataError(f"{name}: a cohort is needed, got {type(cohort).__name__}; sk.load and gen.sample give one")
    require_alike("real", {**given, "fake": fake})
    for name, cohort in (*given.items(), ("fake", fake)):
        if len(cohort) < LEAST:
            raise DataError(f"{name}: {len(cohort)} images are too few to score; give at least {LEAST} ({FEW} for a score worth reading)")
    for (name, cohort), (other_name, other) in combinations(given.items(), 2):
        require_disjoint(cohort, other, names=(name, other_name))
    if isinstance(judge, (Predictor, Phantom)) and real.space.difference(judge.space):
        raise DataError(f"the judge reads other images than the real ones: {real.space.difference(judge.space)}")
    if isinstance(judge, Predictor):
        judge.require_unseen(real)
        both = sorted(judge.patients & set(train.table["patient_id"])) if train is not None else ()
        if both:
            raise LeakageError(f"the judge was fitted on {len(both)} patient(s) of train (first: {both[0]!r}); fit it on patients that no generator saw")


def taught(real: Cohort, fake: Cohort, train: Cohort | None, judge: object, *, learns: bool, seed: int) -> tuple[Cohort, Cohort | None]:
    """Whom the eyes learn from, and real patients for the floor.

    An eye knows by heart whom it has learnt from, and a floor against these would be too high: every fake would come closer.
    So the judge's patients serve where they are about as many as the images compared, else a part of `train`, at most half,
    from which the eye does not learn.

    Args:
        learns: whether any eye learns from what it is given; where none does, all of `train` serves the floor.
    """
    wanted = min(len(real), len(fake))
    others = in_order(judge) if isinstance(judge, Cohort) else None
    if train is None:
        return real, others
    if not learns:
        return train, train
    if others is not None and len(others) >= ABOUT * wanted:
        return train, others
    if train.table["patient_id"].nunique() < 2:
        raise DataError("train: one patient alone cannot teach the encoder and serve the floor; give images of two patients or more")
    share = min(0.5, wanted / len(train))
    return train.split((1 - share, share), by="patient_id", seed=seed)


def required_metrics(metrics: Metric | Sequence[Metric]) -> tuple[Metric, ...]:
    """The metrics as a tuple; DataError where one is none, or two have one name."""
    several = (metrics,) if isinstance(metrics, (Metric, str)) else tuple(metrics)
    wrong = [one for one in several if not isinstance(one, Metric)]
    if wrong:
        raise DataError(f"metrics: {wrong[0]!r} is no metric; give objects such as sk.KID() or sk.Coverage(k=3)")
    require_distinct("metrics", [metric.name for metric in several])
    return several


def require_distinct(what: str, names: Sequence[str]) -> None:
    """Two of one name could not be told apart in a table."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names:
        raise DataError(f"{what}: the list is empty; leave it out for the usual ones")
    if twice:
        raise DataError(f"{what}: two are called {twice[0]!r}; leave one out, or give an extractor a name with Features(name, callable)")
