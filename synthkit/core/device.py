"""Which device a run uses, and in which precision it multiplies."""
import platform

import torch


def accelerator(device: str = "auto") -> str:
    """The device kind that a run will use."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def precision(device: str, *, dims: int = 2) -> str:
    """bf16 autocast where the hardware multiplies in bf16, else full float32 (Lightning's names)."""
    # On a CPU the bf16 weight gradient of a 3D convolution over two slices is uninitialised memory (torch 2.13, oneDNN).
    if device == "cpu" and dims == 3:
        return "32-true"
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else _processor_has_bf16()
    return "bf16-mixed" if fast else "32-true"


def _processor_has_bf16() -> bool:
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
