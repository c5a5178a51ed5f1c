"""What a server asks of a site in one round."""
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.stages import Stage

if TYPE_CHECKING:
    from flwr.app import ConfigRecord

MU = "proximal-mu"  # as Flower's FedProx names it


@dataclass(frozen=True)
class Orders:
    """One round of one stage.

    Args:
        recipe: what is fitted, as JSON.
        seed: of the whole training; each site draws from a stream of its own.
        number: of the round, from 1; 0 for measuring before a stage.
        stage: which part of the recipe is trained.
        start, stop, total: steps of that part: before the round, after it, and in all.
    """

    recipe: dict[str, Any]
    seed: int
    number: int
    stage: int
    start: int
    stop: int
    total: int

    @property
    def steps(self) -> int:
        return self.stop - self.start

    def record(self) -> "ConfigRecord":
        from flwr.app import ConfigRecord

        return ConfigRecord({"orders": json.dumps(asdict(self))})

    @staticmethod
    def of(record: "ConfigRecord") -> "Orders":
        return Orders(**json.loads(record["orders"]))


def schedule(recipe: Recipe, stages: tuple[Stage, ...], *, rounds: int, local_steps: int, seed: int) -> list[Orders]:
    """All rounds in their order; a recipe of several stages gives each its share of them."""
    if rounds < len(stages):
        raise FitError(f"rounds={rounds}: a {type(recipe).__name__} is trained in {len(stages)} parts one after another; give at least as many rounds")
    ends = [round(rounds * sum(stage.share for stage in stages[: number + 1]) / sum(stage.share for stage in stages)) for number in range(len(stages))]
    ends = [min(max(end, number + 1), rounds - (len(stages) - 1 - number)) for number, end in enumerate(ends)]
    told, before = [], 0
    for stage, end in enumerate(ends):
        common = {"recipe": recipe.to_json(), "seed": seed, "stage": stage, "total": (end - before) * local_steps}
        if stages[stage].prepare:
            told.append(Orders(number=0, start=0, stop=0, **common))
        told += [Orders(number=before + n + 1, start=n * local_steps, stop=(n + 1) * local_steps, **common) for n in range(end - before)]
        before = end
    return told
