"""The name that scores stand under: what was measured, and with which settings where they are not the usual ones."""
from dataclasses import MISSING, Field, fields, is_dataclass


def setting_name(recipe: object) -> str:
    """The class, and those fields that differ from their default: "Precision", "Precision(k=3)", "C2ST(measure=accuracy)"."""
    own = fields(recipe) if is_dataclass(recipe) else ()
    told = {field.name: vars(recipe)[field.name] for field in own}
    unusual = [f"{field.name}={_plain(told[field.name])}" for field in own if told[field.name] != _usual(field)]
    return type(recipe).__name__ + (f"({', '.join(unusual)})" if unusual else "")


def _usual(field: Field) -> object:
    """The default of a field; MISSING, which equals no setting, where it has none."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def _plain(value: object) -> str:
    # 5 and 5.0 are one setting.
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
