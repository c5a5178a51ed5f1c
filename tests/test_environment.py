"""environment.yml and pyproject.toml describe one and the same installation."""
import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
CONDA = [line for line in ENVIRONMENT["dependencies"] if isinstance(line, str)]
PIP = [line for part in ENVIRONMENT["dependencies"] if isinstance(part, dict) for line in part["pip"]]
# What a package is called where it is imported.
IMPORTED_AS = {"ipython": "IPython", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn", "pytorch-lightning": "pytorch_lightning"}
# What the product is built on: all of it is asked for and truly used. The lab is not imported, it is started.
BASIS = ("ipywidgets", "torch", "pytorch-lightning", "monai", "diffusers", "captum", "plotly", "itkwidgets", "pydicom")


def imported() -> set[str]:
    """Top-level modules that any file of the package imports."""
    trees = [ast.parse(path.read_text()) for path in (ROOT / "synthkit").rglob("*.py")]
    return {name for tree in trees for node in ast.walk(tree) for name in modules_of(node)}


def modules_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    return [node.module.split(".")[0]] if isinstance(node, ast.ImportFrom) and not node.level else []


def answered_for() -> set[str]:
    """Modules whose absence is met by an `except ImportError`, which says what to install."""
    names = set()
    for path in (ROOT / "synthkit").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Try) and any(handler.type and ast.unparse(handler.type) == "ImportError" for handler in node.handlers):
                names |= {name for statement in node.body for inner in ast.walk(statement) for name in modules_of(inner)}
    return names


def test_both_ask_for_the_same_python():
    (python,) = [line for line in CONDA if re.match(r"python\b", line)]
    assert python.removeprefix("python").strip() == PROJECT["requires-python"]


def test_conda_gives_python_and_pip_and_pip_gives_the_rest():
    assert {re.split(r"[<>=! ]", line)[0] for line in CONDA} == {"python", "pip"} and ENVIRONMENT["name"] == PROJECT["name"]
    assert ENVIRONMENT["channels"] == ["conda-forge"]


def test_the_project_itself_is_installed_with_extras_that_exist():
    (line,) = PIP
    extras = re.fullmatch(r"(?:-e )?\.(?:\[([\w,]+)\])?", line)
    assert extras, f"{line!r} does not install this folder"
    assert set((extras[1] or "").split(",")) - {""} <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)])
def test_every_requirement_is_well_formed_and_has_a_bound(line):
    requirement = Requirement(line)
    assert requirement.specifier and not requirement.url


@pytest.mark.parametrize("name", BASIS)
def test_what_the_product_is_built_on_is_required_and_used(name):
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["itk"]]
    assert name in {Requirement(line).name for line in lines}
    assert name.replace("-", "_") in imported()


@pytest.mark.parametrize(("name", "extra"), [("ipyniivue", None), ("ipywidgets", None), ("itkwidgets", "itk"), ("ngff-zarr", "itk")])
def test_the_viewer_is_required_and_the_one_that_goes_online_is_an_extra_that_may_be_missing(name, extra):
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    others = [line for part in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) if part is not lines for line in part]
    module = name.replace("-", "_")
    assert name in {Requirement(line).name for line in lines} and name not in {Requirement(line).name for line in others}
    assert module in imported() & answered_for() and (ROOT / "synthkit" / "widgets" / "viewer.py").exists()


def test_every_import_is_required():
    given = {IMPORTED_AS.get(n, n.replace("-", "_")) for n in (Requirement(line).name for line in PROJECT["dependencies"])}
    optional = {Requirement(line).name.replace("-", "_") for extra in PROJECT["optional-dependencies"].values() for line in extra}
    # joblib comes with scikit-learn, which cannot work without it.
    assert imported() - set(sys.stdlib_module_names) - {"synthkit", "joblib"} <= given | optional | answered_for()


def test_what_is_missing_is_skipped_here_but_fails_in_ci(need, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    need(True, "nothing")
    with pytest.raises(pytest.skip.Exception, match="a browser is missing"):
        need(False, "a browser")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="in CI nothing may be skipped"):
        need(False, "a browser")


def test_the_command_line_is_where_the_project_says():
    module, name = PROJECT["scripts"]["synthkit"].split(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assigned = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    assert name in assigned | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
