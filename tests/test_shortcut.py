"""The verdict on a shortcut, where the classifier's reliance is known by construction."""
import numpy as np
import pytest
import torch
from toys import SCHEMA, Bright, exact_generator, toy_cohort

import synthkit as sk
from synthkit.explanation.effects import DOES_NOT, UNDECIDED, USES, decided
from synthkit.explanation.shortcut import shortcut

COHORT = toy_cohort(120, seed=8)
GEN = exact_generator(COHORT)


def reader(slope: float) -> sk.Predictor:
    return sk.Predictor.of(Bright(slope), SCHEMA["sex"], COHORT)


@pytest.mark.parametrize(
    ("low", "high", "patients", "verdict"),
    [
        (0.06, 0.2, 100, USES), (-0.3, -0.06, 100, USES), (-0.04, 0.05, 100, DOES_NOT), (0.01, 0.04, 100, DOES_NOT), (0.04, 0.2, 100, UNDECIDED),
        (-0.2, 0.2, 100, UNDECIDED), (-0.01, 0.01, 72, DOES_NOT), (-0.01, 0.01, 71, UNDECIDED), (0.06, 0.2, 10, USES),
    ],
)  # fmt: skip
def test_three_answers(low, high, patients, verdict):
    assert decided(low, high, 0.05, patients) == verdict


def test_a_classifier_that_lives_on_the_shortcut_is_found_with_the_right_size():
    told = shortcut(reader(4.0), GEN, COHORT, factor="lesion", control=reader(0.0), seed=0)
    assert told.verdict == USES and told.rows.set_index("classifier").loc["control", "verdict"] == DOES_NOT
    images = COHORT.images.tensor() - torch.tensor(np.where(COHORT.table["lesion"] == "present", 0.5, -0.5), dtype=torch.float32).reshape(-1, 1, 1, 1)
    bright, dark = (((images + shift).clamp(-1, 1).flatten(1).mean(1) * 4).sigmoid().mean() for shift in (0.5, -0.5))
    row = told.rows.set_index("classifier").loc["in question"]
    assert row["effect"] == pytest.approx(float(bright - dark), abs=0.01) and row["low"] < row["effect"] < row["high"] and row["n"] == 120
    assert told.figure().data and "undecided" not in "\n".join(told.caveats())


def test_the_levels_may_be_turned_round():
    there, back = (shortcut(reader(4.0), GEN, COHORT, factor="lesion", levels=levels) for levels in (("absent", "present"), ("present", "absent")))
    assert there.rows["effect"].item() == pytest.approx(-back.rows["effect"].item()) and back.verdict == USES


def test_few_patients_and_a_missing_control_are_said():
    told = shortcut(reader(0.3), GEN, COHORT[:12], factor="lesion")
    said = "\n".join(told.caveats())
    assert "'does not' the whole interval within it and 72 patients or more" in said
    assert "12 patients, under 100" in said and "No control" in said and "The twins are edits" in said


def test_a_phantom_gives_the_exact_effect():
    chest = sk.ChestPhantom(size=32)
    patients = chest.cohort(20, seed=4)

    class Corner(Bright):
        """Looks at the corner of the marker alone."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x[:, :, :8, :8])

    clf = sk.Predictor.of(Corner(6.0), patients.schema["effusion"], patients)
    told = shortcut(clf, None, patients, factor="marker", truth=chest)
    shown = [clf.predict(chest.counterfactual(patients, {"marker": level}))["p_effusion_present"].to_numpy() for level in ("absent", "present")]
    assert told.rows["effect"].item() == pytest.approx(float((shown[1] - shown[0]).mean())) and told.rows["effect"].item() > 0.02
    assert told.rows["twins"].tolist() == ["exact"] and "The twins are edits" not in "\n".join(told.caveats())


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"factor": "sex"}, sk.SchemaError, "sex is what the classifier predicts"),
        ({"factor": "ward"}, sk.SchemaError, "unknown factor 'ward'"),
        ({"factor": "lesoin", "patients": COHORT[:5]}, sk.SchemaError, "unknown factor 'lesoin', did you mean 'lesion'"),
        ({"factor": "age"}, sk.SchemaError, "levels=None: give the two values that age is to be set to"),
        ({"factor": "age", "levels": (20, 20)}, sk.SchemaError, "give the two values"),
        ({"factor": "age", "levels": (20, 200)}, sk.SchemaError, "200 years is outside"),
        ({"factor": "lesion", "margin": 0}, sk.DataError, "a margin between 0 and 1"),
        ({"factor": "lesion", "editor": None}, sk.DataError, "needs an editor, or truth="),
        ({"factor": "lesion", "patients": COHORT[:5]}, sk.DataError, "5 patients"),
        ({"factor": "lesion", "editor": "gen"}, sk.DataError, "editor: got 'gen'"),
    ],
)
def test_impossible_questions_are_refused(options, kind, message):
    given = {"editor": GEN, "patients": COHORT} | options
    with pytest.raises(kind, match=message):
        shortcut(reader(1.0), given.pop("editor"), given.pop("patients"), **given)
