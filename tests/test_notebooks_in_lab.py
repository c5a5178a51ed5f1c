"""Notebooks in a real JupyterLab: every cell runs, pictures render, nothing leaves the machine."""
import json
import shutil
import time
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


@pytest.mark.slow
def test_the_data_notebook_runs_and_renders(lab, browser):
    address, folder = lab
    name = "01_data.ipynb"
    shutil.copy(NOTEBOOKS / name, folder / name)
    page, outside = browser.new_page(viewport={"width": 1400, "height": 1000}), []
    page.on("request", lambda request: outside.append(request.url) if request.url.startswith("http") and "127.0.0.1" not in request.url else None)
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    code_cells = sum(cell["cell_type"] == "code" for cell in json.loads((folder / name).read_text())["cells"])
    page.wait_for_function("() => document.querySelector('#jp-main-statusbar')?.innerText.includes('Idle')", timeout=600_000)
    page.keyboard.press("Control+s")
    deadline = time.time() + 300
    while time.time() < deadline:
        saved = [cell for cell in json.loads((folder / name).read_text())["cells"] if cell["cell_type"] == "code"]
        if all(cell.get("execution_count") for cell in saved):
            break
        page.keyboard.press("Control+s")
        time.sleep(3)
    errors = [out for cell in saved for out in cell["outputs"] if out["output_type"] == "error"]
    assert errors == [] and all(cell["execution_count"] for cell in saved) and len(saved) == code_cells
    assert page.locator(".jp-RenderedHTMLCommon img").count() >= 1
    assert outside == []
