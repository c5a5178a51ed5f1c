"""Classifier: a recipe that learns to predict one factor, or several, from images."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from synthkit.core.budget import Budget, resolve
from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.imports import class_at
from synthkit.core.schema import Category, Schema
from synthkit.errors import DataError, FitError
from synthkit.nets.predictor import FactorPredictor

if TYPE_CHECKING:
    from synthkit.tasks.predictor import Predictor

BUDGETS = {"smoke": 60, "lesson": 600, "full": 10_000}
KEPT_APART = 0.15


@dataclass(frozen=True)
class Classifier:
    """Predict a category (or the value of a quantity) from the image.

    Args:
        target: a factor name, or several for one network with several heads.
        backbone: "module:Class" of any torch module called with channels, size and outputs.
        options: further keyword arguments of that class.
        augment: whether training images are shifted, zoomed, turned and re-exposed at random.
        batch_size, learning_rate: of the training.

    Example:
        clf = sk.Classifier(target="effusion").fit(train, seed=0)
    """

    target: str | tuple[str, ...]
    backbone: str = "synthkit.nets.convnet:ConvNet"
    options: Mapping[str, Any] = field(default_factory=dict)
    augment: bool = True
    batch_size: int = 32
    learning_rate: float = 2e-3

    @property
    def targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    def fit(
        self, train: Cohort, *, valid: Cohort | None = None, budget: Budget = "lesson", seed: int = 0, early_stopping: bool = True, progress: bool = True,
        balance: str | Sequence[str] | None = None, start: "Predictor | None" = None,
    ) -> "Predictor":  # fmt: skip
        """Train with early stopping on patients kept apart, or on all patients to the end of the budget.

        Args:
            valid: for early stopping; left out, 15 % of the patients of `train` are kept apart for it.
            budget: "smoke", "lesson", "full", minutes or steps, at most; it may stop earlier.
            early_stopping: False trains on every image of `train` for the whole budget, so that two runs may be compared.
            balance: a factor whose levels are drawn equally often, or several columns of the table, of which every combination that
                occurs is; left out, every image is drawn once per epoch.
            start: a predictor of the same targets, levels and backbone to go on from; its patients count as trained on, too.
        Raises:
            FitError: under 4 images, only one class, `valid` without early stopping, or a `start` of another kind.
            SchemaError: `balance` names no factor and no column.
            LeakageError: a patient in both train and valid, or one whom `start` learnt from among those kept apart.
        """
        from synthkit.tasks.predictor import Predictor
        from synthkit.training.data import TrainingData
        from synthkit.training.plan import Plan
        from synthkit.training.stopping import Watch
        from synthkit.training.trainer import train as run_plan

        schema = train.schema.only(self.targets)
        _require_two_classes(train, schema)
        learn, watched = _parts(train, valid, early_stopping, seed)
        balance = (balance,) if isinstance(balance, str) else tuple(balance or ())
        weights = cell_weights(learn, balance) if balance else None
        data = TrainingData(learn, schema.encode(learn.table), batch_size=self.batch_size, seed=seed, weights=weights)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = self.network(train, schema)
        if start is not None:
            _take_over(start, network, train, schema)
            if watched is not None:
                start.require_unseen(watched)
        watch = None if watched is None else Watch(lambda probe: held_out_loss(probe, watched, schema))
        title = f"Classifier of {', '.join(self.targets)}" if progress and len(self.targets) < 4 else ""
        plan = Plan(resolve(budget, BUDGETS), seed=seed, batch_size=self.batch_size, learning_rate=self.learning_rate, average=0.99, title=title, watch=watch)
        outcome = run_plan(network, data, plan)
        trained = {"recipe": asdict(self), "seed": seed, "steps": outcome.steps, "source": train.provenance.source,
                   "balance": " x ".join(balance) or None, "early_stopping": early_stopping, "started from": start.trained if start else None}  # fmt: skip
        patients = frozenset(name for part in (learn, watched) if part is not None for name in part.table["patient_id"])
        return Predictor(network.backbone, schema, train.space, patients | (start.patients if start else frozenset()), trained)

    def network(self, train: Cohort, schema: Schema) -> FactorPredictor:
        """The untrained network for a cohort's images."""
        outputs = sum(factor.width for factor in schema.factors)
        backbone = class_at(self.backbone, nn.Module)(channels=len(train.space.channels), size=train.space.size, outputs=outputs, **self.options)
        return FactorPredictor(backbone, schema, augmented=self.augment)


def _require_two_classes(train: Cohort, schema: Schema) -> None:
    for factor in schema.factors:
        values = train.table[factor.name].dropna()
        if values.nunique() < 2:
            kind = "level" if isinstance(factor, Category) else "value"
            found = f"only {values.iloc[0]!r}" if len(values) else "no known value"
            raise FitError(f"{factor.name}: {found} occurs in the {len(train)} training images; a classifier needs two {kind}s or more")


def cell_weights(cohort: Cohort, names: tuple[str, ...]) -> np.ndarray:
    """(N,) drawing weights that make every combination of the levels, groups or values of these columns equally frequent."""
    cells = pd.DataFrame({name: _groups(cohort, name).astype(object).where(lambda found: found.notna(), "missing") for name in names})
    return (1 / cells.groupby(list(names))[names[0]].transform("size")).to_numpy(float)


def _groups(cohort: Cohort, name: str) -> pd.Series:
    """The group of each image by a factor, or its value in another column of the table."""
    if name in cohort.schema or name not in cohort.table:
        return cohort.schema.groups(cohort.table, name)
    return cohort.table[name]


def _take_over(start: "Predictor", network: FactorPredictor, train: Cohort, schema: Schema) -> None:
    """Load the weights of another predictor; FitError where they do not fit."""
    if start.schema != schema or not start.space.matches(train.space):
        raise FitError(f"start predicts {start.schema.factors} from {start.space.shape} images; it must predict {schema.factors} from {train.space.shape} ones")
    try:
        network.backbone.load_state_dict(start.module.state_dict())
    except RuntimeError as error:
        raise FitError(f"start has another backbone than this recipe ({str(error).splitlines()[0]}); fit it by the same recipe") from None


def _parts(train: Cohort, valid: Cohort | None, early_stopping: bool, seed: int) -> tuple[Cohort, Cohort | None]:
    """What is learnt from, and what early stopping looks at."""
    if not early_stopping:
        if valid is not None:
            raise FitError("valid= serves early stopping, which is switched off; leave valid= out, or early_stopping=False")
        return train, None
    learn, watched = (train, valid) if valid is not None else _keep_apart(train, seed)
    require_disjoint(learn, watched, names=("train", "valid"))
    return learn, watched


def _keep_apart(train: Cohort, seed: int) -> tuple[Cohort, Cohort]:
    try:
        return train.split((1 - KEPT_APART, KEPT_APART), seed=seed)
    except DataError as error:
        raise FitError(f"early stopping needs patients kept apart, and this cohort cannot be split ({error}); give valid=, or early_stopping=False") from error


def held_out_loss(network: FactorPredictor, cohort: Cohort, schema: Schema) -> float:
    """Loss without augmentation on a cohort, up to 1,024 images."""
    device = next(network.parameters()).device
    code = torch.from_numpy(schema.encode(cohort.table))
    total, count = 0.0, min(len(cohort), 1024)
    for start in range(0, count, 64):
        rows = range(start, min(start + 64, count))
        outputs = network(cohort.images.tensor(rows).to(device))
        total += float(network.loss(outputs, code[list(rows)].to(device))) * len(rows)
    return total / count
