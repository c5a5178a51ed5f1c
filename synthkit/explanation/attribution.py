"""Why did the classifier's answer change? Captum attributions between an image and its counterfactual twin."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.figures import picture_figure, plane, signed_plane
from synthkit.core.intervals import bootstrap
from synthkit.core.result import Section
from synthkit.core.schema import Category
from synthkit.errors import AbilityError, SchemaError
from synthkit.explanation.counterfactual import Counterfactual
from synthkit.explanation.infidelity import TELLING, counterfactual_infidelity
from synthkit.explanation.log_odds import LogOdds, log_odds
from synthkit.explanation.methods import BY_TWIN, attributed, labelled, require_methods, require_regions
from synthkit.nets.predictor import output_slices
from synthkit.tasks.predictor import Predictor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

CHANGED = 2 / 127.5  # a pixel counts as changed above 2 of 255 grey levels


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Section):
    """Attributions of a classifier's change between originals and their twins.

    Args:
        twin: the counterfactual.
        target, level: the factor and level whose score is explained.
        before, after: (N,) probability of that level on the original and on the twin.
        attributions: {method: (N, C, [D,] H, W)}; positive pixels speak for the level on the original.
        log_odds_change: (N,) log-odds on the original minus on the twin, what IntegratedGradients must add up to.
        infidelities: {method: (N,)} for those that foretell that change: their squared error.
    """

    twin: Counterfactual
    target: str
    level: str
    before: np.ndarray
    after: np.ndarray
    attributions: Mapping[str, torch.Tensor]
    log_odds_change: np.ndarray
    infidelities: Mapping[str, np.ndarray]

    @property
    def title(self) -> str:  # type: ignore[override]
        return f"Why P({self.target} = {self.level}) changes under {self.twin.title.removeprefix('Counterfactual: ')}"

    def changed(self) -> torch.Tensor:
        """(N, C, [D,] H, W) bool: where the edit moved a pixel by more than 2/255."""
        return self.twin.delta.abs() > CHANGED

    def frame(self) -> pd.DataFrame:
        """Per method: share of its mass inside the edited region, that region's area, and the completeness gap, with intervals."""
        units, mask = self.twin.factual.table["patient_id"].to_numpy(), self.changed().flatten(1)
        drop = self.before - self.after
        rows = [{"measure": f"P({self.level}) before - after", **mean_with_interval(drop, units), "chance": 0.0}]
        area = float(mask.double().mean())
        for name, values in self.attributions.items():
            flat = values.flatten(1).double()
            inside = ((flat.abs() * mask).sum(1) / flat.abs().sum(1).clamp(min=1e-12)).numpy()
            # These fill in the twin's pixels, so they are near zero outside the edit whatever the classifier does.
            note, chance = (" (so by construction)", np.nan) if name in BY_TWIN else ("", area)
            rows.append({"measure": f"{name}: mass inside the edit{note}", **mean_with_interval(inside, units), "chance": chance})
            if name == "IntegratedGradients":
                gap = np.abs(flat.sum(1).numpy() - self.log_odds_change)
                rows.append({"measure": f"{name}: completeness gap (log-odds)", **mean_with_interval(gap, units), "chance": np.nan})
        whole = np.square(self.log_odds_change)
        for name, errors in self.infidelities.items() if whole.any() else ():
            low, high = bootstrap(lambda rows, errors=errors: float(errors[rows].mean() / max(whole[rows].mean(), 1e-12)), units)
            share = {"value": float(errors.mean() / whole.mean()), "low": low, "high": high, "n": len(errors)}
            rows.append({"measure": f"{name}: counterfactual infidelity", **share, "chance": 1.0})
        return pd.DataFrame(rows)

    def figure(self) -> "Figure":
        """Original, twin, difference and each attribution of the first images; one colour scale per column."""
        delta, shown = self.twin.delta, range(min(5, len(self.before)))
        limit = float(delta.abs().amax()) * 0.6
        scales = {name: float(np.quantile(values[: len(shown)].abs().numpy(), 0.995)) for name, values in self.attributions.items()}
        rows = [
            [plane(self.twin.factual.images[i]), plane(self.twin.edited.images[i]), signed_plane(delta[i], limit),
             *(signed_plane(values[i], scales[name]) for name, values in self.attributions.items())]
            for i in shown
        ]  # fmt: skip
        names = [f"P {self.before[i]:.2f} → {self.after[i]:.2f}" for i in shown]
        caption = f"red speaks for {self.level}, blue against; edited images are synthetic"
        return picture_figure(rows, title=self.title, row_names=names, column_names=["original", "edited", "difference", *self.attributions], caption=caption)

    def caveats(self) -> list[str]:
        return [
            "An attribution shows where this classifier looks, not where the disease is; a heat map alone can miss a shortcut.",
            "Mass inside the edit is read beside `chance`, the share of pixels that the edit changed. "
            "Where the twin is the baseline it is high by construction.",
            "Counterfactual infidelity is the squared error of the change of log-odds that a map foretells, as a share of the squared change: "
            "0 is exact, 1 is as good as a map of zeros.",
            *self.twin.caveats(),
        ]


def mean_with_interval(values: np.ndarray, units: np.ndarray) -> dict[str, float]:
    """The mean of values per image with its 95 % interval over units, and n."""
    low, high = bootstrap(lambda rows: float(values[rows].mean()), units)
    return {"value": float(values.mean()), "low": low, "high": high, "n": len(values)}


def explain(
    classifier: Predictor, twin: Counterfactual, *, methods: Sequence[str] | str = ("IntegratedGradients", "Occlusion", "LayerGradCam"),
    target: str | None = None, level: str | None = None, masks: Mapping[str, torch.Tensor] | None = None,
) -> Explanation:  # fmt: skip
    """Attribute the change of a classifier's score between originals and twins with Captum.

    Args:
        methods: of IntegratedGradients (the twin is its baseline), GradientShap and DeepLift (likewise), Occlusion (by the twin's pixels),
            FeatureAblation (the regions of `masks`, likewise), LayerGradCam, Saliency, SmoothGrad, InputXGradient; GuidedBackprop as a
            negative control, since it hardly depends on the classifier.
        target: factor to explain; the classifier's only category when left out.
        level: of that factor; its last level ("present") when left out.
        masks: for FeatureAblation, regions by name, bool (N, [D,] H, W), such as `chest.masks(films)`; where they overlap the later one counts.
    Raises:
        SchemaError: unknown factor or level.
        DataError: masks of another shape.
        AbilityError: unknown method, FeatureAblation without masks, or a method that the network does not allow.

    Example:
        why = sk.explain(clf, twin, methods=["IntegratedGradients", "Occlusion", "LayerGradCam"])
    """
    if not isinstance(classifier, Predictor) or not isinstance(twin, Counterfactual):
        raise AbilityError(f"explain takes a fitted classifier and a counterfactual, got {type(classifier).__name__} and {type(twin).__name__}")
    methods = (methods,) if isinstance(methods, str) else methods
    require_methods(methods)
    target, level, column = explained(classifier, target, level)
    regions = labelled(masks, twin.factual) if masks is not None else None
    require_regions(methods, regions)
    x, y = twin.factual.images.tensor(), twin.edited.images.tensor()
    chances = [_chance(classifier, cohort, target, level) for cohort in (twin.factual, twin.edited)]
    module = LogOdds(classifier.module.eval(), *column)
    device = classifier.device
    attributions = {name: attributed(name, module, x, y, device=device, regions=regions) for name in methods}
    change = (log_odds(classifier.outputs(x), *column) - log_odds(classifier.outputs(y), *column))[:, 0].numpy()
    missed = {
        name: counterfactual_infidelity(module, name, found, x, y, device=device) for name, found in attributions.items() if name in TELLING
    }  # fmt: skip
    return Explanation(twin, target, level, *chances, attributions, change, missed)


def explained(classifier: Predictor, target: str | None, level: str | None) -> tuple[str, str, tuple[slice, int]]:
    """The factor and level whose score is looked at, and the outputs that carry it; SchemaError where that must be said and is not."""
    categories = [f.name for f in classifier.schema.factors if isinstance(f, Category)]
    target = target or (categories[0] if len(categories) == 1 else None)
    if target is None or target not in categories:
        raise SchemaError(f"target={target!r}: name one of the classifier's categories: {', '.join(categories) or 'none'}")
    factor = classifier.schema[target]
    level = level or factor.levels[-1]
    if level not in factor.levels:
        raise SchemaError(f"{target}: {level!r} is not one of {', '.join(factor.levels)}")
    before = classifier.schema.names.index(target)
    return target, level, (output_slices(classifier.schema)[before], factor.levels.index(level))


def _chance(classifier: Predictor, cohort: Cohort, target: str, level: str) -> np.ndarray:
    return classifier.predict(cohort)[f"p_{target}_{level}"].to_numpy()
