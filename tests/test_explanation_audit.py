"""The audit of a classifier's reasons, with an editor that is exact and with one that is not."""
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import SCHEMA, Bright, Shift, exact_generator, toy_cohort

import synthkit as sk
from synthkit.core.cohort import Cohort
from synthkit.explanation.audit import explanation_audit
from synthkit.explanation.effects import chosen_factors, effects, showing
from synthkit.generators.editing import inverted

FILMS = toy_cohort(120, seed=8)
GEN, WRONG = exact_generator(FILMS), exact_generator(FILMS, strength=-1.0)


class Reader(torch.nn.Module):
    """Reads the lesion off the brightness; the sex off two pixels' difference, which no edit here touches, or, confusing both, off the brightness."""

    def __init__(self, *, confused: bool = False):
        super().__init__()
        self.confused = confused

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright, apart = 40 * x.flatten(1).mean(1), 40 * (x[:, 0, 0, 0] - x[:, 0, 0, 1])
        return torch.stack([torch.zeros_like(bright), bright, torch.zeros_like(bright), bright if self.confused else apart], 1)


def reading(*, confused: bool = False) -> sk.Predictor:
    return sk.Predictor(Reader(confused=confused), SCHEMA.only(("lesion", "sex")), FILMS.space)


EYE, JUDGE, NARROW = sk.Predictor.of(Bright(4.0), SCHEMA["sex"], FILMS), reading(), sk.Predictor.of(Bright(40.0), SCHEMA["lesion"], FILMS)


def told_of(films: Cohort, **columns: object) -> Cohort:
    """The same images with other columns."""
    return Cohort.of(films.images.raw(), films.table.assign(**columns), schema=SCHEMA, space=films.space, provenance=films.provenance)


class Loose(Shift):
    """The way back misses by a fiftieth of the image unit."""

    def encode(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return super().encode(x, c) + 0.02


class Leaky(Shift):
    """Setting the sex brightens the image as well, though no film of the toy shows a sex."""

    def _brightness(self, c: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        sex = list(SCHEMA.blocks())[2]
        return super()._brightness(c, like) + (c[:, sex.start + 1] - c[:, sex.start]).reshape(-1, *(1,) * (like.ndim - 1)) / 2


def test_the_factor_that_a_classifier_lives_on_is_found_and_its_case_shown():
    told = explanation_audit(EYE, GEN, FILMS, factors=["lesion"], judge=JUDGE, methods=["IntegratedGradients"])
    assert told.uses() == ["lesion"] and told.rows["effect"][0] > 0.3 and told.rows["n"][0] == 120
    assert [section.title for section in told.sections][0] == "What does sex = M hang on?" and len(told.sections) == 3
    assert "lesion → " in told.cases.title and "Without exact truth" in "\n".join(told.caveats()) and told.figure().data


def test_a_report_takes_all_sections(tmp_path):
    told = explanation_audit(EYE, GEN, FILMS[:40], factors=["lesion"], judge=JUDGE, methods=["IntegratedGradients"])
    sk.Report("Audit", told.sections).save(tmp_path / "audit.html")
    assert "Soundness of exact toy" in (tmp_path / "audit.html").read_text()


def test_an_editor_that_fails_its_gate_is_refused_and_told_what_would_mend_it():
    with pytest.raises(sk.AbilityError, match="fails its gate for every factor.*lesion.*longer training"):
        explanation_audit(EYE, WRONG, FILMS, factors=["lesion"], judge=JUDGE)


def test_an_editor_that_changes_the_target_along_cannot_convict():
    judge = reading(confused=True)
    leaky = replace(GEN, trained=Leaky(FILMS.space.shape).requires_grad_(False))
    eye = sk.Predictor.of(Bright(4.0), SCHEMA["lesion"], FILMS)
    with pytest.raises(sk.AbilityError, match="sex .* also moves lesion by"):
        explanation_audit(eye, leaky, FILMS, factors=["sex"], judge=judge)
    assert explanation_audit(eye, leaky, FILMS, factors=["sex"], judge=judge, gate=sk.Gate(leakage_sd=99)).uses() == ["sex"]


def test_a_judge_who_cannot_read_the_target_is_refused():
    with pytest.raises(sk.DataError, match="it reads lesion and not sex.*give a judge that was taught sex too"):
        explanation_audit(EYE, GEN, FILMS, factors=["lesion"], judge=NARROW)


def test_a_classifier_cannot_judge_its_own_editor():
    both = sk.Predictor(JUDGE.module, JUDGE.schema, JUDGE.space)
    with pytest.raises(sk.DataError, match="it is the classifier in question"):
        explanation_audit(both, GEN, FILMS, factors=["lesion"], judge=JUDGE, target="sex")


def test_both_directions_must_have_been_examined():
    films = FILMS[np.r_[np.flatnonzero(FILMS.table["lesion"] == "present")[:26], np.flatnonzero(FILMS.table["lesion"] == "absent")[:4]]]
    with pytest.raises(sk.AbilityError, match="too few patients to examine the edits both ways"):
        explanation_audit(EYE, GEN, films, factors=["lesion"], judge=JUDGE)


def test_a_factor_that_fails_is_not_assessed_beside_those_that_pass():
    told = explanation_audit(EYE, GEN, FILMS, factors=["lesion", "age"], judge=JUDGE, methods=["IntegratedGradients"])
    left = told.rows[told.rows["factor"] == "age"]
    assert left["verdict"].item().startswith("not assessed: ") and np.isnan(left["effect"].item())
    assert "unsound edit" in "\n".join(told.caveats()) and told.uses() == ["lesion"]


@pytest.mark.parametrize(("fault", "editor", "strict", "lax"), [
    ("read as asked", exact_generator(FILMS, strength=0.45), sk.Gate(), sk.Gate(effectiveness=0.0)),
    ("raw round trip", replace(GEN, trained=Loose(FILMS.space.shape).requires_grad_(False)), sk.Gate(composition_raw=1.0), sk.Gate()),
])  # fmt: skip
def test_the_gate_that_is_given_counts(fault, editor, strict, lax):
    assert explanation_audit(EYE, editor, FILMS, factors=["lesion"], judge=JUDGE, gate=lax).uses() == ["lesion"]
    with pytest.raises(sk.AbilityError, match=fault):
        explanation_audit(EYE, editor, FILMS, factors=["lesion"], judge=JUDGE, gate=strict)


def test_an_impossible_gate_is_refused():
    with pytest.raises(sk.DataError, match="at most 1"):
        sk.Gate(r2_delta=1.1)


@pytest.mark.parametrize(("given", "error", "words"), [
    (dict(margin=5), sk.DataError, "between 0 and 1"), (dict(margin="a"), sk.DataError, "margin"), (dict(gate=0.3), sk.DataError, "gate"),
    (dict(truth="chest"), sk.DataError, "truth"), (dict(control="x"), sk.DataError, "control"), (dict(control=NARROW), sk.SchemaError, "sex"),
    (dict(factors="lesion"), sk.SchemaError, "list of names"), (dict(factors=["ghost"]), sk.SchemaError, "ghost"),
    (dict(factors=["sex"]), sk.SchemaError, "what the classifier predicts"), (dict(methods=["Guess"]), sk.AbilityError, "Guess"),
    (dict(methods=[]), sk.AbilityError, "list of names"), (dict(patients=FILMS[:4]), sk.DataError, "10 patients"),
    (dict(patients=told_of(FILMS, age=50.0), factors=["age"]), sk.SchemaError, "cannot be set both ways"),
])  # fmt: skip
def test_what_cannot_be_audited_is_refused_before_anything_is_computed(given, error, words):
    with pytest.raises(error, match=words):
        explanation_audit(**{"classifier": EYE, "generator": GEN, "patients": FILMS, "judge": JUDGE, **given})


def test_patients_whom_the_classifier_learnt_from_are_refused():
    seen = sk.Predictor(EYE.module, EYE.schema, EYE.space, frozenset(FILMS.table["patient_id"][:3]))
    with pytest.raises(sk.LeakageError):
        explanation_audit(seen, GEN, FILMS, judge=JUDGE)


def test_factors_are_set_to_their_levels_to_quantiles_or_to_extremes():
    values = chosen_factors(GEN, FILMS, None, but="sex")
    assert values["lesion"] == ("absent", "present") and set(values) == {"lesion", "age"}
    low, high = values["age"]
    assert (FILMS.table["age"] < low).mean() == pytest.approx(0.1, abs=0.02) and (FILMS.table["age"] > high).mean() == pytest.approx(0.1, abs=0.02)
    nearly = told_of(FILMS, age=[30.0, 70.0] + [50.0] * (len(FILMS) - 2))
    assert chosen_factors(GEN, nearly, ["age"], but="sex") == {"age": (30.0, 70.0)}


def test_a_factor_is_averaged_over_those_whom_it_applies_to():
    class Size(Shift):
        """The diameter, where there is one, is the brightness."""

        def _brightness(self, c: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
            return c[:, list(SCHEMA.blocks())[1].start].reshape(-1, *(1,) * (like.ndim - 1)) / 2

    sized = replace(GEN, trained=Size(FILMS.space.shape).requires_grad_(False))
    told = sk.shortcut(EYE, sized, FILMS, factor="diameter", levels=(3, 7))
    ill = sk.shortcut(EYE, sized, FILMS.where("lesion == 'present'"), factor="diameter", levels=(3, 7))
    assert told.rows["n"].item() == 60 and told.rows["effect"].item() == pytest.approx(ill.rows["effect"].item()) and told.verdict == "uses it"
    with pytest.raises(sk.DataError, match="applies to 0 of the patients"):
        sk.shortcut(EYE, sized, FILMS.where("lesion == 'absent'"), factor="diameter", levels=(3, 7))


def test_with_the_truth_exact_rows_control_and_contributions_stand_beside():
    chest = sk.ChestPhantom(size=32, confounding=0)
    films = chest.cohort(110, seed=3)

    class Left(torch.nn.Module):
        """Reads the upper left corner, where the marker stands, and the whole film a little."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bright = 8 * (x[:, :, :6, :6].flatten(1).mean(1) + 0.6) + 2 * x.flatten(1).mean(1)
            return torch.stack([torch.zeros_like(bright), bright], 1)

    eye, other = sk.Predictor.of(Left(), films.schema["effusion"], films), sk.Predictor.of(Bright(0.0), films.schema["effusion"], films)
    told = explanation_audit(
        eye, phantom_editor(films), films, factors=["marker", "site"], truth=chest, control=other, gate=sk.Gate(r2_delta=-9, leakage_sd=99), count=12,
        judge=other, methods=["IntegratedGradients"],
    )  # fmt: skip
    exact = told.rows[(told.rows["twins"] == "exact") & (told.rows["classifier"] == "in question")].set_index("factor")
    assert exact.loc["marker", "verdict"] == "uses it" and "marker" in told.uses() and exact.loc["marker", "effect"] > 0.1
    edited = told.rows[(told.rows["twins"] == "edited") & (told.rows["factor"] == "marker") & (told.rows["classifier"] == "in question")]
    assert edited["verdict"].item() == "does not", "this editor does nothing, and the exact twins have the last word"
    assert told.rows.loc[told.rows["classifier"] == "control", "verdict"].eq("does not").all()
    assert told.agreement is not None and set(told.agreement.rows["name"]) >= {"marker", "site", "IntegratedGradients"} and len(told.sections) == 4


def phantom_editor(films: Cohort) -> sk.Generator:
    """An editor of phantom films that changes nothing."""
    return replace(exact_generator(films), trained=Still(films.space.shape).requires_grad_(False))


class Still(Shift):
    """Every edit leaves the image as it is."""

    def _brightness(self, c: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(like)


def test_the_edited_and_the_exact_twins_are_of_the_same_patients():
    chest = sk.ChestPhantom(size=32)
    films = chest.cohort(30, seed=3).where("marker == 'absent'")[:12]
    shows = showing(films, inverted(phantom_editor(films), films), chest)
    shown = {name: show({"marker": "present"}).table for name, show in shows.items()}
    assert list(shown) == ["edited", "exact"]
    for table in shown.values():
        assert table["patient_id"].tolist() == films.table["patient_id"].tolist() and table["marker"].eq("present").all()
    eye = sk.Predictor.of(Bright(4.0), films.schema["effusion"], films)
    rows = effects({"in question": eye}, shows, "marker", ("absent", "present"), "p_effusion_present", margin=0.05, seed=0)
    assert [row["n"] for row in rows] == [12, 12] and rows[0]["effect"] == 0 != rows[1]["effect"]


def test_inverted_images_are_edited_as_one_by_one():
    start = inverted(GEN, FILMS[:10])
    for level in ("absent", "present"):
        again, once = start.edit({"lesion": level}), GEN.edit(FILMS[:10], {"lesion": level})
        assert np.array_equal(again.images.raw(), once.images.raw()) and again.table.equals(once.table)
    held = start.under(FILMS[:10].table)
    assert torch.equal(held, FILMS[:10].images.tensor())
    some = start.only(np.array([7, 2]))
    assert list(some.cohort.table["image_id"]) == [FILMS.table["image_id"][i] for i in (7, 2)]
    apart, whole = (SCHEMA.do(one.cohort.table, {"lesion": "present"}) for one in (some, start))
    assert torch.equal(some.under(apart)[1], start.under(whole)[2])
