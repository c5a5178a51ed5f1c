"""Notebooks: how they are written, and that each runs from top to bottom."""
import ast
import os
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_LINES = 12

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path, *, without: str = "") -> list[tuple[int, nbformat.NotebookNode]]:
    """(number, cell) of the code cells that do not have this tag."""
    return [(n, cell) for n, cell in enumerate(read(path).cells) if cell.cell_type == "code" and without not in cell.metadata.get("tags", [])]


def parsed(cell: nbformat.NotebookNode) -> ast.Module:
    """The cell as Python, without the lines that only IPython understands."""
    return ast.parse("\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith(("%", "!"))))


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_a_notebook_is_valid_and_holds_no_output(path):
    notebook = read(path)
    nbformat.validate(notebook)
    kept = [n for n, cell in code_cells(path) if cell.outputs or cell.execution_count is not None]
    assert not kept, f"cells {kept} hold outputs, which may show patients: strip them"
    assert "widgets" not in notebook.metadata and not any(cell.get("attachments") for cell in notebook.cells)


@each
def test_it_opens_with_a_title_and_a_question(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ") and "?" in first.source


@each
def test_cells_are_short(path):
    long = {n: len(cell.source.splitlines()) for n, cell in code_cells(path) if len(cell.source.splitlines()) > MOST_LINES}
    assert not long, f"cells with more than {MOST_LINES} lines: {long}"


@each
def test_helpers_live_in_the_package_not_in_the_notebook(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [n for n, cell in code_cells(path, without="exercise") if any(isinstance(node, kinds) for node in ast.walk(parsed(cell)))]
    assert not found, f"cells {found} define a function or class outside an exercise"


@each
def test_one_cell_of_plain_literals_holds_the_parameters(path):
    tagged = [cell for _, cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    for statement in parsed(tagged[0]).body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)


@each
def test_a_check_that_could_fail_is_made(path):
    checks = [node.test for _, cell in code_cells(path) for node in ast.walk(parsed(cell)) if isinstance(node, ast.Assert)]
    assert checks and not any(isinstance(test, ast.Constant) for test in checks)


@pytest.mark.slow
@each
def test_it_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    import papermill

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    (tagged,) = [cell for _, cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    names = {target.id for statement in parsed(tagged).body for target in statement.targets}
    parameters = {"budget": "smoke"} if "budget" in names else {}
    papermill.execute_notebook(str(path), str(tmp_path / path.name), parameters=parameters, cwd=str(tmp_path), kernel_name="python3", progress_bar=False)
    done = read(tmp_path / path.name)
    assert [cell.execution_count for cell in done.cells if cell.cell_type == "code"].count(None) == 0
