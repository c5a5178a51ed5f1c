"""A finished training run put together as a generator: its card, its lineage, and whom it learnt from."""
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from synthkit.core.cohort import Cohort
from synthkit.core.lineage import manifest_root
from synthkit.core.provenance import patient_digest
from synthkit.generators.base import Recipe
from synthkit.generators.card import Card
from synthkit.generators.generator import Generator
from synthkit.nets.network import Network, Trainable
from synthkit.training.private import Private

BOUND = ("The bound of privacy covers the weights and whatever is made of them. It does not cover the digests of patients and data in this checkpoint, by "
         "which whoever knows a patient id can tell that it was trained on, nor scores that were measured on the patients.")  # fmt: skip

if TYPE_CHECKING:
    from synthkit.training.plan import Outcome


def fitted(
    recipe: Recipe, network: Network, train: Cohort, *, valid: Cohort | None, start: Generator | None, outcome: "Outcome", identity: dict[str, Any],
    private: Private | None = None,
) -> Generator:  # fmt: skip
    """The generator of a finished run (called by `Recipe.fit`)."""
    origin = train.provenance
    trained_on = {
        "source": origin.source, "kind": origin.kind, "images": len(train), "patients": int(train.table["patient_id"].nunique()),
        "licence": origin.licence, "digest": identity["data"], "root": manifest_root(train), "provenance": origin.to_json(),
    }  # fmt: skip
    training = {
        "budget": identity["budget"], "seed": identity["seed"], "balance": identity["balance"], "steps": outcome.steps,
        "images seen": outcome.images_seen, "seconds": round(outcome.seconds, 1), "precision": outcome.precision, "losses": outcome.losses,
    }  # fmt: skip
    if private is not None:
        # The losses were computed from the patients without noise.
        training |= {"losses": [], "privacy": private.to_json(outcome.steps)}
    if valid is not None and isinstance(network, Trainable):
        training["validation loss"] = validation_loss(network, recipe.codes(valid), valid)
    name = f"{type(recipe).__name__.lower()} on {origin.source}"
    patients = frozenset(map(patient_digest, train.table["patient_id"].unique()))
    if start is not None:
        training["started from"] = {"generator": start.card.name, "weights": identity["start"]}
        trained_on["before"] = distinct([start.card.trained_on, *start.card.trained_on.get("before", [])], but=trained_on["digest"])
        name, patients = f"{start.card.name}, then {name}", patients | start.patients
    card = Card(name, trained_on, training, command=_call(recipe, identity))
    card = replace(card, limits=(*card.limits, *recipe.limits(network), *(() if private is None else (BOUND,))))
    return Generator(recipe, network, train.schema, train.space, card, patients)


def _call(recipe: Recipe, identity: dict[str, Any]) -> str:
    """The line that fits this recipe again; `train` is what the card says it was trained on."""
    balance = f", balance={identity['balance']!r}" if identity["balance"] else ""
    return f"sk.{recipe!r}.fit(train, budget=sk.{identity['budget']}, seed={identity['seed']}{balance}{', start=start' if 'start' in identity else ''})"


def distinct(records: list[dict[str, Any]], *, but: str) -> list[dict[str, Any]]:
    """What was learnt from before, each data set once and without the history that the list itself tells."""
    found = {record["digest"]: {name: value for name, value in record.items() if name != "before"} for record in records}
    return [record for data, record in found.items() if data != but]


def validation_loss(network: Trainable, told: np.ndarray, valid: Cohort) -> float:
    """Training loss on patients that were not trained on, one pass with fixed noise; `told` is what the network is told of each."""
    from synthkit.core.randomness import torch_generator
    from synthkit.nets.network import Batch

    codes, losses = torch.from_numpy(told), []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, len(valid), 32):
            rows = np.arange(start, min(start + 32, len(valid)))
            batch = Batch(valid.images.tensor(rows).to(device), codes[rows].to(device), torch_generator(device, seed=0, identity=start, stream="valid"))
            losses += [float(network.training_step(batch))] * len(rows)
    return float(np.mean(losses))
