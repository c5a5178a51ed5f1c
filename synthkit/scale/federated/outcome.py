"""Finished rounds as a generator, whose lineage names every site and what went wrong where."""
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from synthkit.core.device import accelerator, precision
from synthkit.core.provenance import Provenance, canonical, digest
from synthkit.generators.card import Card
from synthkit.generators.fitted import distinct
from synthkit.generators.generator import Generator
from synthkit.scale.federated.facts import Facts
from synthkit.scale.federated.rounds import MEASURED, USED, Course

if TYPE_CHECKING:
    from synthkit.scale.federated.asked import Asked

LIMIT = ("Trained at several sites. Weights went from site to site and no image did, but weights can give training images away: see sk.privacy. "
         "Digests of patients are in this checkpoint, by which whoever knows a patient id can tell that it was trained on.")  # fmt: skip


def outcome(course: Course, asked: "Asked", start: Generator | None) -> Generator:
    """The generator, with its card."""
    used = {row["site"] for row in course.rows if row["event"] == USED}
    learnt = [facts for facts in course.sites.values() if facts.name in used]
    first = next(iter(course.sites.values()))
    trained_on, training = _trained_on(course, learnt, asked), _training(course, asked)
    name, patients = f"{type(asked.recipe).__name__.lower()} of {len(learnt)} sites", frozenset(one for facts in learnt for one in facts.patients)
    if start is not None:
        training["started from"] = {"generator": start.card.name, "weights": start.weights_digest()}
        trained_on["before"] = distinct([start.card.trained_on, *start.card.trained_on.get("before", [])], but=trained_on["digest"])
        name, patients = f"{start.card.name}, then {name}", patients | start.patients
    plain = Card(name, trained_on, training)
    network = course.model.network.requires_grad_(False).eval().to(accelerator())
    card = replace(plain, command=asked.command(course.names), limits=(*plain.limits, *asked.recipe.limits(network), LIMIT))
    return Generator(asked.recipe, network, first.schema, first.space, card, patients)


def _trained_on(course: Course, learnt: list[Facts], asked: "Asked") -> dict[str, Any]:
    records = tuple(facts.record() for facts in learnt)
    kinds = {record.kind for record in records}
    kind, source = kinds.pop() if len(kinds) == 1 else "mixed", " + ".join(facts.name for facts in learnt)
    licence = "; ".join(dict.fromkeys(record.licence for record in records))
    told = {"federated": {**asked.settings(), "sites": {facts.name: facts.images for facts in learnt}, "events": events(course)}}
    roots = {f"root of {facts.name}": facts.root for facts in learnt}  # in the record of every image, which names the digests of one link back
    origin = Provenance(kind, source, recipe=told, seed=asked.seed, digests=roots, licence=licence, parents=records)
    return {"source": source, "kind": kind, "images": sum(facts.images for facts in learnt), "patients": sum(len(facts.patients) for facts in learnt),
            "licence": licence, "digest": digest(canonical(sorted(facts.data for facts in learnt))), "provenance": origin.to_json()}  # fmt: skip


def events(course: Course) -> list[dict[str, Any]]:
    """What went wrong: round, site and what happened."""
    wrong = [row for row in course.rows if row["event"] not in (USED, MEASURED) and not row["event"].startswith("judged")]
    return [{name: row[name] for name in ("round", "site", "event")} for row in wrong]


def _training(course: Course, asked: "Asked") -> dict[str, Any]:
    rows = [row for row in course.rows if row["event"] == USED and row["round"]]
    losses = []
    for number in sorted({row["round"] for row in rows}):
        part = [row for row in rows if row["round"] == number]
        losses.append((number * asked.local_steps, sum(row["loss"] * row["images"] for row in part) / sum(row["images"] for row in part)))
    lost = sorted({event["site"] for event in events(course)})
    constant = set.intersection(*(set(facts.constant) for facts in course.sites.values()))
    return {
        "budget": f"{asked.rounds} rounds of {asked.local_steps} steps at each site", "seed": asked.seed, "balance": None,
        "steps": asked.rounds * asked.local_steps, "images seen": len(rows) * asked.local_steps * asked.recipe.batch_size,
        "seconds": round(course.seconds, 1), "precision": precision(accelerator()), "losses": losses, "strategy": asked.strategy,
        "sites with lost rounds": ", ".join(lost) or "none", "constant within sites": ", ".join(sorted(constant)) or "none", "rounds": course.rows,
    }  # fmt: skip
