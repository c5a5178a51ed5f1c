"""Modalities laid over each other: who lacks one is said, values stay, and nothing is resampled unasked."""
from dataclasses import replace

import numpy as np
import pytest
from toys import SCHEMA, toy_cohort

import synthkit as sk
from synthkit.core.missing import missing_channels

SPACING = (2.0, 1.0, 1.0)


def modality(name: str, patients: list[int], *, unit: str = "", seed: int = 0, size: tuple[int, ...] = (4, 8, 8), **columns: object) -> sk.Cohort:
    low, high, rng = (-1000, 2000, np.random.default_rng(seed)) if unit else (0, 65535, np.random.default_rng(seed))
    space = sk.Space(size, (sk.Channel(name, low=low, high=high, unit=unit),), SPACING)
    raw = rng.integers(low, high, (len(patients), 1, *size)).astype(space.dtype)
    ids = {"patient_id": [f"p{n}" for n in patients], "image_id": [f"{name}-{n}" for n in patients]}
    table = toy_cohort(12, seed=3).table.iloc[patients].assign(**{**ids, **columns})
    return sk.Cohort.of(raw, table, schema=SCHEMA, space=space, provenance=sk.Provenance("real", name, licence="CC0"))


MR, CT = modality("a.nii", [0, 1, 2, 3]), modality("b.nii", [2, 3, 4], unit="HU", seed=1)


def test_channels_patients_and_what_each_lacks():
    heads = sk.fuse({"T1": MR, "CT": CT})
    assert [c.name for c in heads.space.channels] == ["T1", "CT"] and heads.space.spacing_mm == SPACING
    assert heads.table["patient_id"].tolist() == ["p0", "p1", "p2", "p3", "p4"]
    assert heads.table["missing_channels"].tolist() == ["CT", "CT", "", "", "T1"]
    assert np.array_equal(heads.images.raw()[2:, 1], CT.images.raw()[:, 0]), "Hounsfield units stay as they are"
    assert np.allclose(heads.images.tensor()[:4, 0], MR.images.tensor()[:, 0], atol=1e-4)
    assert heads.table["sex"].tolist() == toy_cohort(12, seed=3).table["sex"][:5].tolist() and "registered was not checked" in heads.notes[0]
    assert missing_channels(heads[[0, 4]]).tolist() == [[False, True], [True, False]]
    assert {parent.source for parent in heads.provenance.parents} == {"a.nii", "b.nii"}
    whole = sk.fuse({"T1": MR[2:], "CT": CT[:2]})
    assert "missing_channels" not in whole.table and len(whole) == 2


def test_a_record_that_disagrees_is_said():
    heads = sk.fuse({"T1": MR, "CT": modality("b", [2, 3, 4], unit="HU", age=[20.0, 21.0, 22.0])})
    assert "age differs between modalities for 2 of 5; the first one named counts." in heads.notes
    assert heads.table["age"].iloc[2] == MR.table["age"].iloc[2] and heads.table["age"].iloc[4] == 22


def test_fused_cohorts_train_and_are_completed(tmp_path):
    heads = sk.fuse({"T1": modality("a", list(range(10))), "CT": modality("b", list(range(4, 12)), unit="HU")})
    gen = sk.Diffusion(options={"widths": (8, 8), "embedding": 16}, steps=2, batch_size=4).fit(heads, budget=sk.Steps(3))
    full = gen.complete(sk.load(heads.save(tmp_path / "heads")), seed=0)
    assert full.table["drawn_channels"].tolist() == ["CT"] * 4 + [""] * 6 + ["T1"] * 2
    assert np.array_equal(full.images.raw()[4:, 1], heads.images.raw()[4:, 1])


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda: sk.fuse({"T1": MR}), sk.DataError, "got 1; give two or more"), (lambda: sk.fuse([MR, CT]), sk.DataError, "modalities: got a list"),
    (lambda: sk.fuse({"T1": MR, "CT": "ct"}), sk.DataError, r"modalities\['CT'\]: got 'ct'"),
    (lambda: sk.fuse({"T1": MR, "CT": modality("b", [1], size=(4, 4, 4))}), sk.DataError,
     r"T1 and CT lie on different grids \(size \(4, 8, 8\) and \(4, 4, 4\)\): nothing is resampled unasked; load both with the same size="),
    (lambda: sk.fuse({"T1": MR, "CT": replace(CT, images=sk.Cohort.of(CT.images.raw(), CT.table, schema=SCHEMA, provenance=CT.provenance,
                                                                      space=replace(CT.space, spacing_mm=(1, 1, 1))).images)}),
     sk.DataError, r"spacing \(2.0, 1.0, 1.0\) and \(1.0, 1.0, 1.0\)"),
    (lambda: sk.fuse({"T1": MR + MR[:0], "CT": modality("b", [2, 2], unit="HU", image_id=["x", "y"])}), sk.DataError, "CT: patient_id 'p2' has several images"),
    (lambda: sk.fuse({"T1": MR, "CT": CT}, by="study"), sk.SchemaError, "by='study': T1 has no such column"),
    (lambda: sk.fuse({"T1": MR, "both": sk.fuse({"T1": MR, "CT": CT})}), sk.DataError, "both: its images have the channels T1, CT"),
])  # fmt: skip
def test_what_cannot_be_fused_is_refused(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
