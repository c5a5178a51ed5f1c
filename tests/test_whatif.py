"""What-if questions on images whose brightness is the finding, and the controls that ask them."""
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort

import synthkit as sk
from synthkit.core.cohort import Cohort
from synthkit.explanation.inquiry import Inquiry, inquiry
from synthkit.widgets.controls import Controls, slider_step, start
from synthkit.widgets.latest import Latest
from synthkit.widgets.whatif import WhatIf, whatif


class Mean(torch.nn.Module):
    """Calls bright images ill."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = 4 * x.flatten(1).mean(1)
        return torch.stack([torch.zeros_like(bright), bright], 1)


FILMS = toy_cohort(12, seed=3)
EYE = sk.Predictor.of(Mean(), SCHEMA["lesion"], FILMS)
GEN = exact_generator(FILMS)
ILL, WELL = (FILMS.where(f"lesion == '{level}'")[0] for level in ("present", "absent"))


@pytest.fixture(scope="module")
def asked() -> Inquiry:
    return inquiry(GEN, EYE, ILL)


@pytest.fixture
def view() -> WhatIf:
    made = whatif(GEN, EYE, ILL, steps=None)
    assert made.wait()
    return made


def test_with_nothing_set_the_twin_is_the_original(asked):
    answer = asked.ask({})
    assert torch.equal(answer.twin, asked.image) and not answer.delta.any() and not answer.attribution.any() and answer.chance == asked.before


def test_the_answer_is_that_of_the_whole_way(asked):
    answer, twin = asked.ask({"lesion": "absent"}), sk.counterfactual(GEN, ILL, {"lesion": "absent"})
    assert (answer.twin - twin.edited.images[0]).abs().max() < 1e-4
    assert answer.chance == pytest.approx(EYE.predict(twin.edited)["p_lesion_present"].item(), abs=1e-4) and answer.chance < asked.before
    assert asked.round_trip < 0.01 and set(answer.seconds) == {"twin", "prediction", "attribution"}


def test_the_attribution_adds_up_to_what_the_twin_lost(asked):
    answer = asked.ask({"lesion": "absent"})
    lost = np.log(asked.before / (1 - asked.before)) - np.log(answer.chance / (1 - answer.chance))
    assert float(answer.attribution.sum()) == pytest.approx(lost, abs=1e-3)


def test_a_dose_curve_covers_the_range_and_meets_the_answer(asked):
    ages = list(asked.dose("age", {}))
    assert [age for age, _ in ages][0] == 0 and ages[-1][0] == 100 and len(ages) == 7
    levels = dict(asked.dose("lesion", {}))
    assert levels["absent"] == pytest.approx(asked.ask({"lesion": "absent"}).chance) and levels["present"] == pytest.approx(asked.before, abs=1e-4)


def test_a_causal_model_moves_descendants_and_says_which():
    table = toy_cohort(300, seed=9).table.drop(columns="diameter")
    films = Cohort.of(FILMS.images.raw(), FILMS.table, schema=SCHEMA, space=FILMS.space, provenance=FILMS.provenance)
    table["age"] = np.where(table["lesion"] == "present", 70, 30) + np.random.default_rng(0).normal(0, 2, len(table))
    scm = sk.CausalGraph(SCHEMA.only(["lesion", "age"]), {"age": ["lesion"]}).fit(table)
    asked = inquiry(GEN, EYE, films.where("lesion == 'present'")[0], scm=scm)
    assert asked.ask({"lesion": "absent"}).moved == ("age",)


@pytest.mark.parametrize(("given", "error", "words"), [
    (dict(patient=FILMS[:2]), sk.DataError, "give one, such as patients"), (dict(patient=FILMS[:0]), sk.DataError, "empty"),
    (dict(patient=toy_cohort(1, size=(8, 8))), sk.DataError, "other images"), (dict(target="sex"), sk.SchemaError, "target='sex'"),
    (dict(classifier="effusion"), sk.DataError, "classifier"), (dict(scm="chest"), sk.DataError, "causal model"),
    (dict(effect="totl"), sk.SchemaError, "direct"),
])  # fmt: skip
def test_what_cannot_be_asked_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        whatif(**{"generator": GEN, "classifier": EYE, "patient": ILL, "steps": None, **given})


def test_a_generator_without_an_encoder_is_refused():
    class OneWay(torch.nn.Module):
        pass

    with pytest.raises(sk.AbilityError, match="no encoder"):
        whatif(replace(GEN, trained=OneWay()), EYE, ILL, steps=None)


def test_controls_stand_at_the_patients_values_and_ask_for_nothing(asked):
    moved = list[str]()
    controls = Controls(asked, moved.append)
    assert controls.do() == {} and controls.widgets["sex"].value == ILL.table["sex"].iloc[0]
    assert abs(controls.widgets["age"].value - ILL.table["age"].iloc[0]) <= controls.widgets["age"].step / 2
    # A front end that rounds to the slider's own steps asks for nothing either.
    controls.widgets["age"].value += controls.widgets["age"].step / 4
    controls.widgets["diameter"].value += controls.widgets["diameter"].step / 4
    assert controls.do() == {} and moved == []


def test_a_moved_control_asks_and_reset_takes_it_back(asked):
    moved: list[str] = []
    controls = Controls(asked, moved.append)
    controls.widgets["age"].value = 80.0
    assert controls.do() == {"age": 80.0} and moved == ["age"]
    controls.reset()
    assert controls.do() == {} and moved == ["age"]


def test_an_unknown_quantity_can_be_set_to_the_middle_where_its_slider_stands():
    blank = Cohort.of(ILL.images.raw(), ILL.table.assign(age=np.nan), schema=SCHEMA, space=ILL.space, provenance=ILL.provenance)
    controls = Controls(inquiry(GEN, EYE, blank), lambda name: None)
    assert "not known" in controls.widgets["age"].description and controls.do() == {}
    controls.widgets["age"].value = 60.0
    controls.widgets["age"].value = 50.0
    assert controls.do() == {"age": 50.0}


def test_what_hangs_on_another_factor_is_there_while_it_applies():
    controls = Controls(inquiry(GEN, EYE, WELL), lambda name: None)
    diameter = controls.widgets["diameter"]
    assert diameter.disabled and diameter.layout.display == "none"
    controls.widgets["lesion"].value = "present"
    assert not diameter.disabled and controls.do() == {"lesion": "present"}
    diameter.value = 7.0
    assert controls.do() == {"lesion": "present", "diameter": 7.0}
    controls.widgets["lesion"].value = "absent"
    assert controls.do() == {}


@pytest.mark.parametrize(("low", "high", "step"), [(0, 100, 1), (0, 1, 0.01), (18, 90, 1), (0.35, 0.7, 0.005), (0, 3000, 20), (6.25, 35, 0.2)])
def test_a_slider_has_about_a_hundred_round_steps(low, high, step):
    factor = sk.Quantity("x", low, high)
    assert slider_step(factor) == pytest.approx(step) and 40 <= (high - low) / slider_step(factor) <= 250
    value = start(factor, low + 0.337 * (high - low))
    assert low <= value <= high and (value - low) / step == pytest.approx(round((value - low) / step), abs=1e-6)


def test_moving_a_control_redraws_the_view(view):
    before = view.html()
    view.controls.widgets["lesion"].value = "absent"
    assert view.wait() and view.answer.do == {"lesion": "absent"} and view.html() != before
    assert f"{view.answer.chance:.3f}" in view.html() and "twin (synthetic)" in view.html() and "raw round trip" in view.html()
    line = view._curve.data[0]
    assert list(line.x) == ["absent", "present"] and line.y[0] == pytest.approx(view.answer.chance)


def test_a_case_is_kept_for_the_report(view, tmp_path):
    with pytest.raises(sk.AbilityError, match="nothing is set"):
        view.keep()
    view.controls.widgets["lesion"].value = "absent"
    view.keep()
    view.keep({"lesion": "absent", "sex": "M"})
    sk.Report("Cases", view.kept).save(tmp_path / "cases.html")
    assert len(view.kept) == 2 and "lesion → absent" in (tmp_path / "cases.html").read_text()


def test_without_widgets_the_picture_stands_for_the_view(view):
    bundle = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle and bundle["text/html"].count("<img alt=") == 4
    assert "Nothing is set" in bundle["text/plain"]


def test_an_error_while_answering_is_shown_in_the_view(view, monkeypatch):
    def broken(do):
        raise sk.DataError("no <such> picture")

    monkeypatch.setattr(view, "asked", type("Broken", (), {"ask": staticmethod(broken)})())
    view.controls.widgets["age"].value = 99.0
    assert view.wait() and 'role="alert"' in view._status.value and "no &lt;such&gt; picture" in view._status.value
    assert "opacity:.2" in view.html() and "Nothing is set" not in view.html(), "an old picture does not stand for the new question"


@pytest.mark.parametrize("order", ["keep, then move on", "move, then keep"])
def test_a_case_is_kept_as_it_stood_and_the_view_goes_on(view, order):
    slow, ask = threading.Event(), view.asked.ask
    object.__setattr__(view.asked, "ask", lambda do: (slow.wait(10), ask(do))[1])
    keep = next(button for button in view.widget.children[0].children[2].children if "Keep" in button.description)
    view.controls.widgets["age"].value = 50.0
    view.controls.widgets["lesion"].value = "absent"
    keep.click()
    if order == "keep, then move on":
        view.controls.widgets["lesion"].value = "present"
    slow.set()
    assert view.wait() and len(view.kept) == 1 and view.kept[0].twin.do == {"age": 50.0, "lesion": "absent"}
    assert view.answer.do == view.controls.do() and not view._wishes


def test_what_a_causal_model_does_not_know_is_set_by_itself():
    table = toy_cohort(300, seed=9).table.drop(columns="diameter")
    scm = sk.CausalGraph(SCHEMA.only(["lesion", "age"]), {"age": ["lesion"]}).fit(table)
    made = whatif(GEN, EYE, ILL, scm=scm, steps=None)
    other = "F" if ILL.table["sex"].item() == "M" else "M"
    assert made.asked.ask({"sex": other}).moved == () and made.asked._rows({"lesion": "absent", "sex": other})[0]["sex"].item() == other
    assert made.keep({"sex": other, "lesion": "absent"}).twin.moved == made.asked.ask({"lesion": "absent"}).moved


def test_a_volume_is_looked_at_slice_by_slice():
    deep = toy_cohort(4, size=(6, 8, 8), seed=1)
    made = whatif(exact_generator(deep), sk.Predictor.of(Mean(), SCHEMA["lesion"], deep), deep[0], steps=None)
    made.wait()
    first = made.html()
    assert made._place.layout.display == "" and made._place.max == 5
    made._place.value = 0
    assert made.html() != first and made.answer.twin.shape == (1, 6, 8, 8)


def test_only_the_newest_question_is_answered():
    started, go, answered = threading.Event(), threading.Event(), list[int]()

    def answer(job, stale):
        answered.append(job)
        if job == 0:
            started.set()
            go.wait(10)
            assert stale()

    worker = Latest(answer)
    worker.ask(0)
    assert started.wait(10)
    for job in (1, 2, 3):
        worker.ask(job)
    go.set()
    assert worker.wait(10) and answered == [0, 3] and not worker.stale()


def test_an_answer_that_fails_leaves_the_newest_question(caplog):
    begun, go, answered = threading.Event(), threading.Event(), list[int]()

    def answer(job, stale):
        if job == 0:
            begun.set()
            go.wait(10)
            raise ValueError("planted")
        answered.append(job)

    worker = Latest(answer)
    worker.ask(0)
    assert begun.wait(10)
    worker.ask(1)
    go.set()
    assert worker.wait(10) and answered == [1] and "planted" in caplog.text


def test_the_worker_ends_when_nothing_waits():
    worker = Latest(lambda job, stale: None)
    worker.ask(1)
    assert worker.wait(10)
    left = [thread for thread in threading.enumerate() if thread.name == "synthkit-latest"]
    for thread in left:
        thread.join(5)
    assert not any(thread.is_alive() for thread in left)


def test_a_pause_ends_early_when_a_newer_question_comes():
    rested, waiting = [], threading.Event()

    def answer(job: int, stale) -> None:
        waiting.set()
        rested.append((job, worker.pause(0.05 if job == 2 else 20)))

    worker = Latest(answer)
    worker.ask(1)
    assert waiting.wait(10)
    worker.ask(2)
    assert worker.wait(10) and rested == [(1, False), (2, True)]
