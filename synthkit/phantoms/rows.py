"""Drawing a finding for those subjects only who have it."""
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def take(thing: Any, rows: Tensor) -> Any:
    """Some rows of everything inside: tensors along their first axis, tuples, mappings and dataclasses of them."""
    if isinstance(thing, Tensor):
        return thing[rows]
    if isinstance(thing, tuple):
        return tuple(take(part, rows) for part in thing)
    if isinstance(thing, Mapping):
        return {name: take(part, rows) for name, part in thing.items()}
    if is_dataclass(thing):
        return replace(thing, **{field.name: take(getattr(thing, field.name), rows) for field in fields(thing)})
    return thing


def where_present(present: Tensor, otherwise: Tensor, draw: Callable[..., Tensor], *things: Any) -> Tensor:
    """`draw(*things)` in the rows where `present` (N, 1, 1) is not 0, `otherwise` (N, H, H) in the rest.

    The others' rows are not computed at all, which is a gain for what is rare.
    """
    rows = present.detach().flatten().nonzero().flatten()
    if not len(rows):
        return otherwise
    if len(rows) == len(present):
        return draw(*things)
    return otherwise.index_copy(0, rows, draw(*take(things, rows)))
