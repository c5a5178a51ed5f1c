"""Arguments of a wrong kind, refused before any work begins."""
from math import isfinite
from numbers import Real

from synthkit.errors import DataError


def require_kind(name: str, value: object, kind: type | tuple[type, ...], give: str) -> None:
    """Raise DataError unless `value` is of this kind; `give` says what would be, for instance "a fitted generator"."""
    if isinstance(value, kind):
        return
    given = f"the class {value.__name__}, not one of its objects" if isinstance(value, type) else f"{value!r}" if isinstance(value, (str, int, float)) else None
    raise DataError(f"{name}: got {given or f'a {type(value).__name__}'}; give {give}")


def require_number(name: str, value: object, give: str, *, whole: bool = False) -> None:
    """Raise DataError unless `value` is a finite number (True is none), and a whole one where asked."""
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value) or (whole and value != int(value)):
        raise DataError(f"{name}={value!r}: give {give}")
