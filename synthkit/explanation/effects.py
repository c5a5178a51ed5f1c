"""What a classifier answers when a factor is set both ways on the same patients, all else held."""
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import bootstrap, hidden_share
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.schema import Category, Quantity
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.attribution import explained
from synthkit.generators.editing import Inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

Show = Callable[[Mapping[str, object]], Cohort]
USES, DOES_NOT, UNDECIDED = "uses it", "does not", "undecided"
FEWEST = 10  # patients
TIMES = 1000
LOW, HIGH = 0.1, 0.9  # quantiles of the patients that a quantity is set to


def decided(low: float, high: float, margin: float, patients: int) -> str:
    """What an interval of an effect says, given the margin that matters.

    A resample cannot show a patient who was not drawn: "does not" also needs so many patients that those who could be hidden, at 2.5 %, would not
    move the mean by the margin, had they answered wholly otherwise (72 patients for a margin of .05).
    """
    if low > margin or high < -margin:
        return USES
    return DOES_NOT if -margin <= low and high <= margin and hidden_share(patients) <= margin else UNDECIDED


def what_decides(margin: float) -> str:
    """The rule of the three answers in words."""
    needed = next(count for count in range(1, 10_000) if hidden_share(count) <= margin) if margin > 0.001 else "thousands of"
    return (f"An effect matters here beyond {margin:g}: '{USES}' needs the whole 95 % interval beyond it, '{DOES_NOT}' the whole interval within it "
            f"and {needed} patients or more.")  # fmt: skip


def showing(patients: Cohort, start: Inverted | None, truth: Phantom | None) -> dict[str, Show]:
    """The ways to see the patients with factors set: by edits of their inverted images, and exactly."""
    shows: dict[str, Show] = {}
    if start is not None:
        shows["edited"] = start.edit
    if truth is not None:
        shows["exact"] = lambda do: truth.counterfactual(patients, do)
    return shows


def effects(
    models: Mapping[str, Predictor], shows: Mapping[str, Show], factor: str, both: Sequence[object], chance: str, *, margin: float, seed: int
) -> list[dict[str, object]]:  # fmt: skip
    """One row per way of showing the patients and model: how much its chance moves from the first value to the second, and the verdict.

    Args:
        models: by name, the one in question last.
        chance: the column of `Predictor.predict` that is followed.
    """
    rows: list[dict[str, object]] = []
    for name, show in shows.items():
        first, second = (show({factor: value}) for value in both)
        units = first.table["patient_id"].to_numpy()
        for who, model in models.items():
            change = (model.predict(second)[chance] - model.predict(first)[chance]).to_numpy()
            low, high = bootstrap(lambda chosen, change=change: float(change[chosen].mean()), units, times=TIMES, seed=seed)
            row = {"classifier": who, "twins": name, "effect": float(change.mean()), "low": low, "high": high, "n": len(np.unique(units))}
            rows.append({**row, "margin": margin, "verdict": decided(low, high, margin, row["n"])})
    return rows


def checked_models(
    classifier: Predictor, control: Predictor | None, truth: Phantom | None, patients: Cohort, target: str | None, level: str | None, margin: float
) -> tuple[str, str, dict[str, Predictor]]:  # fmt: skip
    """Target, level, and the models by name; DataError, SchemaError or LeakageError for what cannot be compared."""
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("control", control, (Predictor, type(None)), "another fitted classifier, or None")
    require_kind("truth", truth, (Phantom, type(None)), "the phantom that drew the patients, or None")
    require_kind("patients", patients, Cohort, "a cohort, as sk.load(...) answers")
    require_number("margin", margin, "a change of the chance that would matter, between 0 and 1")
    count = patients.table["patient_id"].nunique()
    if not 0 < margin < 1 or count < FEWEST:
        raise DataError(f"margin={margin}, {count} patients: a margin between 0 and 1 and {FEWEST} patients or more are needed")
    target, level, _ = explained(classifier, target, level)
    models = {**({"control": control} if control is not None else {}), "in question": classifier}
    for model in models.values():
        explained(model, target, level)
        model.require_unseen(patients)
        model.predict(patients[:1])
    return target, level, models


def both_values(factor: Category | Quantity, patients: Cohort) -> tuple[object, object] | None:
    """The two values that a factor is set to: the levels of a category of two, the patients' 10 % and 90 % quantiles of a quantity, or, where
    those are one, their extremes; None where there are no two.
    """
    if isinstance(factor, Category):
        return (factor.levels[0], factor.levels[1]) if len(factor.levels) == 2 else None
    values = pd.to_numeric(patients.table[factor.name]).dropna().to_numpy(float)
    if not len(values):
        return None
    low, high = np.quantile(values, [LOW, HIGH])
    low, high = (low, high) if low < high else (values.min(), values.max())
    return (float(low), float(high)) if low < high else None


def chosen_factors(editor: Generator, patients: Cohort, factors: Sequence[str] | None, *, but: str) -> dict[str, tuple[object, object]]:
    """The factors to set, with their two values: those that were asked for, or all that always apply and vary.

    Args:
        but: what the classifier predicts.
    Raises:
        SchemaError: a factor that was asked for is unknown to the editor or the patients, is the target, or has no two values to be set to.
    """
    if factors is None:
        shared = [factor for factor in editor.schema.factors if factor.name in patients.schema and factor.name != but and not factor.when]
        found = {factor.name: both_values(factor, patients) for factor in shared if patients.table[factor.name].nunique() > 1}
        if not any(found.values()):
            raise SchemaError(f"no factor to set: none of {', '.join(editor.schema.names)} varies among the patients; name factors=")
        return {name: both for name, both in found.items() if both}
    if isinstance(factors, str):
        raise SchemaError(f"factors={factors!r}: give a list of names, such as [{factors!r}]")
    found = {}
    for name in factors:
        if name == but:
            raise SchemaError(f"factors: {name} is what the classifier predicts; name suspects, such as a marker")
        both = both_values(editor.schema[name], patients) if name in patients.schema else None
        if both is None:
            raise SchemaError(f"factors: {name} cannot be set both ways: it needs two levels, or a quantity that varies among the patients; "
                              f"sk.shortcut(..., factor={name!r}, levels=(a, b)) takes any two values")  # fmt: skip
        found[name] = both
    return found


def where_it_applies(factor: str, patients: Cohort, *, most: int | None = None) -> np.ndarray:
    """The first rows that a factor applies to, `most` at most; DataError for fewer than 10 patients among them."""
    rows = np.flatnonzero(patients.schema.applies(patients.schema[factor], patients.table))[:most]
    count = patients.table["patient_id"].iloc[rows].nunique()
    if count < FEWEST:
        among = f" among the first {most} images" if most is not None and len(rows) == most else ""
        raise DataError(f"{factor} applies to {count} of the patients{among}, and {FEWEST} are needed; give more patients, chosen with .where(...)")
    return rows
