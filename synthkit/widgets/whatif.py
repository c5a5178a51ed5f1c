"""What if? Move a factor of one patient, and see the twin, the classifier's answer and its reasons follow."""
import time
from collections import deque
from collections.abc import Callable, Mapping
from html import escape
from threading import Lock
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Button, HBox, IntSlider, VBox

from synthkit.causal.scm import SCM
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category
from synthkit.errors import AbilityError
from synthkit.explanation.attribution import Explanation
from synthkit.explanation.inquiry import Inquiry, inquiry
from synthkit.generators.generator import Generator
from synthkit.tasks.predictor import Predictor
from synthkit.widgets.controls import Controls
from synthkit.widgets.latest import Latest
from synthkit.widgets.whatif_pictures import Scales, pictures, spoken

if TYPE_CHECKING:
    from plotly.graph_objects import FigureWidget

LIVE_STEPS = 6
HAND_RESTS = 0.25  # seconds without a newer question, before the curve is computed


class WhatIf:
    """The live view of one inquiry; the last line of a cell shows it, and front ends without widgets show the picture alone.

    Attributes:
        asked: the inquiry, for questions in code: `asked.ask({"age": 80})`.
        answer: the last answer.
        kept: cases kept with the button or by `keep`, sections for `sk.Report(title, view.kept)`.
    """

    def __init__(self, asked: Inquiry):
        self.asked, self.answer, self.kept = asked, asked.ask({}), list[Explanation]()
        self._wishes, self._factor, self._drawing = deque[dict[str, Any]](), asked.factors[0].name, Lock()
        self.controls, self._scales, self._worker = Controls(asked, self._ask), Scales(), Latest(self._work)
        depth = asked.image.shape[1] if asked.image.ndim == 4 else 0
        self._place = IntSlider(value=depth // 2, min=0, max=max(depth - 1, 0), description="slice", layout={"display": "" if depth > 1 else "none"})
        self._place.observe(lambda change: self._draw(), "value")
        self._pictures, self._words, self._status = HTML(), HTML(), HTML()
        self._curve = _curve(asked)
        keep, back = (Button(description=words, icon=icon, layout={"width": "auto"}) for words, icon in (("Keep for the report", "plus"), ("Reset", "undo")))
        keep.on_click(lambda button: self._wish())
        back.on_click(lambda button: self._reset())
        factors = VBox([*self.controls.widgets.values()], layout={"max_height": "430px", "overflow": "hidden auto"})
        left = VBox([factors, self._place, HBox([keep, back])], layout={"width": "370px", "min_width": "300px"})
        right = VBox([self._pictures, self._words, self._curve, self._status], layout={"flex": "1 1 0", "min_width": "0"})
        self.widget = HBox([left, right])
        self._draw()
        self._ask(self._factor)

    def keep(self, do: Mapping[str, Any] | None = None) -> Explanation:
        """The case of a question (of the controls, when left out) as a section, added to `kept`.

        Raises:
            AbilityError: nothing is set.
        """
        do = self.controls.do() if do is None else do
        if not do:
            raise AbilityError("nothing is set, so that there is no case to keep; move a control first")
        self.kept.append(self.asked.case(do))
        return self.kept[-1]

    def wait(self, seconds: float = 60) -> bool:
        """Until the last question has been answered; whether that came in time."""
        return self._worker.wait(seconds)

    def html(self) -> str:
        """The pictures and words of the last answer, without a widget."""
        return f"{self._pictures.value}{self._words.value}"

    def _ask(self, name: str) -> None:
        """A factor was moved: the controls are read when the worker comes to it."""
        self._factor = name
        self._worker.ask(name)

    def _wish(self) -> None:
        """Keep the case as the controls stand now, whatever is moved meanwhile."""
        do = self.controls.do()
        if not do:
            self._status.value = "Nothing is set, so that there is no case to keep: move a control first."
            return
        self._wishes.append(do)
        self._worker.ask(self._factor)

    def _reset(self) -> None:
        self.controls.reset()
        self._ask(self._factor)

    def _work(self, name: str, stale: Callable[[], bool]) -> None:
        """Keep what is to be kept, then answer for the controls as they stand."""
        try:
            kept = [self.keep(self._wishes.popleft()).title for _ in range(len(self._wishes))]
            started, do = time.perf_counter(), self.controls.do()
            answer = self.asked.ask(do)
            if stale():
                return
            self.answer = answer
            self._draw()
            parts = " · ".join(f"{part} {1000 * seconds:.0f} ms" for part, seconds in answer.seconds.items())
            took = f"{parts} · all {1000 * (time.perf_counter() - started):.0f} ms"
            self._status.value = f"Kept: {escape(kept[-1])} ({len(self.kept)} in <code>.kept</code>)." if kept else took
            if self._worker.pause(HAND_RESTS):
                self._follow(name, do, stale)
        except Exception as error:  # a thread has no cell to show it under
            with self._drawing:
                self._pictures.value, self._words.value = f'<div style="opacity:.2">{self._pictures.value}</div>', ""
            self._status.value = f'<span role="alert" style="color:#b2182b"><b>{type(error).__name__}</b>: {escape(str(error))}</span>'

    def _draw(self) -> None:
        with self._drawing:
            answer = self.answer
            self._scales.widen(answer)
            place = self._place.value if self.asked.image.ndim == 4 else None
            self._pictures.value = pictures(self.asked, answer, self._scales, place=place)
            self._words.value = f'<div style="font-size:13px" aria-live="polite">{escape(spoken(self.asked, answer))}</div>'

    def _follow(self, name: str, do: Mapping[str, Any], stale: Callable[[], bool]) -> None:
        """The chance over the whole range of the factor that was moved; broken off when a newer question waits."""
        points = []
        for point in self.asked.dose(name, do) if self.controls.applies(name) else ():
            if stale():
                return
            points.append(point)
        factor = self.asked.generator.schema[name]
        unit = f" ({factor.unit})" if not isinstance(factor, Category) and factor.unit else ""
        with self._curve.batch_update():
            self._curve.data[0].update(x=[value for value, _ in points], y=[chance for _, chance in points])
            self._curve.data[1].update(x=[self.asked.value(name)], y=[self.asked.before])
            self._curve.data[2].update(x=[do.get(name, self.asked.value(name))], y=[self.answer.chance])
            self._curve.layout.xaxis.update(title=f"{name}{unit}, all else as set", type="category" if isinstance(factor, Category) else "linear")

    def _repr_mimebundle_(self, **wanted: Any) -> dict[str, Any]:
        self.wait(10)
        shown = self.widget._repr_mimebundle_(**wanted)
        bundle = dict(shown[0] if isinstance(shown, tuple) else shown)
        return {**bundle, "text/html": self.html(), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"WhatIf({spoken(self.asked, self.answer)} P({self.asked.target} = {self.asked.level}): {self.asked.before:.3f} → {self.answer.chance:.3f})"


def _curve(asked: Inquiry) -> "FigureWidget":
    import plotly.graph_objects as go

    line = go.Scatter(x=[], y=[], mode="lines+markers", name="over its range", line_color="#777")
    marks = [
        go.Scatter(x=[], y=[], mode="markers", name=name, marker=dict(size=13, symbol=symbol, color=colour))
        for name, symbol, colour in (("original", "circle-open", "black"), ("twin", "diamond", "#b2182b"))
    ]
    figure = go.FigureWidget([line, *marks])
    figure.update_layout(template="plotly_white", height=230, margin=dict(l=60, r=10, t=10, b=40), legend=dict(orientation="h", y=1.15))
    figure.update_yaxes(range=[-0.03, 1.03], title=f"P({asked.target} = {asked.level})")
    return figure


def whatif(
    generator: Generator, classifier: Predictor, patient: Cohort, *, target: str | None = None, level: str | None = None, scm: SCM | None = None,
    effect: str = "total", steps: int | None = LIVE_STEPS,
) -> WhatIf:  # fmt: skip
    """Sliders and dropdowns for one patient's factors; twin, difference, prediction, attribution and dose-response curve follow as they move.

    Args:
        patient: one image, such as `patients[3]`.
        target, level: whose predicted chance is followed; the classifier's only category and its last level.
        scm, effect: a causal model that moves descendants, as for `sk.counterfactual`.
        steps: of a flow's solver, at most, so that pictures follow the hand; None keeps the generator's own. Cases that are kept have its own.
    Raises:
        DataError: not exactly one image, or one of another size.
        AbilityError: a generator without an encoder.
        SchemaError: unknown target or level.

    Example:
        view = sk.whatif(gen, clf, patients[3])
    """
    return WhatIf(inquiry(generator, classifier, patient, target=target, level=level, scm=scm, effect=effect, steps=steps))
