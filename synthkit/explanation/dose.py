"""How much of a factor does it take? A classifier's chance against the dose, and the least dose that flips it, patient by patient."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.intervals import wilson
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.pixels import Pixels
from synthkit.core.result import Section
from synthkit.core.schema import Quantity
from synthkit.errors import DataError, SchemaError
from synthkit.explanation.attribution import explained, mean_with_interval
from synthkit.generators.editing import after, inverted
from synthkit.generators.generator import Generator
from synthkit.phantoms.phantom import Phantom
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

EDITED, EXACT = "edited", "exact"


@dataclass(frozen=True, eq=False, repr=False)
class DoseResponse(Section):
    """Chances of one level under growing doses of a factor.

    Args:
        factor, target, level: what was added to, and whose chance is followed.
        doses: (D,) what was added to each patient's own value, 0 first.
        chances: {source: (D, N)}; not a number where the dose would leave the factor's range.
        patients: row by row.
    """

    factor: str
    target: str
    level: str
    doses: tuple[float, ...]
    chances: dict[str, np.ndarray]
    patients: Cohort

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Chance of {self.target} = {self.level} against the dose of {self.factor}"

    def frame(self) -> pd.DataFrame:
        """Per source and dose: the mean chance with its 95 % interval over patients, n, and the share of all flipped by this dose or a smaller one (Wilson)."""
        units, rows = self.patients.table["patient_id"].to_numpy(), []
        for source, chances in self.chances.items():
            least = self.least(source)
            for dose, values in zip(self.doses, chances):
                known = np.isfinite(values)
                count = int((least <= dose).sum())
                low, high = wilson(count, len(least))
                flipped = {"flipped": count / len(least), "flipped_low": low, "flipped_high": high}
                if known.any():
                    rows.append({"twins": source, "dose": dose, **mean_with_interval(values[known], units[known]), **flipped})
        return pd.DataFrame(rows)

    def least(self, source: str = EDITED) -> np.ndarray:
        """(N,) the least dose that puts the chance on the other side of one half, by Captum's search; not a number where none does."""
        from captum.robust import MinParamPerturbation

        chances, found = self.chances[source], np.full(len(self.patients), np.nan)
        for row in range(len(self.patients)):
            shown = torch.from_numpy(np.nan_to_num(chances[:, row], nan=chances[0, row]).astype(np.float32))
            search = MinParamPerturbation(
                forward_func=lambda chance: chance, attack=lambda chance, dose, shown=shown: shown[dose : dose + 1], arg_name="dose", arg_min=0,
                arg_max=len(self.doses), arg_step=1, correct_fn=lambda chance, first=float(shown[0]): bool((chance > 0.5).item() == (first > 0.5)),
            )  # fmt: skip
            place = search.evaluate(shown[:1])[1]
            found[row] = np.nan if place is None else self.doses[int(place)]
        return found

    def figure(self) -> "Figure":
        """The mean chance against the dose, with its interval; the dotted rule is one half."""
        from synthkit.core.curves import curves

        frame = self.frame()
        return curves({"": frame}, x="dose", y="value", line="twins", title=self.title, y_name="mean chance", mark=0.5, wide=False, x_names=[self.factor])

    def caveats(self) -> list[str]:
        left = int((~np.isfinite(self.chances[next(iter(self.chances))][-1])).sum())
        said = ["The dose is added to each patient's own value, and all other factors are held."]
        if left:
            said.append(f"The largest dose leaves the range of {self.factor} for {left} of {len(self.patients)} patients; means are of those who remain.")
        return [*said, *self.patients.notes]


def dose_response(
    generator: Generator, classifier: Predictor, patients: Cohort, factor: str, *, doses: Sequence[float], target: str | None = None,
    level: str | None = None, truth: Phantom | None = None,
) -> DoseResponse:  # fmt: skip
    """Add growing doses of a quantity to every patient and follow a classifier's answer.

    Args:
        patients: images whose value of the factor is known.
        doses: what to add, such as (.05, .1, .2), or to take away (all negative); 0 is put first.
        target, level: whose chance is followed; the classifier's only category and its last level.
        truth: the phantom that drew the patients: the exact curve then stands beside.
    Raises:
        SchemaError: the factor is unknown, no quantity, or the target itself.
        DataError: doses that do not grow in one direction; nobody whose value is known.
        AbilityError: a generator without an encoder.
        LeakageError: a patient whom generator or classifier learnt from.

    Example:
        sk.dose_response(gen, clf, films, "opacity", doses=(.05, .1, .2, .3), truth=chest).figure()
    """
    target, level, steps = _checked(generator, classifier, patients, factor, doses, target, level, truth)
    known = patients[np.flatnonzero(patients.table[factor].notna())]
    own, quantity, name = known.table[factor].to_numpy(float), patients.schema[factor], f"p_{target}_{level}"
    start, space = inverted(generator, known), generator.space.sixteen_bit()
    chances: dict[str, list[np.ndarray]] = {EDITED: [], **({EXACT: []} if truth is not None else {})}
    for dose in steps:
        inside = (own + dose >= quantity.low) & (own + dose <= quantity.high)
        do = {factor: np.where(inside, own + dose, own)}
        edited = Cohort(Pixels([space.to_raw(start.under(after(generator, known, do)))], space), known.table, known.schema, known.provenance)
        chances[EDITED].append(np.where(inside, classifier.predict(edited)[name].to_numpy(), np.nan))
        if truth is not None:
            exact = [truth.counterfactual(known[[row]], {factor: float(value)}) for row, value in enumerate(do[factor])]
            chances[EXACT].append(np.where(inside, [classifier.predict(one)[name].item() for one in exact], np.nan))
    return DoseResponse(factor, target, level, steps, {source: np.stack(rows) for source, rows in chances.items()}, known)


def _checked(
    generator: Generator, classifier: Predictor, patients: Cohort, factor: str, doses: Sequence[float], target: str | None, level: str | None,
    truth: Phantom | None,
) -> tuple[str, str, tuple[float, ...]]:  # fmt: skip
    require_kind("generator", generator, Generator, "a fitted generator")
    require_kind("classifier", classifier, Predictor, "a fitted classifier, as sk.Classifier(...).fit(train) answers")
    require_kind("patients", patients, Cohort, "a cohort, as sk.load(...) answers")
    require_kind("doses", doses, Sequence, "a list of numbers, such as (.05, .1, .2)")
    require_kind("truth", truth, (Phantom, type(None)), "the phantom that drew the patients, or None")
    generator.require_unseen(patients)
    classifier.require_unseen(patients)
    target, level, _ = explained(classifier, target, level)
    if not isinstance(patients.schema[factor], Quantity) or factor == target:
        raise SchemaError(f"factor: {factor} is no quantity to add to, or what the classifier predicts; take one of "
                          f"{', '.join(one.name for one in patients.schema.factors if isinstance(one, Quantity) and one.name != target)}")  # fmt: skip
    for dose in doses:
        require_number("doses", dose, "numbers, such as (.05, .1, .2)")
    given = [float(dose) for dose in doses if dose]
    if not given or sorted(given, key=abs) != given or len(set(given)) < len(given) or len({dose > 0 for dose in given}) > 1:
        raise DataError(f"doses={tuple(doses)}: give doses that grow in one direction, such as (.05, .1, .2) or (-5, -10)")
    own, allowed = patients.table[factor].dropna().to_numpy(float), patients.schema[factor]
    outside = [dose for dose in given if len(own) and not ((own + dose >= allowed.low) & (own + dose <= allowed.high)).any()]
    if outside:
        raise DataError(f"doses: {outside[0]:g} leads every patient out of {allowed.low:g}..{allowed.high:g}, the range of {factor}; give smaller doses")
    if not patients.table[factor].notna().any():
        raise DataError(f"{factor} is blank in all {len(patients)} images, so that nothing can be added to it")
    return target, level, (0.0, *given)
