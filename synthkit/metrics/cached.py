"""Weights that were learnt once from data at hand, kept on disk under the digest of what they were learnt from."""
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from synthkit.core.files import write_atomically
from synthkit.core.provenance import canonical, digest


def cache_folder() -> Path:
    """Where learnt weights are kept: SYNTHKIT_CACHE, else ~/.cache/synthkit."""
    return Path(os.environ.get("SYNTHKIT_CACHE", Path.home() / ".cache" / "synthkit"))


def cached_weights(kind: str, key: Any, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The weights made from `key` (anything JSON takes), read from the cache or made now.

    They are always read from the file: a network just trained lies otherwise in memory, and its outputs differ in the last bit.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load, save

    path = cache_folder() / kind / f"{digest(canonical([kind, key]))[:16]}.safetensors"
    try:
        return load(path.read_bytes())
    except (FileNotFoundError, SafetensorError):  # not made yet, or damaged
        write_atomically(path, save({name: tensor.contiguous() for name, tensor in make().items()}))
        return load(path.read_bytes())
