"""Checkpoints of a run: weights, moving average and optimiser in safetensors, beside a JSON manifest. Never pickle."""
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from synthkit.core.files import checked, put, read_manifest, sweep, write_manifest
from synthkit.errors import FitError

MANIFEST = "run.json"


@dataclass
class State:
    """All that a run needs to go on: tensors by name, and where it stands."""

    tensors: dict[str, torch.Tensor]
    step: int
    seconds: float = 0.0
    finished: bool = False
    losses: list[tuple[int, float]] = field(default_factory=list)

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The tensors under one prefix, without it."""
        return {name[len(prefix) + 1 :]: tensor for name, tensor in self.tensors.items() if name.startswith(prefix + ".")}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state as flat named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, row in state.items() for name, value in row.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put flat named tensors back into an optimiser of the same shape."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    rows: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        weight = weights[int(index)]
        # A fused AdamW walks through weight and moments in memory order: the moments of a channels-last weight must lie as it does.
        rows.setdefault(int(index), {})[name] = torch.empty_like(weight).copy_(tensor) if tensor.shape == weight.shape else tensor.clone()
    if rows:
        optimizer.load_state_dict({"state": rows, "param_groups": optimizer.state_dict()["param_groups"]})


def save_state(state: State, folder: Path, identity: dict[str, Any]) -> None:
    """Write a checkpoint; the one before stays until this one is whole."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.tensors.items()}
    entry = put(folder, "state", ".safetensors", save(tensors))
    manifest = {"identity": identity, "step": state.step, "seconds": state.seconds, "finished": state.finished, "losses": state.losses, "state": entry}
    write_manifest(folder / MANIFEST, json.loads(json.dumps(manifest, default=str)))
    sweep(folder, ("state",), [MANIFEST, entry["file"]])


def load_state(folder: Path, identity: dict[str, Any]) -> State | None:
    """The checkpoint in a folder, or None where no run began.

    Raises:
        FitError: the folder belongs to another run.
        StoreError: the checkpoint is damaged.
    """
    from safetensors.torch import load

    if not (folder / MANIFEST).is_file():
        return None
    manifest = read_manifest(folder / MANIFEST)
    ours, theirs = json.loads(json.dumps(identity, default=str)), manifest["identity"]
    differing = sorted(key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    if differing:
        raise FitError(f"{folder} holds another run (other {', '.join(differing)}); give a new folder, or the same settings to resume")
    tensors = load(checked(folder, manifest["state"]).read_bytes())
    losses = [(int(step), float(loss)) for step, loss in manifest["losses"]]
    return State(tensors, manifest["step"], manifest["seconds"], manifest["finished"], losses)
