"""The report: one file, everything in it, nothing fetched."""
import re

import numpy as np
import pandas as pd
import pytest

import synthkit as sk

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def films() -> sk.Cohort:
    return sk.ChestPhantom(size=32).cohort(6, seed=3)


def measured() -> sk.Measured:
    rows = pd.DataFrame({"measure": ["AUC for <effusion>"], "value": [0.8], "low": [0.7], "high": [0.9], "n": [40]})
    return sk.Measured("A <script>alert(1)</script> title", rows, ("A caveat & a half",))


def test_everything_is_inside_and_text_is_escaped(films, tmp_path):
    page = sk.Report("Films & scores", [films, measured()]).save(tmp_path / "r.html").read_text()
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', page.split("</script>")[-1])
    assert outside == []
    assert "<script>alert(1)</script>" not in page and "A caveat &amp; a half" in page
    assert page.count("<section") == 2 and "Not a medical device" in page


def test_synthetic_cohorts_are_marked(films):
    assert any("Synthetic" in line for line in films.caveats())
    assert "Synthetic" in films.figure().layout.title.text


def test_a_report_takes_results_only():
    with pytest.raises(sk.DataError, match="got dict"):
        sk.Report("x", [{"a": 1}])


def test_contact_sheet_holds_the_pixels(films, tmp_path):
    from synthkit.core.figures import plane, sheet

    page = sheet([plane(films.images[i]) for i in range(6)], columns=3, gap=2)
    assert page.shape == (2 * 32 + 2, 3 * 32 + 4, 3)
    grey = ((films.images[4][0].numpy() + 1) / 2 * 255 + 0.5).astype(np.uint8)
    assert np.array_equal(page[34:, 34:66, 0], grey)


@pytest.mark.slow
def test_the_page_opens_offline_without_console_errors(films, tmp_path, browser):
    path = sk.Report("Offline", [films, measured()]).save(tmp_path / "r.html")
    page, errors, requests = browser.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert page.locator(".js-plotly-plot").count() == 2
    assert errors == [] and requests == []


def test_a_report_of_nothing_is_refused():
    with pytest.raises(sk.DataError, match="a report of no results"):
        sk.Report("Empty", [])
