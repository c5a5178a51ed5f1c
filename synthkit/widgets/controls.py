"""One control per factor, made from the schema: a dropdown for a category, a slider for a quantity."""
import math
from collections.abc import Callable
from typing import Any

from ipywidgets import Dropdown, FloatSlider

from synthkit.core.schema import Category, Factor, Quantity
from synthkit.explanation.inquiry import Inquiry

STEPS = 100  # of a slider, about
UNKNOWN = "not known"
STYLE = {"description_width": "150px"}


class Controls:
    """The controls of an inquiry, and the question that they stand for.

    Args:
        changed: called with a factor's name when a person has moved its control.
    """

    def __init__(self, asked: Inquiry, changed: Callable[[str], None]):
        self._asked, self._changed, self._quiet = asked, changed, False
        self._own = {factor.name: start(factor, asked.value(factor.name)) for factor in asked.factors}
        self.widgets = {factor.name: control(factor, asked.value(factor.name)) for factor in asked.factors}
        for name, widget in self.widgets.items():
            widget.observe(lambda change, name=name: self._moved(name), "value")
        self._enable()

    def do(self) -> dict[str, Any]:
        """The factors that stand elsewhere than the patient's own, where they apply."""
        found = {}
        for factor in self._asked.factors:
            widget, own = self.widgets[factor.name], self._own[factor.name]
            # A slider holds the patient's value to its own step only: nearer than that nobody has moved it.
            moved = widget.value != own if isinstance(factor, Category) else abs(widget.value - own) > widget.step / 2
            if moved and widget.value is not None and not widget.disabled:
                found[factor.name] = widget.value
        return found

    def reset(self) -> None:
        """Every control back to the patient's own value."""
        self._quiet = True
        for name, own in self._own.items():
            self.widgets[name].value = own
        self._quiet = False
        self._enable()

    def _moved(self, name: str) -> None:
        if not self._quiet:
            self._enable()
            self._changed(name)

    def _enable(self) -> None:
        """A factor that hangs on another one is there to be moved while it applies."""
        for factor in self._asked.factors:
            parents = [(self.widgets[name], level) for name, level in factor.when.items() if name in self.widgets]
            widget = self.widgets[factor.name]
            widget.disabled = any(parent.value != level for parent, level in parents)
            widget.layout.display = "none" if widget.disabled else ""


def control(factor: Factor, value: Any) -> Dropdown | FloatSlider:
    """The control of one factor, at the patient's own value; a quantity that is not known starts in the middle and says so."""
    name, layout = factor.name.replace("_", " "), {"width": "100%"}
    if isinstance(factor, Category):
        unknown = [(UNKNOWN, None)] if value is None else []
        return Dropdown(options=[*unknown, *((level, level) for level in factor.levels)], value=value, description=name, layout=layout, style=STYLE)
    words = UNKNOWN if value is None else factor.unit
    step = slider_step(factor)
    return FloatSlider(
        value=start(factor, value), min=factor.low, max=factor.high, step=step, readout_format=f".{_digits(step)}f",
        description=f"{name} ({words})" if words else name, layout=layout, style=STYLE,
    )  # fmt: skip


def start(factor: Factor, value: Any) -> Any:
    """Where a control stands for a patient's value: a slider at the nearest of its steps."""
    if isinstance(factor, Category):
        return value
    wanted, step = (factor.low + factor.high) / 2 if value is None else float(value), slider_step(factor)
    nearest = round(factor.low + round((wanted - factor.low) / step) * step, _digits(step))
    return min(max(nearest, float(factor.low)), float(factor.high))


def slider_step(factor: Quantity) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that cuts the range into about `STEPS` steps."""
    wanted = math.log10((factor.high - factor.low) / STEPS)
    choices = [float(f"{digit}e{power}") for power in (math.floor(wanted), math.floor(wanted) + 1) for digit in (1, 2, 5)]
    return min(choices, key=lambda step: abs(math.log10(step) - wanted))


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))
