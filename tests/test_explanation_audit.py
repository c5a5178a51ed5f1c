"""The audit of a classifier's reasons, with an editor that is exact and with one that is not."""
import numpy as np
import pytest
import torch
from toys import SCHEMA, exact_generator, toy_cohort

import synthkit as sk
from synthkit.explanation.audit import explanation_audit
from synthkit.explanation.effects import both_ways, edits_of
from synthkit.generators.editing import inverted

FILMS = toy_cohort(120, seed=8)
GEN, WRONG = exact_generator(FILMS), exact_generator(FILMS, strength=-1.0)


class Bright(torch.nn.Module):
    """Two outputs for two levels: bright images are the second."""

    def __init__(self, slope: float):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.tensor(slope))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x.flatten(1).mean(1) * self.slope
        return torch.stack([torch.zeros_like(bright), bright], 1)


EYE, JUDGE = sk.Predictor.of(Bright(4.0), SCHEMA["sex"], FILMS), sk.Predictor.of(Bright(40.0), SCHEMA["lesion"], FILMS)


def test_the_factor_that_a_classifier_lives_on_is_found_and_its_case_shown():
    told = explanation_audit(EYE, GEN, FILMS, factors=["lesion"], judge=JUDGE, methods=["IntegratedGradients"])
    assert told.uses() == ["lesion"] and told.rows["effect"][0] > 0.3 and told.rows["n"][0] == 120
    assert [section.title for section in told.sections][0] == "What does sex = M hang on?" and len(told.sections) == 3
    assert "lesion → " in told.sections[-1].title and "no exact truth" in "\n".join(told.caveats()).lower().replace("without exact truth", "no exact truth")
    assert told.figure().data


def test_a_report_takes_all_sections(tmp_path):
    told = explanation_audit(EYE, GEN, FILMS[:40], factors=["lesion"], judge=JUDGE, methods=["IntegratedGradients"])
    sk.Report("Audit", told.sections).save(tmp_path / "audit.html")
    assert "Soundness of exact toy" in (tmp_path / "audit.html").read_text()


def test_an_editor_that_fails_its_gate_is_refused_and_told_what_would_mend_it():
    with pytest.raises(sk.AbilityError, match="fails its gate for every factor.*lesion.*longer training"):
        explanation_audit(EYE, WRONG, FILMS, factors=["lesion"], judge=JUDGE)


def test_a_factor_that_fails_is_not_assessed_beside_those_that_pass():
    told = explanation_audit(EYE, GEN, FILMS, factors=["lesion", "age"], judge=JUDGE, methods=["IntegratedGradients"])
    left = told.rows[told.rows["factor"] == "age"]
    assert left["verdict"].item() == "not assessed: no judge reads it as a share" and np.isnan(left["effect"].item())
    assert "unsound edit" in "\n".join(told.caveats()) and told.uses() == ["lesion"]


@pytest.mark.parametrize(("fault", "gate"), [("read as asked", sk.Gate(effectiveness=1.0)), ("raw round trip", sk.Gate(composition_raw=1e-9))])
def test_the_gate_says_what_was_missed(fault, gate):
    with pytest.raises(sk.AbilityError, match=fault):
        explanation_audit(EYE, WRONG, FILMS, factors=["lesion"], judge=JUDGE, gate=gate)


def test_an_impossible_gate_is_refused():
    with pytest.raises(sk.FitError, match="at most 1"):
        sk.Gate(r2_delta=1.1)


def test_patients_whom_the_classifier_learnt_from_are_refused():
    seen = sk.Predictor(EYE.module, EYE.schema, EYE.space, frozenset(FILMS.table["patient_id"][:3]))
    with pytest.raises(sk.LeakageError):
        explanation_audit(seen, GEN, FILMS, judge=JUDGE)


def test_factors_are_set_to_their_levels_or_to_the_patients_quantiles():
    values = both_ways(SCHEMA, FILMS, None, but="sex")
    assert values["lesion"] == ("absent", "present") and set(values) == {"lesion", "age"}
    low, high = values["age"]
    assert (FILMS.table["age"] < low).mean() == pytest.approx(0.1, abs=0.02) and (FILMS.table["age"] > high).mean() == pytest.approx(0.1, abs=0.02)
    assert edits_of({"lesion": ("absent", "present")}) == [{"lesion": "absent"}, {"lesion": "present"}]


def test_inverted_images_are_edited_as_one_by_one():
    start = inverted(GEN, FILMS[:10])
    for level in ("absent", "present"):
        again, once = start.edit({"lesion": level}), GEN.edit(FILMS[:10], {"lesion": level})
        assert np.array_equal(again.images.raw(), once.images.raw()) and again.table.equals(once.table)
    held = start.under(FILMS[:10].table)
    assert torch.equal(held, FILMS[:10].images.tensor())
