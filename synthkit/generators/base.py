"""Recipe: what a generator family offers before it is fitted."""
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from synthkit.core.budget import Budget, Minutes, Steps, resolve
from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.core.imports import class_at, path_of
from synthkit.core.kinds import require_kind, require_number
from synthkit.core.missing import require_whole
from synthkit.core.notice import FIT, told
from synthkit.core.provenance import canonical, digest
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import FitError
from synthkit.nets.network import Network
from synthkit.training.private import DP, PoissonPatients, Private

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator
    from synthkit.generators.stages import Stage

RECIPES: dict[str, type["Recipe"]] = {}


@dataclass(frozen=True)
class Recipe(ABC):
    """Settings of one generator family; `fit` answers a Generator. All fields are plain values, so a recipe is JSON.

    Attributes:
        budgets: steps by name.
        sampling: names of the fields that may be changed after the fit.
        teacher: family that a fit must start from, for those that learn from another generator.
    """

    budgets: ClassVar[Mapping[str, int]] = {"smoke": 20, "lesson": 2_500, "full": 60_000}
    sampling: ClassVar[tuple[str, ...]] = ()
    teacher: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        RECIPES[cls.__name__] = cls

    @abstractmethod
    def network(self, schema: Schema, space: Space) -> Network:
        """An untrained network for images of this space, conditioned by this schema."""

    @abstractmethod
    def stages(self, network: Network, schema: Schema, space: Space) -> "tuple[Stage, ...]":
        """What is trained one after another, so that the network is ready in the end."""

    def codes(self, train: Cohort) -> np.ndarray:
        """(N, width) what its network is told of each image: the factors.

        Raises:
            DataError: an image that lacks a channel, where the family cannot learn from the rest.
        """
        require_whole(train, f"teach a {type(self).__name__}")
        return train.schema.encode(train.table)

    def limits(self, network: Network) -> tuple[str, ...]:
        """What a generator with this network cannot do, for its card, beside what every card says."""
        return ()

    @property
    def bound(self) -> DP | None:
        """What it may at most give away of a patient; None where no bound is kept."""
        return None

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Images per training step."""

    @property
    @abstractmethod
    def learning_rate(self) -> float:
        """Peak learning rate of AdamW."""

    def to_json(self) -> dict[str, Any]:
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return {"family": path_of(type(self)), **settings}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Recipe":
        settings = {name: tuple(v) if isinstance(v, list) else v for name, v in data.items() if name != "family"}
        return class_at(data["family"], Recipe)(**settings)

    def fit(
        self, train: Cohort, *, valid: Cohort | None = None, budget: Budget = "lesson", seed: int = 0,
        run: str | Path | None = None, devices: int = 1, balance: str | None = None, start: "Generator | None" = None,
    ) -> "Generator":  # fmt: skip
        """Train on a cohort.

        Args:
            train: the images and factors to learn; the whole schema conditions.
            valid: patients kept apart, only checked for leakage and scored for the card where the network has a loss of its own (not GAN, Student).
            budget: "smoke", "lesson" (about 10 minutes on two cores), "full", "10 min", "500 steps", Minutes or Steps.
            seed: of the initial weights and every random choice.
            run: folder for checkpoints; an interrupted run found there is resumed.
            devices: GPUs, or processes on a CPU.
            balance: a factor whose levels are drawn equally often.
            start: a generator of the same network whose weights to go on from; see `Generator.fine_tune`.
        Raises:
            FitError: too few images, no room in memory, a run folder of other settings, a `start` that does not fit.
            LeakageError: a patient in both train and valid, or valid patients whom `start` learnt from.
        """
        from synthkit.generators.fitted import fitted
        from synthkit.generators.generator import Generator
        from synthkit.generators.stages import run_stages
        from synthkit.training.data import TrainingData, balance_weights
        from synthkit.training.plan import Plan

        require_kind("train", train, Cohort, "a cohort, as sk.load(...) answers")
        require_kind("start", start, (Generator, type(None)), "a fitted generator, as sk.Generator.load(folder) answers")
        require_number("seed", seed, "a whole number", whole=True)
        self.require_start(start)
        if valid is not None:
            require_disjoint(train, valid, names=("train", "valid"))
            if start is not None:
                start.require_unseen(valid)
        chosen = resolve(budget, self.budgets)
        identity = {"recipe": self.to_json(), "seed": seed, "budget": f"{type(chosen).__name__}({chosen.count})", "data": cohort_digest(train),
                    "balance": balance, **({"start": start.weights_digest()} if start else {})}  # fmt: skip
        private = self.counted(train, chosen, balance, start) if self.bound else None
        weights = balance_weights(train, balance) if balance else None
        chooser = PoissonPatients(train.table["patient_id"].to_numpy(), private.rate) if private else None
        data = TrainingData(train, self.codes(train), batch_size=self.batch_size, seed=seed, weights=weights, chooser=chooser)
        network, stages = self.untrained(train.schema, train.space, seed=seed, start=start)
        plan = Plan(chosen, seed=seed, batch_size=self.batch_size, learning_rate=self.learning_rate, run=Path(run) if run else None,
                    identity=identity, devices=devices, title=f"{type(self).__name__} on {train.provenance.source}", private=private)  # fmt: skip
        outcome = run_stages(stages, data, plan)
        made = fitted(self, network, train, valid=valid, start=start, outcome=outcome, identity=identity, private=private)
        return told(FIT, made, train=train)

    def untrained(self, schema: Schema, space: Space, *, seed: int, start: "Generator | None" = None) -> "tuple[Network, tuple[Stage, ...]]":
        """The network with its first weights, those of `start` where one is given, and how it is to be trained."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = self.network(schema, space)
            if start is not None:
                start.give_weights(network, schema, space)
            return network, self.stages(network, schema, space)

    def counted(self, train: Cohort, budget: Steps | Minutes, balance: str | None, start: "Generator | None") -> Private:
        """The training under this recipe's bound; FitError where the bound would not hold."""
        if balance:
            raise FitError(f"balance={balance!r} draws some patients more often, which the count of privacy does not know; leave it out")
        patients = train.table["patient_id"]
        known = patients[start.knows(train)].nunique() if start is not None else 0
        if known:
            raise FitError(f"start has learnt from {known} of these patients without a bound, so that none would hold; start from other patients")
        return Private.of(self.bound, patients=patients.nunique(), batch_size=self.batch_size, budget=budget)

    def require_start(self, start: "Generator | None") -> None:
        """Raise FitError unless a fit may begin from this generator, or from none."""
        family, theirs = type(self).__name__, type(start.recipe).__name__ if start is not None else ""
        if self.teacher and theirs != self.teacher:
            given = f"{theirs} is none" if theirs else "none was given"
            raise FitError(f"{family} learns from a fitted {self.teacher}, and {given}; fit one and give it as start=")
        if self.teacher and start.recipe.to_json().get("guidance"):
            raise FitError(f"{family} does not learn its teacher's guidance; give start=teacher.using(guidance={{}})")
        if not self.teacher and theirs not in ("", family):
            raise FitError(f"{family} cannot go on from the weights of {theirs}; give a fitted {family} as start=, or none")


def cohort_digest(cohort: Cohort) -> str:
    """sha256 over a cohort's stored pixels and factors: what a training manifest names."""
    from synthkit.core.provenance import pixel_digest

    rows = [pixel_digest(cohort.images.raw(range(a, min(a + 512, len(cohort))))) for a in range(0, len(cohort), 512)]
    return digest(canonical([rows, cohort.table[list(cohort.schema.names)].to_json(), cohort.schema.to_json()]))
