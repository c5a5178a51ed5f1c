"""A reader study clicked and typed through in a real JupyterLab by a script whose answers are known."""
import time

import pytest
from test_whatif_in_lab import notebook, run_cell

import synthkit as sk
from synthkit.core.intervals import wilson

COUNT = 10
CELL = f"""
import synthkit as sk
chest = sk.ChestPhantom(64)
study = sk.ReaderStudy(real=chest.cohort({COUNT}, seed=1), fake=chest.cohort({COUNT}, seed=2), repeats=.1, seed=3)
sk.read(study, reader="script", log="log.jsonl")
"""


@pytest.mark.slow
def test_known_answers_give_the_known_analysis(lab, browser, tmp_path):
    address, folder = lab
    chest = sk.ChestPhantom(64)
    study = sk.ReaderStudy(real=chest.cohort(COUNT, seed=1), fake=chest.cohort(COUNT, seed=2), repeats=0.1, seed=3)
    (folder / "reader.ipynb").write_text(notebook(CELL))
    page, outside, errors = browser.new_page(viewport={"width": 1200, "height": 1000}), [], []
    page.on("request", lambda request: outside.append(request.url) if request.url.startswith("http") and "127.0.0.1" not in request.url else None)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/lab/tree/reader.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    time.sleep(4)
    run_cell(page, 0)
    box = page.locator(".synthkit-reader")
    box.wait_for(timeout=120_000)
    box.click(position={"x": 5, "y": 5})
    # Wrong on every fourth trial, and with little confidence there; every third answer is a click, the others are keys.
    for trial in study.trials:
        wrong = trial.number % 4 == 3
        choice = (3 if trial.truth == 0 else 2) if wrong else 5 * trial.truth
        page.wait_for_function(f"() => document.querySelector('.synthkit-reader .s').innerText.startsWith('{trial.number} of')", timeout=30_000)
        page.wait_for_function("() => document.querySelector('.synthkit-reader img').complete", timeout=30_000)
        time.sleep(0.1)
        if trial.number == 4:
            box.screenshot(path=tmp_path / "reader.png")
        if trial.number % 3 == 0:
            box.get_by_role("button").nth(choice).click()
        else:
            page.keyboard.press(str(choice + 1))
    page.get_by_text("Finished. Thank you.").wait_for(timeout=30_000)
    found = study.analyse(folder / "log.jsonl").frame().set_index(["measure", "reader"])
    firsts = [trial for trial in study.trials if trial.repeat_of < 0]
    right = sum(trial.number % 4 != 3 for trial in firsts)
    assert found.loc[("right answers", "script")].tolist() == [right / len(firsts), *wilson(right, len(firsts)), len(firsts)]
    assert 0.05 < found.loc[("median time (s)", "script"), "value"] < 20
    assert outside == [] and errors == []
