"""A recipe by the name of its family and settings given as text."""
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from synthkit.errors import FitError

if TYPE_CHECKING:
    from synthkit.generators.base import Recipe


def families() -> dict[str, type["Recipe"]]:
    """Families that come with synthkit, under the names a command line takes: of the class, and of its file."""
    from importlib import import_module
    from inspect import isabstract
    from pkgutil import iter_modules

    import synthkit.generators
    from synthkit.generators.base import RECIPES

    for module in iter_modules(synthkit.generators.__path__):
        import_module(f"synthkit.generators.{module.name}")
    kinds = [kind for kind in RECIPES.values() if kind.__module__.startswith("synthkit.generators.") and not isabstract(kind)]
    return {name: kind for kind in kinds for name in (kind.__module__.rsplit(".", 1)[1], kind.__name__.lower())}


def recipe_named(family: str, options: Sequence[str] = ()) -> "Recipe":
    """The recipe of a family with some settings of its own.

    Args:
        family: "diffusion", "vae" …, in any case.
        options: "key=value"; values are read as JSON where they are, else as text.
    Raises:
        FitError: an unknown family or setting, or a value of another kind.
    """
    from dataclasses import MISSING, fields

    known = families()
    if family.lower() not in known:
        raise FitError(f"no family is called {family!r}; there are {', '.join(sorted(known))}")
    kind = known[family.lower()]
    usual = {field.name: field.default_factory() if field.default_factory is not MISSING else field.default for field in fields(kind)}
    given = dict(_pair(option, usual, kind.__name__) for option in options)
    try:
        return kind(**given)
    except (TypeError, AttributeError) as error:
        raise FitError(f"{kind.__name__}: {given} do not fit together ({error})") from None


def _pair(option: str, usual: dict[str, Any], family: str) -> tuple[str, Any]:
    """One setting, its value of the kind of the usual one."""
    name, equals, text = option.partition("=")
    if not equals or name not in usual:
        raise FitError(f"--option {option!r}: give key=value; {family} has {', '.join(usual)}")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    value = tuple(value) if isinstance(value, list) else value
    numbers = isinstance(usual[name], (int, float)) and not isinstance(usual[name], bool)
    if (numbers and (isinstance(value, bool) or not isinstance(value, (int, float)))) or (isinstance(usual[name], int) and not isinstance(value, int)):
        raise FitError(f"--option {option!r}: {name} is a {'whole number' if isinstance(usual[name], int) else 'number'}, {usual[name]!r} by default")
    return name, value
