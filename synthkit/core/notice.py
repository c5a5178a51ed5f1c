"""Who is told when something was made: nobody, unless somebody listens. So the parts that make need not know the part that keeps records."""
from collections.abc import Callable
from typing import Any, TypeVar

Thing = TypeVar("Thing")
Listener = Callable[[str, Any, dict[str, Any]], None]
FIT, EVALUATION, COHORT = "fit", "evaluation", "cohort"

_LISTENERS: list[Listener] = []


def listen(listener: Listener) -> None:
    """From now on `listener(what, thing, facts)` is called for everything that is made in this process."""
    if listener not in _LISTENERS:
        _LISTENERS.append(listener)


def told(what: str, thing: Thing, **facts: Any) -> Thing:
    """The thing itself, after the listeners heard of it."""
    for listener in _LISTENERS:
        listener(what, thing, facts)
    return thing
