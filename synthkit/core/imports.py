"""Classes named by import path, so that a recipe stays JSON."""
from importlib import import_module

from synthkit.errors import FitError


def class_at(path: str, base: type) -> type:
    """The class at "module:Class"; FitError unless it is there and a subclass of `base`."""
    module, _, name = path.partition(":")
    try:
        found = vars(import_module(module)).get(name)
    except ImportError as error:
        raise FitError(f'{path!r}: cannot import {module!r} ({error}); give "module:Class" of an installed module') from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise FitError(f"{path!r} is not a subclass of {base.__module__}.{base.__name__}; give \"module:Class\" of one")
    return found


def path_of(kind: type) -> str:
    """The import path of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"
