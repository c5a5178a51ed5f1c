"""What is finished of an experiment, on disk: weights and predictions, whole or absent, each named by what it depends on."""
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synthkit.core.files import checked, put, read_manifest, write_manifest
from synthkit.core.provenance import canonical, digest
from synthkit.errors import FitError

EXPERIMENT, CHOICE = "experiment.json", "choice.json"


@dataclass(frozen=True)
class Ledger:
    """A folder of finished pieces."""

    folder: Path

    def require_same(self, identity: dict[str, Any]) -> None:
        """Raise FitError where the folder holds another experiment; nothing is written.

        A choice made anew after the test was read would flatter.
        """
        path, ours = self.folder / EXPERIMENT, json.loads(canonical(identity))
        if not path.is_file():
            return
        theirs = read_manifest(path)
        apart = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if apart:
            raise FitError(f"{self.folder} holds another experiment (other {', '.join(apart)}); give a new folder, or the same settings to resume")

    def begin(self, identity: dict[str, Any]) -> None:
        """Write down what this experiment is, where it is not written yet."""
        self.require_same(identity)
        if not (self.folder / EXPERIMENT).is_file():
            write_manifest(self.folder / EXPERIMENT, json.loads(canonical(identity)))

    def place(self, kind: str, key: Any) -> Path:
        """The manifest of one piece."""
        return self.folder / f"{kind}-{digest(canonical(key))[:16]}.json"

    def has(self, kind: str, key: Any) -> bool:
        """Whether a piece is finished."""
        return self.place(kind, key).is_file()

    def read(self, kind: str, key: Any) -> dict[str, torch.Tensor]:
        """The tensors of a finished piece; StoreError where they are damaged."""
        from safetensors.torch import load

        return load(checked(self.folder, read_manifest(self.place(kind, key))["tensors"]).read_bytes())

    def write(self, kind: str, key: Any, tensors: dict[str, torch.Tensor]) -> None:
        """Store a piece; its manifest is written last, so that a piece is finished or absent."""
        from safetensors.torch import save

        entry = put(self.folder, kind, ".safetensors", save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
        write_manifest(self.place(kind, key), {"key": json.loads(canonical(key)), "tensors": entry})
