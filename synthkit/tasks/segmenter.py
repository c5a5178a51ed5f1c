"""Segmenter: a recipe that learns to outline organs where masks exist."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from synthkit.core.budget import Budget, resolve
from synthkit.core.cohort import Cohort, require_disjoint
from synthkit.errors import DataError, FitError
from synthkit.nets.segmenter import OrganNet
from synthkit.tasks.organs import OrganFinder, checked

BUDGETS = {"smoke": 40, "lesson": 400, "full": 6_000}
KEPT_APART = 0.15
SEEN = 0.01  # share of the images that must show an organ for it to be learnt unasked
Masks = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Segmenter:
    """Outline organs in images; each organ is a yes/no map of its own, so organs may overlap.

    Args:
        organs: which of the masks to learn; () learns all that at least 1 % of the images show.
        width: features at full resolution.
        augment: whether training images are mirrored, shifted, zoomed, turned and re-exposed at random.
        batch_size, learning_rate: of the training.

    Example:
        finder = sk.Segmenter(organs=("lungs", "heart")).fit(train, masks=chest.masks(train))
    """

    organs: tuple[str, ...] = ()
    width: int = 16
    augment: bool = True
    batch_size: int = 16
    learning_rate: float = 4e-3

    def __post_init__(self) -> None:
        object.__setattr__(self, "organs", (self.organs,) if isinstance(self.organs, str) else tuple(self.organs))

    def fit(
        self, train: Cohort, masks: Masks, *, valid: tuple[Cohort, Masks] | None = None, budget: Budget = "lesson", seed: int = 0, progress: bool = True
    ) -> OrganFinder:
        """Train with early stopping on patients kept apart.

        Args:
            masks: organ to (N, [D,] H, W) booleans, row by row those of `train`.
            valid: a cohort and its masks for early stopping; left out, 15 % of the patients of `train` are kept apart for it.
            budget: "smoke", "lesson", "full", minutes or steps, at most; it may stop earlier.
        Raises:
            DataError: masks of another shape or kind.
            FitError: an organ that no training image shows, or too few images.
            LeakageError: a patient in both train and valid.
        """
        from synthkit.training.data import TrainingData
        from synthkit.training.plan import Plan
        from synthkit.training.stopping import Watch
        from synthkit.training.trainer import train as run_plan

        organs = _learnable(self.organs, checked(masks, train))
        learn, truth = train, _stacked(masks, organs)
        if valid is None:
            learn, truth, watched, held = _keep_apart(train, truth, seed)
        else:
            watched, held = valid[0], _stacked(_those(valid[1], organs, valid[0]), organs)
        require_disjoint(learn, watched, names=("train", "valid"))
        if not watched.space.matches(train.space):
            raise DataError(f"valid and train do not fit together: {watched.space.difference(train.space)}; load both with the same size=")
        data = TrainingData(learn, truth.flatten(1).numpy(), batch_size=self.batch_size, seed=seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = self.network(train, len(organs))
        watch = Watch(lambda probe: held_out_loss(probe, watched, held))
        title = f"Segmenter of {', '.join(organs)}" if progress and len(organs) < 4 else "Segmenter" if progress else ""
        plan = Plan(resolve(budget, BUDGETS), seed=seed, batch_size=self.batch_size, learning_rate=self.learning_rate, average=0.98, title=title, watch=watch)
        outcome = run_plan(network, data, plan)
        trained = {"recipe": asdict(self), "seed": seed, "steps": outcome.steps, "source": train.provenance.source}
        return OrganFinder(network, organs, train.space, frozenset({*learn.table["patient_id"], *watched.table["patient_id"]}), trained)

    def network(self, train: Cohort, organs: int) -> OrganNet:
        """The untrained network for a cohort's images."""
        return OrganNet(channels=len(train.space.channels), size=train.space.size, organs=organs, width=self.width, augmented=self.augment)


def _learnable(wanted: tuple[str, ...], masks: Masks) -> tuple[str, ...]:
    """The organs to learn; FitError where there is nothing to learn from."""
    unknown = [organ for organ in wanted if organ not in masks]
    if unknown:
        raise DataError(f"masks has no organ {unknown[0]!r}; it has {', '.join(masks)}")
    shown = {organ: int(mask.flatten(1).any(1).sum()) for organ, mask in masks.items()}
    empty = [organ for organ in wanted if not shown[organ]]
    if empty:
        raise FitError(f"masks of {empty[0]} are empty in all {len(masks[empty[0]])} training images; leave it out of organs=, or give images that show it")
    found = wanted or tuple(organ for organ, count in shown.items() if count > SEEN * len(masks[organ]))
    if not found:
        raise FitError(f"no organ of {', '.join(masks)} is seen in more than {SEEN:.0%} of the training images; name those to learn in organs=")
    return found


def _stacked(masks: Masks, organs: tuple[str, ...]) -> torch.Tensor:
    """(N, organs, [D,] H, W) booleans."""
    return torch.stack([torch.as_tensor(masks[organ]).bool() for organ in organs], 1)


def _those(masks: Masks, organs: tuple[str, ...], cohort: Cohort) -> Masks:
    lacking = [organ for organ in organs if organ not in masks]
    if lacking:
        raise DataError(f"the masks of valid lack {lacking[0]!r}, which is to be learnt")
    return checked({organ: masks[organ] for organ in organs}, cohort)


def _keep_apart(train: Cohort, truth: torch.Tensor, seed: int) -> tuple[Cohort, torch.Tensor, Cohort, torch.Tensor]:
    try:
        learn, watched = train.split((1 - KEPT_APART, KEPT_APART), seed=seed)
    except DataError as error:
        raise FitError(f"early stopping needs patients kept apart, and this cohort cannot be split ({error}); give valid=(cohort, masks)") from error
    place = {name: row for row, name in enumerate(train.table["image_id"])}
    rows = [[place[name] for name in part.table["image_id"]] for part in (learn, watched)]
    return learn, truth[rows[0]], watched, truth[rows[1]]


def held_out_loss(network: OrganNet, cohort: Cohort, truth: torch.Tensor) -> float:
    """Loss without augmentation on a cohort, up to 256 images; truth is (N, organs, [D,] H, W)."""
    device = next(network.parameters()).device
    total, count = 0.0, min(len(cohort), 256)
    for start in range(0, count, 64):
        rows = range(start, min(start + 64, count))
        total += float(network.loss(network(cohort.images.tensor(rows).to(device)), truth[list(rows)].float().to(device))) * len(rows)
    return total / count
