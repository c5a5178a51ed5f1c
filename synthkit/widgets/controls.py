"""One control per factor, made from the schema: a dropdown for a category, a slider for a quantity."""
import math
from collections.abc import Callable
from typing import Any

import pandas as pd
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
        self._asked, self._changed, self._quiet, self._touched = asked, changed, False, set[str]()
        self._own = {factor.name: start(factor, asked.value(factor.name)) for factor in asked.factors}
        self.widgets = {factor.name: control(factor, asked.value(factor.name)) for factor in asked.factors}
        for name, widget in self.widgets.items():
            widget.observe(lambda change, name=name: self._moved(name, change["old"], change["new"]), "value")
        self._enable()

    def do(self) -> dict[str, Any]:
        """The factors that stand elsewhere than the patient's own, where they apply."""
        there = [factor for factor in self._asked.factors if factor.name in self._touched and self.applies(factor.name)]
        return {factor.name: self.widgets[factor.name].value for factor in there if self._moved_away(factor)}

    def applies(self, name: str) -> bool:
        """Whether a factor applies as the controls stand."""
        return not self.widgets[name].disabled

    def reset(self) -> None:
        """Every control back to the patient's own value."""
        self._quiet = True
        for name, own in self._own.items():
            self.widgets[name].value = own
        self._quiet = False
        self._touched.clear()
        self._enable()

    def _moved_away(self, factor: Factor) -> bool:
        """Whether a control stands elsewhere than the patient; a slider holds the patient's value to its own step only."""
        value, own = self.widgets[factor.name].value, self._asked.value(factor.name)
        if value is None or own is None or isinstance(factor, Category):
            return value is not None and value != own
        return abs(value - self._own[factor.name]) > self.widgets[factor.name].step / 2

    def _moved(self, name: str, old: Any, new: Any) -> None:
        # A front end that brings a slider onto its own steps has moved nothing that a person set.
        snapped = isinstance(self.widgets[name], FloatSlider) and abs(new - old) < 0.6 * self.widgets[name].step
        if not self._quiet and not snapped:
            self._touched.add(name)
            self._enable()
            self._changed(name)

    def _enable(self) -> None:
        """A factor that hangs on another one is there to be moved while it applies."""
        categories = [factor.name for factor in self._asked.factors if isinstance(factor, Category)]
        now = pd.DataFrame({name: [self.widgets[name].value] for name in categories}, dtype=object)
        for factor in self._asked.factors:
            widget = self.widgets[factor.name]
            widget.disabled = not self._asked.generator.schema.applies(factor, now).all()
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
    nearest = round(factor.low + round((wanted - factor.low) / step) * step, 9)
    return min(max(nearest, float(factor.low)), float(factor.high))


def slider_step(factor: Quantity) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that cuts the range into about `STEPS` steps."""
    wanted = math.log10((factor.high - factor.low) / STEPS)
    choices = [float(f"{digit}e{power}") for power in (math.floor(wanted), math.floor(wanted) + 1) for digit in (1, 2, 5)]
    return min(choices, key=lambda step: abs(math.log10(step) - wanted))


def _digits(step: float) -> int:
    return max(0, -math.floor(math.log10(step)))
