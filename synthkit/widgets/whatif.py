"""What if? Move a factor of one patient, and see the twin, the classifier's answer and its reasons follow."""
import time
from collections.abc import Callable, Mapping
from html import escape
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
KEEP = "keep"


class WhatIf:
    """The live view of one inquiry; the last line of a cell shows it, and front ends without widgets show the picture alone.

    Attributes:
        asked: the inquiry, for questions in code: `asked.ask({"age": 80})`.
        answer: the last answer.
        kept: cases kept with the button or by `keep`, sections for `sk.Report(title, view.kept)`.
    """

    def __init__(self, asked: Inquiry):
        self.asked, self.answer, self.kept = asked, asked.ask({}), list[Explanation]()
        self.controls, self._scales, self._worker = Controls(asked, self._ask), Scales(), Latest(self._work)
        self._factor, depth = asked.factors[0].name, asked.image.shape[1] if asked.image.ndim == 4 else 0
        self._place = IntSlider(value=depth // 2, min=0, max=max(depth - 1, 1), description="slice", layout={"display": "" if depth else "none"})
        self._place.observe(lambda change: self._draw(), "value")
        self._pictures, self._words, self._status = HTML(), HTML(), HTML()
        self._curve = _curve(asked)
        keep, back = (Button(description=words, icon=icon, layout={"width": "auto"}) for words, icon in (("Keep for the report", "plus"), ("Reset", "undo")))
        keep.on_click(lambda button: self._worker.ask(KEEP))
        back.on_click(lambda button: self._reset())
        factors = VBox([*self.controls.widgets.values()], layout={"max_height": "430px", "overflow": "hidden auto"})
        left = VBox([factors, self._place, HBox([keep, back])], layout={"width": "370px", "min_width": "300px"})
        right = VBox([self._pictures, self._words, self._curve, self._status], layout={"flex": "1 1 0", "min_width": "0"})
        self.widget = HBox([left, right])
        self._draw()
        self._worker.ask(self._factor)

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
        self._worker.ask(name)

    def _reset(self) -> None:
        self.controls.reset()
        self._worker.ask(self._factor)

    def _work(self, job: str, stale: Callable[[], bool]) -> None:
        """Answer for the controls as they stand now; `job` is the factor that was moved, or the wish to keep."""
        try:
            if job == KEEP:
                self._status.value = f"Kept: {escape(self.keep().title)} ({len(self.kept)} in <code>.kept</code>)."
                return
            started, do = time.perf_counter(), self.controls.do()
            answer = self.asked.ask(do)
            if stale():
                return
            self._factor, self.answer = job, answer
            self._draw()
            parts = " · ".join(f"{name} {1000 * seconds:.0f} ms" for name, seconds in answer.seconds.items())
            self._status.value = f"{parts} · all {1000 * (time.perf_counter() - started):.0f} ms"
            self._follow(job, do, stale)
        except Exception as error:  # a thread has no cell to show it under
            self._status.value = f'<span role="alert" style="color:#b2182b"><b>{type(error).__name__}</b>: {escape(str(error))}</span>'

    def _draw(self) -> None:
        self._scales.widen(self.answer)
        place = self._place.value if self.asked.image.ndim == 4 else None
        self._pictures.value = pictures(self.asked, self.answer, self._scales, place=place)
        self._words.value = f'<div style="font-size:13px" aria-live="polite">{escape(spoken(self.asked, self.answer))}</div>'

    def _follow(self, name: str, do: Mapping[str, Any], stale: Callable[[], bool]) -> None:
        """The chance over the whole range of the factor that was moved; broken off when a newer question waits."""
        points = []
        for point in self.asked.dose(name, do):
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
        steps: of a flow's solver, fewer than usual so that pictures follow the hand; None keeps the generator's own.
    Raises:
        DataError: not exactly one image, or one of another size.
        AbilityError: a generator without an encoder.
        SchemaError: unknown target or level.

    Example:
        view = sk.whatif(gen, clf, patients[3])
    """
    quick = generator.using(steps=steps) if steps is not None and isinstance(generator, Generator) and "steps" in generator.recipe.sampling else generator
    return WhatIf(inquiry(quick, classifier, patient, target=target, level=level, scm=scm, effect=effect))
