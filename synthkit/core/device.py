"""Which device a run uses, and in which precision it multiplies."""
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from synthkit.errors import AbilityError


def accelerator(device: str = "auto") -> str:
    """The device kind that a run will use."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def usable(device: torch.device | str) -> torch.device:
    """The device as torch knows it; AbilityError unless this machine has it."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise AbilityError(f"device {device!r} is none that torch knows; give \"cpu\" or \"cuda\"") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise AbilityError(f"device {device!r}: torch finds no GPU on this machine; leave device= out, and see synthkit doctor")
    return found


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many threads as told: how a sum is cut among them decides its last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def precision(device: str) -> str:
    """bf16 autocast where the hardware multiplies in bf16, else full float32 (Lightning's names)."""
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else _processor_has_bf16()
    return "bf16-mixed" if fast else "32-true"


def _processor_has_bf16() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
