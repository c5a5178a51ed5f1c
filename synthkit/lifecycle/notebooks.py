"""Notebooks as jobs: found by name, their parameters checked, run from top to bottom, kept with their outputs and as a page."""
import ast
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import Any

from synthkit.core.files import write_atomically
from synthkit.errors import DataError, MissingExtraError, StoreError

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "notebooks", PACKAGE.parent / "notebooks")
PLOTLY = "application/vnd.plotly.v1+json"
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}pre{white-space:pre-wrap}
.input pre,.highlight pre{background:#f4f4f4;padding:.6rem}.prompt{color:#777;font-size:.8rem}img{max-width:100%}table{border-collapse:collapse}
th,td{padding:.15rem .5rem;text-align:right}.output_stderr,.output_error{background:#fdecea}"""


@dataclass(frozen=True)
class Executed:
    """A notebook that was run.

    Args:
        notebook, page: with all outputs, as .ipynb and as HTML.
        seconds: wall clock, the start of the kernel included.
        failed: which cell failed and how; empty where all ran.
    """

    name: str
    notebook: Path
    page: Path
    seconds: float
    failed: str = ""


def notebooks() -> Path:
    """The folder of the notebooks that came with this installation."""
    for place in PLACES:
        if any(place.glob("*.ipynb")):
            return place
    raise DataError("no notebooks came with this installation; install synthkit again from its source folder")


def notebook_named(name: str) -> Path:
    """The file of a notebook: a path, or the name of one that came with synthkit, with or without its number ("04_quality", "quality")."""
    if Path(name).suffix == ".ipynb" and Path(name).is_file():
        return Path(name)
    there = {path.stem: path for path in sorted(notebooks().glob("*.ipynb"))}
    stem = Path(name).stem if name.endswith(".ipynb") else name
    named = [path for one, path in there.items() if stem in (one, one.partition("_")[2])]
    if len(named) != 1:
        raise DataError(f"no notebook is called {name!r}; there are {', '.join(there)}, or give the path of your own")
    return named[0]


def parameters_of(path: Path) -> dict[str, Any]:
    """Names and usual values in the cell that is tagged "parameters"; none where no cell is.

    Raises:
        DataError: no notebook, or a parameters cell that holds more than plain values.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        tagged = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", [])]
        made = [statement for source in tagged for statement in ast.parse(source).body if isinstance(statement, ast.Assign)]
        return {target.id: ast.literal_eval(one.value) for one in made for target in one.targets if isinstance(target, ast.Name)}
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        raise DataError(f"{path} is no notebook whose parameters can be read ({type(error).__name__}: {error})") from error


def read_settings(texts: Iterable[str]) -> dict[str, Any]:
    """ "name=value" lines; a value is read as JSON where it is, else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            raise DataError(f"--set {text!r}: give each parameter once, as name=value")
        try:
            found[name.strip()] = json.loads(value)
        except ValueError:
            found[name.strip()] = value
    return found


def checked(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, each of a name and of the kind that the notebook's parameters have; DataError otherwise."""
    usual = parameters_of(path)
    for name, value in settings.items():
        if name not in usual:
            near = get_close_matches(name, usual, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ";"
            raise DataError(f"{path.stem} has no parameter {name!r}{hint} it has {', '.join(f'{one}={kept!r}' for one, kept in usual.items()) or 'none'}")
        number = isinstance(usual[name], (int, float)) and not isinstance(usual[name], bool)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if number else isinstance(value, type(usual[name]))
        if usual[name] is not None and (not fits or (isinstance(usual[name], int) and isinstance(value, float))):
            raise DataError(f"{path.stem}: {name}={value!r} is no {type(usual[name]).__name__}, as {usual[name]!r} is; give one")
    return dict(settings)


def run_notebook(name: str, *, out: str | Path, settings: Mapping[str, Any] | None = None) -> Executed:
    """Run a notebook from top to bottom in `out` and keep it there with its outputs, and as a page that opens offline.

    Args:
        name: of a notebook that came with synthkit, or the path of another.
        settings: values for its parameters cell, {"budget": "smoke"}.
    Returns:
        Executed; a cell that fails ends the run and is named in `failed`, and what came before it is kept.
    Raises:
        DataError: no such notebook, an unknown parameter, one of another kind, or the folder in which the notebook itself lies.
        MissingExtraError: papermill is not installed.
    """
    path, place = notebook_named(name), Path(out)
    given = checked(path, settings or {})
    if path.resolve() == (place / path.name).resolve():
        raise DataError(f"{path} lies in {place}, where its outputs would be written over it; give another folder with --out")
    try:
        import papermill
    except ImportError as error:
        raise MissingExtraError('papermill is not installed; pip install "synthkit[mlops]"') from error
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{place} cannot be made ({error}); give another folder with --out") from error
    made, failed, begun = place / path.name, "", time.monotonic()
    try:
        kernel = {"kernel_name": "python3", "language": "python"}
        papermill.execute_notebook(str(path), str(made), parameters=given, cwd=str(place), progress_bar=False, **kernel)
    except papermill.PapermillExecutionError as error:
        failed = f"cell {error.exec_count} ({_first_line(error.source)}): {error.ename}: {error.evalue}"
    except RuntimeError as error:  # the kernel died, for want of memory most often
        failed = f"the kernel ({type(error).__name__}: {error})"
    seconds = time.monotonic() - begun
    return Executed(path.stem, made, _page(made), seconds, failed)


def _first_line(source: str) -> str:
    return next((line.strip() for line in source.splitlines() if line.strip()), "")[:80]


def _page(notebook: Path) -> Path:
    """The notebook as HTML beside it: figures stay movable, and nothing is loaded from anywhere."""
    try:
        import nbformat
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise MissingExtraError('nbconvert is not installed; pip install "synthkit[mlops]"') from error
    shown, first = nbformat.read(notebook, as_version=4), True
    for output in (output for cell in shown.cells if cell.cell_type == "code" for output in cell.outputs):
        if PLOTLY in output.get("data", {}):
            output["data"] = {"text/html": _figure(output["data"][PLOTLY], first)}
            first = False
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(shown)
    page = notebook.with_suffix(".html")
    head = f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(notebook.stem)}</title><style>{STYLE}</style></head>'
    write_atomically(page, f"{head}<body>{body}</body></html>".encode())
    return page


def _figure(figure: Mapping[str, Any], first: bool) -> str:
    """A figure as HTML; the first one of a page brings plotly's script along."""
    from plotly.io import to_html

    return to_html({"data": figure.get("data", []), "layout": figure.get("layout", {})}, full_html=False, include_plotlyjs=first, validate=False)
