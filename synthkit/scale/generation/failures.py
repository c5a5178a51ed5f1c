"""Errors that come from another process, as what they were there."""
from typing import Any

from synthkit import errors
from synthkit.errors import AbilityError, SynthkitError
from synthkit.scale.generation.crew import TRIES
from synthkit.scale.generation.drawn import Drawn

BUILTIN: dict[str, type[Exception]] = {"OSError": OSError, "MemoryError": MemoryError}


def told_of(error: Exception) -> dict[str, str]:
    """An error as text: a caller's mistake, or what the machine lacks."""
    if isinstance(error, SynthkitError):
        return {"error": type(error).__name__, "message": str(error)}
    name = "OSError" if isinstance(error, OSError) else "MemoryError"
    return {"error": name, "message": str(getattr(error, "strerror", None) or error or "no memory left")}


def raised(told: dict[str, Any]) -> Drawn:
    """The shard of an answer, or the error that it tells of, raised."""
    if "drawn" in told:
        return Drawn(**told["drawn"])
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)} | BUILTIN
    raise kinds.get(told["error"], AbilityError)(told["message"])


def given_up(device: str, number: int, said: str = "") -> dict[str, str]:
    """The answer where workers die over one shard again and again."""
    last = f"; the last one said: {said}" if said else ""
    return {"error": "AbilityError", "message": f"workers on {device} died {TRIES} times over shard {number}, often for want of memory{last}. What is finished "
            "is kept: give fewer workers or a smaller shard_size, and run it again"}  # fmt: skip
