"""One generator of several hospitals, whose images never leave them."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.core.cohort import Cohort
from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.generator import Generator
from synthkit.scale.federated.asked import Asked
from synthkit.scale.federated.facts import require_together
from synthkit.scale.federated.flower import quiet, require_flower, strategy_of
from synthkit.scale.federated.keeping import Keeping
from synthkit.scale.federated.model import Model
from synthkit.scale.federated.named import named
from synthkit.scale.federated.orders import schedule
from synthkit.scale.federated.outcome import outcome
from synthkit.scale.federated.rounds import Course, ask_facts
from synthkit.scale.federated.site import Site

if TYPE_CHECKING:
    from flwr.serverapp import Grid


def federate(
    recipe: Recipe, sites: Sequence[Cohort] | Mapping[str, Cohort], *, rounds: int = 20, local_steps: int = 50, strategy: str = "fedavg", mu: float = 0.01,
    seed: int = 0, valid: Sequence[Cohort] | Mapping[str, Cohort] | None = None, run: str | Path | None = None, start: Generator | None = None,
    timeout_s: float | None = None,
) -> Generator:  # fmt: skip
    """Fit one generator at several sites by averaging weights (McMahan et al. 2017), here with all sites on this machine, one after another.

    In every round each site trains from the common weights on its own images; the means of what comes back, weighted by images, are the next
    common weights. The moving average of the weights, which is what samples are drawn with, is averaged likewise, and statistics of
    normalisation are joined as if the images were pooled. The learning rate falls over all rounds. `sk.flower_app` trains with sites on
    other machines by the same code.

    Args:
        sites: cohorts by name, or a list of them, named by where they come from.
        rounds: how often weights are exchanged.
        local_steps: at each site and in each round.
        strategy: "fedavg", or "fedprox", which holds each site near to the common weights.
        mu: weight of that.
        valid: patients apart, site by site, with whom each site judges the outcome.
        run: folder in which the training goes on after an interruption.
        start: a generator of the same network whose weights to go on from.
        timeout_s: after so many seconds a site's answer is no longer waited for; the round goes on with the others.
    Returns:
        A generator; `sk.federation(gen)` shows its rounds. Its provenance names every site with its manifest root, and every round that a
        site missed or in which its update was refused.
    Raises:
        FitError: fewer than two sites, one of them empty, or a round in which no site's update could be used.
        SchemaError, DataError: sites with different factors or images; the difference is named.
        LeakageError: a patient at two sites.
        MissingExtraError: Flower is not installed.

    Example:
        gen = sk.federate(sk.Diffusion(), {"north": north, "south": south}, rounds=20, local_steps=50, seed=0)
    """
    require_kind("recipe", recipe, Recipe, "an untrained recipe, such as sk.Diffusion()")
    require_kind("start", start, (Generator, type(None)), "a fitted generator, as sk.Generator.load(folder) answers")
    asked = Asked(recipe, rounds, local_steps, strategy, mu, seed)
    if timeout_s is not None:
        require_number("timeout_s", timeout_s, "a number of seconds above 0")
        if timeout_s <= 0:
            raise FitError(f"timeout_s={timeout_s}: give a number of seconds above 0, or None to wait")
    cohorts = named(sites, "sites")
    judged = {} if valid is None else named(valid, "valid", like=list(cohorts))
    require_flower()
    from synthkit.scale.federated.one_machine import OneMachine

    with quiet():
        grid = OneMachine([Site(name, cohort, judged.get(name)) for name, cohort in cohorts.items()], timeout_s=timeout_s)
        return trained(grid, grid.get_node_ids(), asked, start=start, run=run, timeout_s=timeout_s, contexts=grid.contexts)


def trained(
    grid: "Grid", nodes: Sequence[int], asked: Asked, *, start: Generator | None, run: str | Path | None, timeout_s: float | None, contexts: Mapping
) -> Generator:
    """Train at the sites behind a grid, wherever they are."""
    strategy = strategy_of(asked.strategy, asked.mu)
    facts = ask_facts(grid, nodes, timeout_s=timeout_s)
    require_together({one.name: one for one in facts.values()})
    asked.recipe.require_start(start)
    first = next(iter(facts.values()))
    model = Model.of(asked.recipe, first.schema, first.space, seed=asked.seed, start=start)
    identity = {"recipe": asked.recipe.to_json(), **asked.settings(), "seed": asked.seed, "sites": {one.name: one.data for one in facts.values()},
                "start": start.weights_digest() if start else None}  # fmt: skip
    keeping = Keeping(Path(run), identity, contexts) if run else None
    course = Course(grid, strategy, facts, model, asked.recipe, timeout_s, keeping)
    course.run(schedule(asked.recipe, model.stages, rounds=asked.rounds, local_steps=asked.local_steps, seed=asked.seed))
    return outcome(course, asked, start)
