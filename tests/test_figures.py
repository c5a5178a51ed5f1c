"""Figures that several results share."""
import pandas as pd

from synthkit.core.figures import SINGLE, TITLE, interval_plot


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
