"""Counter-based random streams: the same (seed, identity, stream) always gives the same numbers.

No draw depends on any other, so every subset, order, batch size, shard and worker count gives the same image.
"""
import hashlib
from collections.abc import Iterable

import numpy as np
import torch

Identity = str | int


def key(seed: int, identity: Identity, stream: str) -> np.ndarray:
    """The two 64-bit words that key a Philox generator (Salmon et al. 2011)."""
    text = f"{int(seed)}\x1f{identity}\x1f{stream}".encode()
    return np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), dtype=np.uint64)


def generator(seed: int, identity: Identity, stream: str) -> np.random.Generator:
    """A numpy generator at the start of one named stream."""
    return np.random.Generator(np.random.Philox(key=key(seed, identity, stream)))


def normal(shape: tuple[int, ...], *, seed: int, identities: Iterable[Identity], stream: str) -> torch.Tensor:
    """Standard normal numbers, one independent block per identity.

    Returns:
        (N, *shape) float32 tensor on the CPU, N the number of identities.
    """
    blocks = [generator(seed, identity, stream).standard_normal(shape, dtype=np.float32) for identity in identities]
    return torch.from_numpy(np.stack(blocks)) if blocks else torch.empty((0, *shape))


def uniform(shape: tuple[int, ...], *, seed: int, identities: Iterable[Identity], stream: str) -> torch.Tensor:
    """Uniform numbers in [0, 1), one independent block per identity; (N, *shape) float32 on the CPU."""
    blocks = [generator(seed, identity, stream).random(shape, dtype=np.float32) for identity in identities]
    return torch.from_numpy(np.stack(blocks)) if blocks else torch.empty((0, *shape))


def permutation(count: int, *, seed: int, identity: Identity, stream: str) -> np.ndarray:
    """A random order of range(count)."""
    return generator(seed, identity, stream).permutation(count)


def torch_generator(device: torch.device | str, *, seed: int, identity: Identity, stream: str) -> torch.Generator:
    """A torch generator on `device` at the start of one named stream.

    For training noise, where drawing on the device matters more than equality across devices.
    """
    return torch.Generator(device).manual_seed(int(key(seed, identity, stream)[0] >> np.uint64(1)))
