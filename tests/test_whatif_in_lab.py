"""The what-if view in a real JupyterLab: a slider is moved by keyboard, and twin, chance, attribution and curve follow."""
import json
import time

import pytest

CELL = """
import torch, synthkit as sk
torch.set_num_threads(2)
chest = sk.ChestPhantom(64)
film = chest.cohort(32, seed=90).where("sex == 'F' and effusion == 'absent'")[0]

class Lungs(torch.nn.Module):
    "Calls films ill whose lower half is bright."
    def forward(self, x):
        bright = 30 * (x[:, :, 32:, 10:54].flatten(1).mean(1) - LEVEL)
        return torch.stack([torch.zeros_like(bright), bright], 1)

LEVEL = float(film.images[0][:, 32:, 10:54].mean()) + 0.02
clf = sk.Predictor.of(Lungs(), film.schema["effusion"], film)
view = sk.whatif(sk.Generator.pretrained("chest-phantom-64"), clf, film)
view
"""
KEEP = "print(len(view.kept), view.kept[0].title)"
MARK = "() => document.querySelector('.jp-OutputArea figure:nth-of-type({}) figcaption')?.innerText"


def notebook(*cells: str) -> str:
    made = [{"cell_type": "code", "id": f"c{i}", "metadata": {}, "source": source, "outputs": [], "execution_count": None} for i, source in enumerate(cells)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": kernel, "cells": made})


def run_cell(page, number: int) -> None:
    page.locator(".jp-Notebook .jp-Cell").nth(number).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")


@pytest.mark.slow
def test_a_slider_moved_by_keyboard_changes_everything_that_hangs_on_it(lab, browser, tmp_path):
    address, folder = lab
    (folder / "whatif.ipynb").write_text(notebook(CELL, KEEP))
    page, outside, errors = browser.new_page(viewport={"width": 1400, "height": 1100}), [], []
    page.on("request", lambda request: outside.append(request.url) if request.url.startswith("http") and "127.0.0.1" not in request.url else None)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/lab/tree/whatif.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    time.sleep(4)
    run_cell(page, 0)
    page.wait_for_selector(".jp-OutputArea figure img", timeout=180_000)
    page.wait_for_function("() => document.querySelectorAll('.jp-OutputArea .scatterlayer .trace').length >= 3", timeout=60_000)
    pictures = page.locator(".jp-OutputArea figure img")
    assert pictures.count() == 4
    before = [pictures.nth(i).get_attribute("src") for i in range(4)]
    captions = [page.evaluate(MARK.format(i)) for i in (2, 3, 4)]
    twin = page.locator(".scatterlayer .trace path.point").last.get_attribute("transform")
    handle = page.locator(".widget-hslider", has_text="age (years)").locator(".noUi-handle").first
    handle.focus()
    delays = []
    for key in ["ArrowRight"] * 12 + ["PageUp"] * 3:
        seen, started = pictures.nth(1).get_attribute("src"), time.perf_counter()
        page.keyboard.press(key)
        page.wait_for_function("(seen) => document.querySelectorAll('.jp-OutputArea figure img')[1].src !== seen", arg=seen, timeout=30_000, polling=5)
        delays.append(time.perf_counter() - started)
    moved = "(seen) => [...document.querySelectorAll('.scatterlayer .trace path.point')].at(-1)?.getAttribute('transform') !== seen"
    page.wait_for_function(moved, arg=twin, timeout=60_000)
    after = [pictures.nth(i).get_attribute("src") for i in range(4)]
    assert after[0] == before[0] and all(a != b for a, b in zip(after[1:], before[1:]))
    assert [page.evaluate(MARK.format(i)) for i in (2, 3, 4)] != captions
    page.locator(".jp-OutputArea").first.screenshot(path=tmp_path / "whatif.png")
    page.get_by_role("button", name="Keep for the report").click()
    page.get_by_text("Kept: ").wait_for(timeout=60_000)
    run_cell(page, 1)
    page.get_by_text("1 Why P(effusion = present) changes under age").wait_for(timeout=30_000)
    print(f"move to picture, median of {len(delays)}: {1000 * sorted(delays)[len(delays) // 2]:.0f} ms")
    assert outside == [] and errors == []
