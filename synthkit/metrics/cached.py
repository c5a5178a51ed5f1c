"""Weights that were learnt once from data at hand, kept on disk under the digest of what they were learnt from."""
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import torch

from synthkit.core.files import write_atomically
from synthkit.core.provenance import canonical, digest
from synthkit.errors import StoreError


def cache_folder() -> Path:
    """Where learnt weights are kept: SYNTHKIT_CACHE, else ~/.cache/synthkit."""
    return Path(os.environ.get("SYNTHKIT_CACHE", Path.home() / ".cache" / "synthkit"))


def cached_weights(kind: str, key: Any, make: Callable[[], Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The weights made from `key` (anything JSON takes), read from the cache or made now.

    They are always read from the file: a network just trained lies otherwise in memory, and its outputs differ in the last bit.

    Raises:
        StoreError: the cache cannot be written; said before anything is made.
    """
    from safetensors.torch import load, save

    path = cache_folder() / kind / f"{digest(canonical([kind, key]))[:16]}.safetensors"
    with _within_reach(path.parent):
        found = _read(path)
        if found is not None:
            return found
        path.parent.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=path.parent).close()
    data = save({name: tensor.contiguous() for name, tensor in make().items()})
    with _within_reach(path.parent):
        write_atomically(path, data)
        return load(path.read_bytes())


def _read(path: Path) -> dict[str, torch.Tensor] | None:
    """The weights in a file, or None where it is not made yet, or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(path.read_bytes())
    except (FileNotFoundError, SafetensorError):
        return None


@contextmanager
def _within_reach(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{folder} cannot be used as a cache ({error}); set SYNTHKIT_CACHE to a folder that can be written") from error
