"""Record and image drawn together."""
import numpy as np
import pytest
from toys import SCHEMA, exact_generator, toy_cohort, toy_table

import synthkit as sk

COHORT = toy_cohort(24, seed=2)
GEN = exact_generator(COHORT)
RECORD = sk.Schema((*SCHEMA.factors, sk.Quantity("score", 0, 40, "points")))


def record_of(table, seed: int = 0):
    """A score that falls with a lesion: written in the record, and in no image."""
    noise = np.random.default_rng(seed).normal(0, 1, len(table))
    return table.assign(score=30 - 10 * table["lesion"].eq("present") + noise)


GRAPH = sk.CausalGraph(RECORD, {"lesion": ["age"], "diameter": ["lesion"], "score": ["lesion"], "sex": [], "age": []})
SCM = GRAPH.fit(record_of(toy_table(400, seed=1)))


def test_the_image_shows_what_the_record_says_and_the_record_keeps_what_no_image_shows():
    patients = sk.Joint(SCM, GEN).sample(60, seed=0)
    ill, bright = patients.table["lesion"].eq("present").to_numpy(), patients.images.tensor().flatten(1).mean(1).numpy()
    assert (bright[ill] > 0.1).all() and (bright[~ill] < -0.1).all() and 5 < ill.sum() < 55
    assert patients.schema.names == RECORD.names and patients.provenance.kind == "synthetic" and len(set(patients.table["patient_id"])) == 60
    assert patients.table["score"][ill].mean() < patients.table["score"][~ill].mean() - 8
    assert patients.table["diameter"].notna().equals(patients.table["lesion"].eq("present"))


def test_a_patient_depends_on_seed_and_number_alone():
    joint = sk.Joint(SCM, GEN)
    many, few, other = joint.sample(12, seed=3), joint.sample(5, seed=3), joint.sample(12, seed=4)
    assert np.array_equal(many.images.raw()[:5], few.images.raw()) and many.table["score"][:5].tolist() == few.table["score"].tolist()
    assert not np.array_equal(many.images.raw(), other.images.raw())


def test_what_is_set_is_followed_by_its_effects_alone():
    joint = sk.Joint(SCM, GEN)
    free, ill = joint.sample(40, seed=0), joint.sample(40, seed=0, do={"lesion": "present"})
    assert ill.table["lesion"].eq("present").all() and ill.table["age"].tolist() == free.table["age"].tolist()
    assert ill.table["score"].mean() == pytest.approx(20, abs=1) and ill.images.tensor().flatten(1).mean(1).min() > 0.1
    assert ill.provenance.lines() and "present" in str(ill.provenance.to_json())


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda: sk.Joint("scm", GEN), sk.DataError, "scm: got 'scm'"), (lambda: sk.Joint(SCM, COHORT), sk.DataError, "generator: got a Cohort"),
    (lambda: sk.Joint(sk.CausalGraph(RECORD.only(("score",)), {"score": []}).fit(record_of(toy_table(50))), GEN), sk.SchemaError, "no factor is in both"),
    (lambda: sk.Joint(SCM, GEN).sample(0, seed=0), sk.SchemaError, "count: 0"),
    (lambda: sk.Joint(SCM, GEN).sample(3, seed=0, do={"ward": 1}), sk.SchemaError, "ward"),
])  # fmt: skip
def test_what_cannot_be_joined_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
