"""The card of a generator."""
from collections.abc import Sequence
from typing import Any

import pandas as pd

from synthkit.core.kinds import require_kind
from synthkit.core.provenance import code_version
from synthkit.core.result import Section
from synthkit.export.responsible import NOT_STATED, lines
from synthkit.generators.generator import Generator
from synthkit.report.cards.markdown import MarkdownCard, evaluated, facts, listing, table, text_of

HIDDEN = ("losses", "provenance", "before", "privacy", "started from")
UNBOUND = "none: it was trained without differential privacy, and nothing bounds what its images give away of whom it learnt from"


def model_card(
    generator: Generator, *, intended: str | Sequence[str] = "", out_of_scope: str | Sequence[str] = "", limitations: str | Sequence[str] = (),
    evaluation: Section | Sequence[Section] = (),
) -> MarkdownCard:  # fmt: skip
    """A model card in Markdown with a YAML head: what the generator is, what it learnt from, how it was trained, what was measured, and its limits.

    All of it comes from the generator's own record and from what is given here; the rest says "not stated".

    Args:
        intended, out_of_scope: what it is for, and what it must not be used for.
        limitations: known ones, beside those of its record.
        evaluation: results to show, such as `sk.evaluate(...)`.
    Returns:
        The card; `.save("MODEL_CARD.md")` writes it.

    Example:
        sk.model_card(gen, intended="Augmenting the training of effusion classifiers", evaluation=[qc]).save("MODEL_CARD.md")
    """
    require_kind("generator", generator, Generator, "a fitted generator, as recipe.fit(...) answers")
    card, family, weights = generator.card, type(generator.recipe).__name__, generator.weights_digest()
    learnt = [card.trained_on, *card.trained_on.get("before", [])]
    licence = "; ".join(dict.fromkeys(str(one["licence"]) for one in learnt))
    head = {"pretty_name": card.name, "card": "model", "license": licence, "library_name": "synthkit", "tags": ["medical-imaging", "synthetic-data", family],
            "weights_sha256": weights, "learnt_from": [_data(one) for one in learnt]}  # fmt: skip
    measured = [table(pd.DataFrame(card.measured))] if card.measured else []
    parts = {
        "What it is": _what(generator, licence), "Factors": table(generator.schema.frame()), "Intended use": text_of(intended),
        "Out of scope": text_of(out_of_scope), "What it learnt from": table(pd.DataFrame([_data(one) for one in learnt])), "Training": _training(generator),
        "Evaluation": "\n\n".join([*measured, *evaluated(evaluation)]) or text_of(""), "Limits": listing([*card.limits, *lines(limitations)]),
    }  # fmt: skip
    return MarkdownCard(head, parts)


def _what(generator: Generator, licence: str) -> str:
    space, settings = generator.space, {name: value for name, value in generator.recipe.to_json().items() if name != "family"}
    spacing = " × ".join(f"{step:g}" for step in space.spacing_mm) + " mm" if space.spacing_mm else None
    channels = ", ".join(channel.name + (f" ({channel.unit})" if channel.unit else "") for channel in space.channels)
    return facts({
        "family": type(generator.recipe).__name__, "makes": f"{channels}; {' × '.join(map(str, space.size))} pixels", "spacing": spacing,
        "edits images": "yes" if generator.can_edit else "no", "network evaluations per sample": generator.evaluations, "settings": settings,
        "weights, sha256": generator.weights_digest(), "licence (of what it learnt from)": licence, "written by": code_version(),
    })  # fmt: skip


def _data(one: dict[str, Any]) -> dict[str, Any]:
    return {"source": one["source"], "kind": one["kind"], "licence": one["licence"], "sha256": one["digest"],
            **{name: one.get(key, NOT_STATED) for name, key in (("images", "images"), ("patients", "patients"), ("merkle_root", "root"))}}  # fmt: skip


def _training(generator: Generator) -> str:
    training, command = generator.card.training, generator.card.command
    rows = {name: "none" if value is None else value for name, value in training.items() if name not in HIDDEN}
    rows["bound of privacy"] = training.get("privacy", UNBOUND)
    if "started from" in training:
        rows["started from"] = ", ".join(map(str, training["started from"].values()))
    return facts(rows) + (f"\n\n```python\n{command}\n```" if command else "")
