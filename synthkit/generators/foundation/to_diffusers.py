"""Generators written as pipelines of diffusers."""
import json
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import torch

from synthkit.core.kinds import require_kind
from synthkit.errors import AbilityError, StoreError
from synthkit.generators.foundation.pipeline import digest_of, loaded
from synthkit.generators.generator import Generator
from synthkit.generators.pretrained import DOT, Pretrained

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

RECORD = "synthkit.json"
CODE = '''"""Read by diffusers; the pipeline itself comes with synthkit."""
from synthkit.generators.foundation.cohort_pipeline import CohortPipeline

__all__ = ["CohortPipeline"]
'''


def to_diffusers(gen: Generator, folder: str | Path) -> Path:
    """Write a generator as a folder that diffusers loads.

    One that adapts a pipeline under sentences becomes that very pipeline with the adapter added to its weights, and needs synthkit no more:
    `DiffusionPipeline.from_pretrained(folder)(prompt=…)`; `synthkit.json` beside it holds template, steps, guidance and card. All others load as a
    pipeline that takes a table of factors, `CohortPipeline.from_pretrained(folder)(table, seed=0)` of `synthkit.generators.foundation.cohort_pipeline`, or
    `DiffusionPipeline.from_pretrained(folder, custom_pipeline=folder, trust_remote_code=True)`, which needs synthkit installed too.

    Raises:
        StoreError: the folder exists already, or another pipeline stands where the adapted one stood.
        AbilityError: an adapted pipeline without sentences, whose class labels gave way to factors.

    Example:
        sk.to_diffusers(gen, "films")
    """
    require_kind("gen", gen, Generator, "a fitted generator, as recipe.fit(...) answers")
    folder = Path(folder)
    if folder.exists():
        raise StoreError(f"{folder} exists already; give a new folder")
    adapted = isinstance(gen.recipe, Pretrained)
    if adapted and not gen.trained.pipeline.by_text:
        raise AbilityError(f"{gen.recipe.path} took class labels and now takes factors, which no pipeline of diffusers does; gen.save(folder) keeps it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(mkdtemp(prefix=f".{folder.name}", dir=folder.parent))
    try:
        _write_merged(gen, scratch) if adapted else _write_network(gen, scratch)
        told = {"schema": gen.schema.to_json(), "space": gen.space.to_json(), "card": gen.card.to_json(), "recipe": gen.recipe.to_json()}
        (scratch / RECORD).write_text(json.dumps(told, indent=1, default=str), encoding="utf-8")
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _write_network(gen: Generator, folder: Path) -> None:
    from synthkit.generators.foundation.cohort_pipeline import CohortNetwork, CohortPipeline

    facts = {"recipe": gen.recipe, "schema": gen.schema, "space": gen.space, "card": gen.card}
    with torch.random.fork_rng():
        network = CohortNetwork(**{name: json.loads(json.dumps(fact.to_json(), default=str)) for name, fact in facts.items()})
    network.network.load_state_dict({name: tensor.detach().cpu().contiguous() for name, tensor in gen.trained.state_dict().items()})
    CohortPipeline(network).save_pretrained(folder)
    (folder / "pipeline.py").write_text(CODE)


def _write_merged(gen: Generator, folder: Path) -> None:
    """The pipeline as it was, its weights with the adapter's part added."""
    whole: DiffusionPipeline = loaded(gen.recipe.path)
    gen.trained.require_pipeline(digest_of(whole))
    held = whole.unet.state_dict()
    for name, weight in merged(held, {name.replace(DOT, "."): tensor.detach().cpu() for name, tensor in gen.trained.adapter.items()}).items():
        held[name].copy_(weight)
    whole.scheduler = gen.trained.pipeline.ddim(gen.recipe.steps)
    whole.save_pretrained(folder, safe_serialization=True)


def merged(weights: dict[str, torch.Tensor], adapter: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights that an adapter changes, with W + B A in the place of W; whole weights take their place."""
    changed = {}
    for name, tensor in adapter.items():
        if ".lora_A." in name:
            layer, up = name.split(".lora_A.")[0], adapter[name.replace(".lora_A.", ".lora_B.")]
            kept = weights[f"{layer}.weight"]
            changed[f"{layer}.weight"] = kept + (up.flatten(1) @ tensor.flatten(1)).reshape(kept.shape)
        elif ".lora_B." not in name:
            changed[name] = tensor
    return changed
