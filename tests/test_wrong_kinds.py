"""Arguments of a wrong kind: one clear error that names the argument, before any work."""
import numpy as np
import pytest
from toys import SMALL_NET, exact_generator, toy_cohort

import synthkit as sk
from synthkit.core.kinds import require_kind, require_number

DATA = toy_cohort(24)
GEN = exact_generator(DATA)
SAME = {"real": DATA, "valid": toy_cohort(24, prefix="v"), "test": toy_cohort(24, prefix="t"), "rare": {"lesion": "present", "k": 4}, "generator": GEN}
CALLS = {
    "a table is no cohort": (lambda: sk.VAE().fit(DATA.table), "train: got a DataFrame; give a cohort"),
    "a name is no generator": (lambda: sk.Student().fit(DATA, start="chest-phantom-64"), "start: got 'chest-phantom-64'; give a fitted generator"),
    "a seed is no text": (lambda: sk.VAE().fit(DATA, seed="0"), "seed='0': give a whole number"),
    "half a step": (lambda: sk.Steps(2.5), r"Steps\(2.5\): give a whole number of steps"),
    "minutes in words": (lambda: sk.Minutes("1"), r"Minutes\('1'\): give a number of minutes above 0"),
    "a budget with two dots": (lambda: sk.VAE().fit(DATA, budget="1..2 min"), "budget '1..2 min' is not one of"),
    "classes for recipes": (lambda: sk.compare([sk.VAE, sk.GAN], DATA), "compare: got the class VAE, not one of its objects; give a recipe"),
    "a list for a task": (lambda: sk.hybrid(["lesion"], **SAME), "task: got a list; give a recipe"),
    "a table for real": (lambda: sk.hybrid("lesion", **{**SAME, "real": DATA.table}), "real: got a DataFrame; give a cohort"),
    "text for shares": (lambda: sk.hybrid("lesion", **SAME, shares="12"), "shares='1': give numbers above 0"),
    "one number for shares": (lambda: sk.hybrid("lesion", **SAME, shares=1.0), "shares: got 1.0; give a list of numbers"),
    "shares in words": (lambda: sk.hybrid("lesion", **SAME, shares=["1"]), "shares='1': give numbers above 0"),
    "a name for arms": (lambda: sk.hybrid("lesion", **SAME, arms="balanced mix"), "arms: 'balanced mix' is no arm"),
    "no process at all": (lambda: sk.hybrid("lesion", **SAME, jobs=0), "jobs=0: give a number of processes, 1 or more"),
    "a limit in words": (lambda: sk.hybrid("lesion", **SAME, limit="1"), "limit='1': give minutes"),
    "seeds in words": (lambda: sk.hybrid("lesion", **SAME, seeds=["a"]), "seeds='a': give whole numbers"),
    "a budget that says nothing": (lambda: sk.hybrid("lesion", **SAME, fine_tune="ten steps"), "budget 'ten steps' is not one of"),
    "a generator's budget": (lambda: sk.hybrid("lesion", **{**SAME, "generator": sk.VAE()}, generator_budget="x"), "budget 'x' is not one of"),
    "a student to be trained": (lambda: sk.hybrid("lesion", **{**SAME, "generator": sk.Student()}), "Student learns from a Diffusion, not from patients alone"),
    "a recipe to audit": (lambda: sk.audit(sk.Classifier("lesion"), DATA), r"clf: got a Classifier; give a fitted classifier"),
    "a recipe to rebalance": (lambda: sk.rebalance(sk.VAE(), DATA, by="sex"), "gen: got a VAE; give a fitted generator"),
    "a limit of images": (lambda: sk.rebalance(GEN, DATA, by="sex", limit="5"), "limit='5': give a number of synthetic images"),
    "a list of what to do": (lambda: sk.counterfactual(GEN, DATA, ["lesion"]), "do: got a list; give the factors to set"),
    "a factor to do": (lambda: sk.counterfactual(GEN, DATA, "lesion"), "do: got 'lesion'; give the factors to set"),
    "swapped arguments": (lambda: sk.counterfactual(DATA, GEN, {"lesion": "absent"}), "generator: got a Cohort; give a fitted generator"),
    "a learning rate": (lambda: GEN.fine_tune(DATA, learning_rate=-1), "learning_rate=-1: give a number between 0 and 1"),
    "the name of a metric": (lambda: sk.evaluate(real=DATA, fake=DATA, train=SAME["valid"], metrics="KID"), "metrics: 'KID' is no metric"),
    "a cohort to verify": (lambda: sk.verify(DATA), "folder: got a Cohort; give the folder of a saved cohort"),
    "a number to replay": (lambda: sk.replay(3), "cohort: got 3; give a cohort, or the folder"),
    "a folder of originals": (lambda: sk.replay(GEN.sample(DATA.table[:1], seed=0), sources="originals"), "sources: got 'originals'; give the cohort"),
    "a generator beside a list": (lambda: sk.replay(GEN.sample(DATA.table[:1], seed=0), generators=GEN), "generators: got a Generator; give a list"),
    "a recipe to replay with": (lambda: sk.replay(GEN.sample(DATA.table[:1], seed=0), generators=[sk.VAE()]), "generators: got a VAE; give a list"),
    "a row to trace": (lambda: sk.trace(3), "image: got 3; give an exported file, or the image_id"),
    "a table to compare": (lambda: sk.diff(DATA, DATA.table), "after: got a DataFrame; give a cohort"),
    "a list of cohorts to export": (lambda: sk.to_fhir([DATA], "out"), "cohort: got a list; give a synthetic cohort"),
    "a number for a folder": (lambda: sk.to_dicom(GEN.sample(DATA.table[:1], seed=0), 3), "folder: got 3; give a folder"),
    "a cohort for a model": (lambda: sk.model_card(DATA), "generator: got a Cohort; give a fitted generator"),
    "another case": (lambda: GEN.sample(DATA.table[["sex"]].rename(columns={"sex": "Sex"}), seed=0), "unknown factor 'Sex'; did you mean 'sex'"),
}


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
def test_a_wrong_kind_is_named(call, message):
    with pytest.raises(sk.SynthkitError, match=message):
        call()


def test_a_stress_test_names_them_too():
    clf = sk.Classifier("lesion", options={"widths": (8, 16)}).fit(toy_cohort(40, prefix="c"), budget=sk.Steps(2), progress=False)
    for options, message in (({"sweeps": {"age": 0.3}}, "age needs two or more distinct values"), ({"threshold": "a"}, "threshold='a': give a number")):
        with pytest.raises(sk.SynthkitError, match=message):
            sk.stress(clf, GEN, **{"sweeps": {"age": (20, 60)}, **options})
    with pytest.raises(sk.SynthkitError, match="classifier: a fitted predictor is needed, got Classifier"):
        sk.stress(sk.Classifier("lesion"), GEN, sweeps={"age": (20, 60)})


def test_a_student_is_not_fine_tuned():
    train = toy_cohort(40, prefix="s")
    teacher = sk.Diffusion(options=SMALL_NET).fit(train, budget=sk.Steps(1))
    student = sk.Student(options=SMALL_NET).fit(train, start=teacher, budget=sk.Steps(1))
    with pytest.raises(sk.FitError, match="Student learns from a Diffusion and cannot go on by itself"):
        student.fine_tune(train, budget=sk.Steps(1))


def test_numbers_of_numpy_are_numbers():
    require_number("n", np.int64(3), "a number", whole=True)
    require_number("n", np.float32(0.5), "a number")
    require_kind("n", None, (int, type(None)), "a number")
    for bad in (True, "3", None, np.array([1, 2])):
        with pytest.raises(sk.DataError, match="give a number"):
            require_number("n", bad, "a number")
