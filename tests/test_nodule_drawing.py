"""Drawn nodules: the shadow of a ball where it was asked for, and every other stored value as it was."""
import numpy as np
import pytest
from toys import toy_cohort

import synthkit as sk
from synthkit.explanation.nodule import draw_nodule

COHORT = toy_cohort(5, size=(24, 20), high=255)
DO = {"lesion": "present", "diameter": 6.0}


def test_the_shadow_is_the_path_through_a_ball_and_the_rest_is_untouched():
    told = draw_nodule(COHORT, DO, at=(10, 8), radius=3, contrast=0.1)
    before, after = COHORT.images.raw().astype(int), told.edited.images.raw().astype(int)
    row, column = np.mgrid[:24, :20]
    away = np.hypot(row - 10, column - 8)
    assert after.dtype == before.dtype and (after == before)[:, 0, away > 3.8].all() and told.edited.images.raw().dtype == np.uint8
    expected = 0.1 * 255 * np.sqrt((1 - (away / 3) ** 2).clip(min=0))
    shown = np.median((after - before)[:, 0], 0)  # a bright pixel may saturate
    assert np.abs(shown - expected)[away < 2.2].max() < 1.6 and shown[10, 8] >= 24
    assert (told.inside == (away < 3.8)).mean() > 0.97 and told.edited.table["diameter"].eq(6).all()
    assert told.edited.provenance.kind == "edited" and told.edited.table["source_id"].tolist() == COHORT.table["image_id"].tolist()
    assert told.frame()["round_trip"].eq(0).all() and "bit for bit" in " ".join(told.caveats()) and told.figure().data is not None


def test_every_image_has_its_own_centre_and_what_was_drawn_can_be_taken_away():
    centres = [(4 + 3 * i, 10) for i in range(5)]
    told = draw_nodule(COHORT, {"lesion": "present"}, at=centres, radius=2.5, contrast=0.1)
    assert [int(np.abs(d[0]).argmax()) // 20 for d in told.delta.numpy()] == [row for row, _ in centres]
    back = draw_nodule(told.edited, {"lesion": "absent"}, at=centres, radius=2.5, contrast=-0.1)
    assert np.abs(back.edited.images.raw().astype(int) - COHORT.images.raw()).max() <= 1
    assert not set(told.edited.table["image_id"]) & set(back.edited.table["image_id"])


def test_in_a_volume_the_ball_itself_is_added():
    volumes = toy_cohort(2, size=(12, 12, 12))
    told = draw_nodule(volumes, {"lesion": "present"}, at=(6, 5, 4), radius=3, contrast=0.2)
    assert abs(float(told.delta[0].sum()) / 0.4 - 4 / 3 * np.pi * 27) < 6 and told.delta[0, 0, 6, 5, 4] == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"at": (10,)}, sk.DataError, "one centre of 2 numbers"),
        ({"at": (10, 20)}, sk.DataError, "rows and columns go from 0 to 23, 19"),
        ({"radius": 0.2}, sk.DataError, "half a pixel or more"),
        ({"contrast": 0.0}, sk.DataError, "is not 0"),
        ({"contrast": "strong"}, sk.DataError, "contrast='strong': give a share"),
        ({"do": {"lesion": "absent"}}, sk.DataError, "lesion → absent, but contrast=0.07 adds a shadow; a negative contrast takes one away"),
        ({"do": {"mass": "present"}}, sk.SchemaError, "mass"),
        ({"do": "present"}, sk.DataError, "do: got 'present'"),
        ({"cohort": COHORT[:0]}, sk.DataError, "the cohort is empty"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        draw_nodule(**({"cohort": COHORT, "do": DO, "at": (10, 8), "radius": 3} | wrong))
