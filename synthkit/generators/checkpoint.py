"""Generators on disk: safetensors weights named by their digest, and one JSON manifest. Never pickle."""
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthkit.core.files import checked, put, read_manifest, sweep, write_manifest
from synthkit.core.provenance import PATIENT_BYTES
from synthkit.core.schema import Schema
from synthkit.core.space import Space
from synthkit.errors import StoreError
from synthkit.generators.base import Recipe
from synthkit.generators.card import Card

if TYPE_CHECKING:
    from synthkit.generators.generator import Generator

MANIFEST = "generator.json"
FORMAT = 2
PATIENTS = "trained_on.patients"  # a tensor beside the weights: 8 bytes per patient
SHIPPED = Path(__file__).parents[1] / "checkpoints"


def save(generator: "Generator", folder: Path, *, half: bool) -> Path:
    """Write a generator; an interrupted save leaves what stood there before."""
    from safetensors.torch import save as to_bytes

    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file; give a folder to save the generator in")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in generator.trained.state_dict().items()}
    if half:
        weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    digests = np.frombuffer(bytes.fromhex("".join(sorted(generator.patients))), np.uint8)
    weights[PATIENTS] = torch.from_numpy(digests.reshape(-1, PATIENT_BYTES).copy())
    try:
        return _written(folder, to_bytes(weights), generator)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error.strerror or error}); what was saved there before is as it was. Make room, or "
                         "give another folder") from error  # fmt: skip


def _written(folder: Path, weights: bytes, generator: "Generator") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    entry = put(folder, "weights", ".safetensors", weights)
    manifest = {
        "format": FORMAT, "recipe": generator.recipe.to_json(), "schema": generator.schema.to_json(), "space": generator.space.to_json(),
        "card": generator.card.to_json(), "weights": entry,
    }  # fmt: skip
    write_manifest(folder / MANIFEST, manifest)
    sweep(folder, ("weights",), [MANIFEST, entry["file"]])
    return folder


def load(folder: Path) -> "Generator":
    """Read a generator back onto the fastest device here."""
    from safetensors.torch import load as from_bytes

    from synthkit.generators.generator import Generator

    if not (folder / MANIFEST).is_file():
        raise StoreError(f"{folder} holds no saved generator ({MANIFEST} is missing)")
    manifest = read_manifest(folder / MANIFEST)
    if manifest.get("format") != FORMAT:
        raise StoreError(f"{folder} has generator format {manifest.get('format')}; this synthkit reads format {FORMAT}")
    schema, space = Schema.from_json(manifest["schema"]), Space.from_json(manifest["space"])
    recipe = Recipe.from_json(manifest["recipe"])
    with torch.random.fork_rng():  # the weights it draws are replaced at once
        network = recipe.network(schema, space)
    tensors = from_bytes(checked(folder, manifest["weights"]).read_bytes())
    patients = frozenset(row.tobytes().hex() for row in tensors.pop(PATIENTS).numpy())
    kept = network.state_dict()
    network.load_state_dict({name: t.to(kept[name].dtype) if name in kept else t for name, t in tensors.items()})
    layout = torch.channels_last if space.dims == 2 else torch.channels_last_3d
    network.to("cuda" if torch.cuda.is_available() else "cpu", memory_format=layout).requires_grad_(False).eval()
    return Generator(recipe, network, schema, space, Card.from_json(manifest["card"]), patients)


def pretrained(name: str) -> "Generator":
    """One of the generators that ship with synthkit."""
    names = sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))
    if name not in names:
        raise StoreError(f"no pretrained generator {name!r}; there are {', '.join(names) or 'none'}, or Generator.load(folder) for your own")
    return load(SHIPPED / name)
