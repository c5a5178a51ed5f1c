"""The measures of an editor against closed forms, and the table of a phantom's edits."""
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from toys import SMALL_NET, exact_generator, toy_cohort

import synthkit as sk
from synthkit.core.cohort import Cohort
from synthkit.core.schema import Category, Quantity, Schema
from synthkit.explanation.edits import Edit, prepared_edits
from synthkit.explanation.making import Made, made
from synthkit.explanation.measures import against_itself, against_truth, effective, leakage
from synthkit.explanation.soundness import COLUMNS, Soundness, soundness

COHORT = toy_cohort(24, seed=5)
EVERY = np.arange(8)


def pictures(edited: torch.Tensor, *, start: torch.Tensor, exact: torch.Tensor, **others: torch.Tensor) -> Made:
    given = {"raw": start, "back": start, "redraw": start, "neighbour": start} | others
    return Made(start=start, edited=edited, exact=exact, **given)


@pytest.fixture(scope="module")
def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Originals, true changes in the upper half, and changes beside them in the lower one."""
    draw = torch.Generator().manual_seed(0)
    start, change = torch.zeros(8, 1, 16, 16), torch.rand(8, 1, 16, 16, generator=draw) * 0.2
    up = change.clone()
    up[:, :, 8:] = 0
    return start, up, change - up


def read(edited, scene, **others) -> dict[str, float]:
    start, up, _ = scene
    found = against_truth(pictures(edited, start=start, exact=start + up, **others), (up > 0)[:, 0])
    return {name: statistic(EVERY) for name, statistic in found.items()}


def test_the_truth_is_sound_and_doing_nothing_is_the_zero(scene):
    start, up, _ = scene
    exact, nothing = read(start + up, scene), read(start, scene)
    assert exact["r2_delta"] == 1 and exact["tea_e"] == pytest.approx(1) and exact["tea_a"] == pytest.approx(0, abs=1e-3) and exact["outside_l1"] == 0
    assert nothing["r2_delta"] == 0 and nothing["tea_e"] == 0 and nothing["tea_a"] == 0 and nothing["r2_delta_redraw"] == 0


@pytest.mark.parametrize(("far", "aside"), [(0.5, 0.0), (1.3, 0.0), (1.0, 0.7), (0.8, 0.4), (-1.0, 0.0)])
def test_tea_parts_the_error_along_from_the_error_beside(scene, far, aside):
    """A change of `far` times the truth, and something orthogonal to it."""
    start, up, down = scene
    found = read(start + far * up + aside * down, scene)
    beside = aside * float((down.square().sum() / up.square().sum()).sqrt())
    assert found["tea_e"] == pytest.approx(far, abs=1e-6) and found["tea_a"] == pytest.approx(beside, abs=1e-3)
    assert found["r2_delta"] == pytest.approx(1 - (1 - far) ** 2 - beside**2, abs=1e-5)
    assert found["outside_l1"] == pytest.approx(float((aside * down)[:, :, 8:].mean()) * 127.5, rel=1e-5)


def test_a_row_without_neighbour_is_left_out(scene):
    start, up, _ = scene
    neighbour = start + up
    neighbour[:4] = torch.nan
    assert read(start, scene, neighbour=neighbour)["r2_delta_neighbour"] == 1
    assert np.isnan(read(start, scene, neighbour=torch.full_like(start, torch.nan))["r2_delta_neighbour"])


def test_raw_errors_are_in_grey_levels(scene):
    start, up, _ = scene
    found = against_itself(pictures(start, start=start, exact=start + up, raw=start + 2 / 255, back=start - 4 / 255))
    assert found["composition_raw"](EVERY) == pytest.approx(1) and found["reversibility_raw"](EVERY) == pytest.approx(2)


def test_what_leaks_is_named_in_standard_deviations():
    schema = Schema((Category("marker", ("absent", "present")), Quantity("age", 0, 100), Category("lesion", ("absent", "present"))))
    rng = np.random.default_rng(0)

    def readings(marker: np.ndarray, age: np.ndarray, lesion: np.ndarray) -> pd.DataFrame:
        both = {"p_marker_absent": 1 - marker, "p_marker_present": marker, "p_lesion_absent": 1 - lesion, "p_lesion_present": lesion}
        return pd.DataFrame({**both, "age": age})

    marker, age, lesion = rng.normal(0.5, 0.1, 500), rng.normal(50, 10, 500), rng.normal(0.5, 1, 500)
    before, shown = readings(marker, age, lesion), readings(marker - 0.1, age + 5, np.full(500, 9.0))
    size, name = leakage(schema, before, shown, before, {"lesion": "absent"})
    assert name == "marker" and size == pytest.approx(0.1 / before["p_marker_present"].std())
    assert leakage(schema, before, before, before, {"lesion": "absent"})[0] == 0
    never = readings(0.001 * marker, age, lesion)
    assert leakage(schema, never, readings(np.full(500, 0.02), age, lesion), never, {"lesion": "absent", "age": 3})[0] < 0.3
    views = Schema((Category("view", ("PA", "AP", "L")), Category("lesion", ("absent", "present"))))
    held = pd.DataFrame({"p_view_PA": 0.5, "p_view_AP": rng.normal(0.25, 0.2, 500), "p_view_L": 0.2, "p_lesion_absent": 0.5, "p_lesion_present": 0.5})
    assert leakage(views, held, held.assign(p_view_PA=0.9), held, {"lesion": "absent"}) == (pytest.approx(4), "view"), "the first level counts as well"
    assert np.isnan(leakage(schema.only(("lesion",)), before, shown, before, {"lesion": "absent"})[0])


def test_pictures_of_an_exact_editor():
    ill = COHORT.where("lesion == 'present'")
    found = made(exact_generator(COHORT), Edit("lesion", "absent", ill, None), COHORT, seed=0)
    start = ill.images.tensor()
    assert torch.allclose(found.raw, start, atol=1e-6) and torch.allclose(found.edited, (start - 1).clamp(-1, 1), atol=1e-6)
    assert (found.back - start).abs().mean() < 0.02 and found.exact is None
    assert (found.redraw - found.edited).abs().mean() > 0.1
    healthy = COHORT.where("lesion == 'absent'").images.tensor()
    nearest = torch.cdist(start.flatten(1), healthy.flatten(1)).argmin(1)
    assert torch.equal(found.neighbour, healthy[nearest])


def test_a_neighbour_of_a_quantity_is_nearly_as_old_and_another_patient():
    twice = toy_cohort(24, seed=6, per_patient=12)
    edit = Edit("age", 50, twice, None)
    found = made(exact_generator(twice), edit, twice, seed=0).neighbour
    ages, names = twice.table["age"].to_numpy(), twice.table["patient_id"].to_numpy()
    images = twice.images.tensor()
    for row in range(24):
        place = [i for i in range(24) if torch.equal(images[i], found[row])]
        assert not place or (abs(ages[place[0]] - 50) <= 10 and names[place[0]] != names[row])
    assert (~torch.isnan(found).flatten(1).any(1)).any()


def test_effectiveness_by_kind_of_factor():
    judge = sk.Classifier(("lesion", "age"), options={"widths": (8, 16)}).fit(toy_cohort(40, prefix="j"), budget=sk.Steps(2), progress=False)
    readings = pd.DataFrame({"p_lesion_absent": [0.9, 0.4, 0.8], "p_lesion_present": [0.1, 0.6, 0.2], "age": [40.0, 60.0, 80.0]})
    words, share = effective(judge, Edit("lesion", "absent", COHORT, None), readings)
    assert words == "share read as asked" and share(np.arange(3)) == pytest.approx(2 / 3)
    words, miss = effective(judge, Edit("age", 50, COHORT, None), readings)
    assert words == "mean absolute error (years)" and miss(np.arange(3)) == pytest.approx(50 / 3)


def test_edits_are_of_one_factor_to_a_value_it_can_take():
    stages = Schema((Category("stage", ("1", "2", "3")),))
    table = pd.DataFrame({"image_id": [f"i{n}" for n in range(24)], "patient_id": [f"p{n}" for n in range(24)], "stage": ["1", "2", "3"] * 8})
    cohort = Cohort.of(COHORT.images.raw(), table, schema=stages, space=COHORT.space, provenance=COHORT.provenance)
    (edit,), notes = prepared_edits([{"stage": 2}], cohort, None)
    assert edit.value == "2" and len(edit.cohort) == 16 and "2" not in set(edit.cohort.table["stage"]) and not notes
    for wrong in ({"stage": 4}, {"stage": "1", "age": 3}, {"ward": 1}):
        with pytest.raises(sk.SchemaError):
            prepared_edits([wrong], cohort, None)
    with pytest.raises(sk.DataError, match="count=7: an edit is scored on 8 images or more"):
        prepared_edits(None, cohort, None, most=7)


@pytest.fixture(scope="module")
def judged():
    judge = sk.Classifier(("lesion", "sex"), options={"widths": (8, 16)}).fit(toy_cohort(60, prefix="j"), budget=sk.Steps(120), progress=False)
    return soundness(exact_generator(COHORT), COHORT, judge=judge, edits=[{"lesion": "absent"}, {"lesion": "present"}])


def test_without_the_truth_a_judge_tells(judged):
    assert isinstance(judged, Soundness) and tuple(judged.frame().columns) == COLUMNS and judged.failing() == judged.frame()["edit"].tolist()
    assert judged.frame()["effectiveness"].min() > 0.9 and judged.frame()["r2_delta"].isna().all() and (judged.frame()["composition_raw"] < 0.01).all()
    assert (judged.frame()["effectiveness_low"] <= judged.frame()["effectiveness"]).all() and judged.figure().data
    assert "not proven" in judged.caveats()[0] and set(judged.frame()["leaks_into"]) == {"sex"}


def test_a_phantom_tells_the_truth_of_every_edit(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path))
    chest = sk.ChestPhantom(size=32)
    gen = sk.Diffusion(options=SMALL_NET, steps=2).fit(chest.cohort(16, seed=1), budget=sk.Steps(30))
    patients = chest.cohort(24, seed=2)
    judge = sk.phantom_judge(chest, ["sex", "marker", "age"], images=32, steps=2)
    edits = [{"sex": "M"}, {"age": 80}]
    told = soundness(gen, patients, truth=chest, judge=judge, edits=edits, count=10, seed=0)
    frame = told.frame()
    assert frame["factor"].tolist() == ["sex", "age"] and (frame["n"] <= 10).all() and frame.notna().all(axis=None)
    parts = 1 - (1 - frame["tea_e"]) ** 2 - frame["tea_a"] ** 2
    assert np.allclose(frame["r2_delta"], parts, atol=1e-6) and (frame["r2_delta_low"] <= frame["r2_delta"]).all()
    assert (frame["composition_raw"] > 0).all() and "flatters" in told.caveats()[0]
    for low, redraw, neighbour, failing in ((0.1, -3, -1, False), (-0.1, -3, -1, True), (0.1, 0.2, -1, True), (0.1, -1, 0.2, True), (0.1, -1, np.nan, False)):
        rows = frame.head(1).assign(r2_delta_low=low, r2_delta_redraw=redraw, r2_delta_neighbour=neighbour)
        assert bool(replace(told, rows=rows).failing()) == failing
    again = soundness(gen, patients, truth=chest, judge=judge, edits=edits, count=10, seed=0)
    pd.testing.assert_frame_equal(frame, again.frame())


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: soundness(exact_generator(COHORT), COHORT), sk.DataError, "soundness needs truth=.* or judge="),
        (lambda: soundness("chest-phantom-64", COHORT), sk.DataError, "generator: got 'chest-phantom-64'"),
        (lambda: soundness(exact_generator(COHORT), COHORT.table), sk.DataError, "patients: got a DataFrame"),
        (lambda: soundness(exact_generator(COHORT), COHORT, judge="judge"), sk.DataError, "judge: got 'judge'"),
        (lambda: soundness(exact_generator(COHORT), COHORT, judge=sk.ChestPhantom(32), edits=[]), sk.DataError, r"edits=\[\]: name one edit or more"),
        (lambda: soundness(exact_generator(COHORT), COHORT, judge=sk.ChestPhantom(32), library=toy_cohort(4, size=(8, 8))), sk.DataError, "library: its"),
    ],
)
def test_wrong_questions_are_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_a_judge_must_read_what_is_edited():
    judge = sk.Classifier("lesion", options={"widths": (8, 16)}).fit(toy_cohort(24, prefix="j"), budget=sk.Steps(1), progress=False)
    with pytest.raises(sk.DataError, match="it reads lesion and none of sex, and without truth= nobody else could tell"):
        soundness(exact_generator(COHORT), COHORT, judge=judge, edits=[{"sex": "M"}])
    told = soundness(exact_generator(COHORT), COHORT, judge=judge, edits=[{"sex": "M"}, {"lesion": "absent"}])
    assert "The judge does not read sex" in "\n".join(told.caveats())


def test_nobody_may_judge_or_edit_whom_it_learnt_from(judged):
    cohort = toy_cohort(24, prefix="j")
    judge = sk.Classifier("lesion", options={"widths": (8, 16)}).fit(cohort, budget=sk.Steps(1), progress=False)
    with pytest.raises(sk.LeakageError):
        soundness(exact_generator(COHORT), cohort, judge=judge)
    with pytest.raises(sk.DataError, match="no edit changes enough images"):
        soundness(exact_generator(COHORT), COHORT[:6], judge=judge)
