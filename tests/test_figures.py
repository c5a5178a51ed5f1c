"""Figures that several results share."""
import numpy as np
import pandas as pd

from synthkit.core.figures import SINGLE, TITLE, interval_plot, planes


def titles(metrics: list[str]) -> list[str]:
    frame = pd.DataFrame([{"metric": name, "group": "all", "value": 0.5, "low": 0.4, "high": 0.6, "floor": 0.1} for name in metrics])
    return [note.text for note in interval_plot(frame, title="t").layout.annotations]


def test_long_titles_side_by_side_are_broken_and_lose_no_word():
    long = "edits read as asked, cardiomegaly → absent"
    many = [long, *"abcde"]
    assert len(many) > SINGLE and len(long) > TITLE
    lines = titles(many)[0].split("<br>")
    assert len(lines) == 2 and max(map(len, lines)) <= TITLE and " ".join(lines) == long
    assert titles([long]) == [long]


def test_three_planes_show_a_marked_corner_where_it_lies():
    volume = np.full((1, 5, 7, 9), -1, np.float32)
    volume[0, 2, 3, 4] = 0  # the middle
    volume[0, 0, 3, 4] = 1  # at the feet
    volume[0, 2, 6, 4] = 0.5  # at the back
    axial, coronal, sagittal = (picture[..., 0] for picture in planes(volume))
    assert axial.shape == coronal.shape == sagittal.shape == (9, 9)
    assert axial[4, 4] == 128 and axial[7, 4] == 191 and axial.max() == 191, "rows run to the back"
    assert coronal[4, 4] == 128 and coronal[6, 4] == 255, "the feet lie below"
    assert sagittal[4, 4] == 128 and sagittal[6, 4] == 255 and sagittal[4, 7] == 191
