"""Train one candidate with one seed, and let it predict."""
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.device import accelerator
from synthkit.core.schema import Schema
from synthkit.phantoms.phantom import one_thread
from synthkit.studies.hybrid.arms import BY_ORIGIN, UNIFORM, Arm
from synthkit.studies.hybrid.ledger import Ledger
from synthkit.studies.hybrid.rare import Rare
from synthkit.tasks.classifier import Classifier
from synthkit.tasks.predictor import Predictor
from synthkit.tasks.self_supervised import pretrained_body

PRETRAINING = 0.5  # of the steps
ORIGIN = "training origin"  # the column that tells real from added images
VALID, TEST = "chances on valid", "chances on test"


def learn(task: Classifier, arm: Arm, *, real: Cohort, added: Cohort | None, steps: int, seed: int) -> Predictor:
    """A classifier of one arm: the same weights to start from, and the same number of steps, for every arm of one seed."""
    recipe = replace(task, augment=arm.augment)
    balance = {UNIFORM: None, BY_ORIGIN: (task.targets[0], ORIGIN)}.get(arm.balance, task.targets[0])
    same: dict[str, Any] = {"seed": seed, "early_stopping": False, "progress": False, "balance": balance}
    if added is None:
        return recipe.fit(real, budget=Steps(steps), **same)
    if not arm.pretrain:
        return recipe.fit(joined(real, added), budget=Steps(steps), **same)
    first = max(1, int(PRETRAINING * steps))
    if not arm.labels:
        body = pretrained_body(recipe, joined(real, added), budget=Steps(first), seed=seed)
        return recipe.fit(real, budget=Steps(steps - first), start=body, **same)
    return recipe.fit(real, budget=Steps(steps - first), start=recipe.fit(added, budget=Steps(first), **same), **same)


def joined(real: Cohort, added: Cohort) -> Cohort:
    """Real and added images as one cohort."""
    return marked(real, "real") + marked(added, "added")


def marked(cohort: Cohort, origin: str) -> Cohort:
    """The cohort with a column that says where its images come from."""
    return replace(cohort, table=cohort.table.assign(**{ORIGIN: origin}))


def chances(predictor: Predictor, cohort: Cohort, rare: Rare) -> torch.Tensor:
    """(N,) chance of the rare class."""
    return torch.from_numpy(predictor.predict(cohort)[f"p_{rare.factor}_{rare.level}"].to_numpy("float64"))


@dataclass(frozen=True, eq=False)
class Job:
    """One classifier to be trained, tested, or both, in a process of its own.

    Args:
        key: all that the fit depends on; what is finished is found by it.
        added: images beside the real ones, or None.
    """

    ledger: Ledger
    key: dict[str, Any]
    task: Classifier
    arm: Arm
    rare: Rare
    seed: int
    steps: int

    def fit(self, real: Cohort, added: Cohort | None, valid: Cohort) -> None:
        """Train, predict the validation images, and store both; on one thread, so that the table does not depend on how many jobs run."""
        with one_thread():
            found = learn(self.task, self.arm, real=real, added=added, steps=self.steps, seed=self.seed)
            weights = {f"w.{name}": tensor for name, tensor in found.module.state_dict().items()}
            self.ledger.write("fit", self.key, {VALID: chances(found, valid, self.rare), **weights})

    def test(self, test_key: dict[str, Any], test: Cohort, schema: Schema) -> None:
        """Let the stored classifier predict the test images, and store that."""
        stored = self.ledger.read("fit", self.key)
        with one_thread(), torch.random.fork_rng():
            backbone = self.task.network(test, schema).backbone
            backbone.load_state_dict({name[2:]: tensor for name, tensor in stored.items() if name.startswith("w.")})
            found = Predictor(backbone.requires_grad_(False).eval().to(accelerator()), schema, test.space)
            self.ledger.write("test", test_key, {TEST: chances(found, test, self.rare)})


def fit_key(task: Classifier, arm: Arm, share: float, *, seed: int, steps: int, data: dict[str, str]) -> dict[str, Any]:
    """All that a fit depends on."""
    told = {name: value for name, value in asdict(arm).items() if name != "labels" or not value}
    return {"task": asdict(task), "arm": told, "share": share, "seed": seed, "steps": steps, **data}
