"""The direction of the imports, and what no file may contain."""
import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "synthkit"
ORDER = (
    {"errors"}, {"core"}, {"causal"}, {"phantoms", "nets"}, {"data"}, {"training", "export"}, {"tasks"}, {"metrics"}, {"generators"},
    {"explanation", "evidence"}, {"studies", "scale"}, {"lifecycle"}, {"report"}, {"widgets"},
    {"quickstart", "assessment", "lab", "doctor"}, {"commands"}, {"__main__"},
)  # fmt: skip
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts}
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = ("torch", "monai", "pytorch_lightning", "lightning", "captum", "diffusers", "pandas")
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "shelve", "marshal"}


def part_of(path: Path) -> str:
    """The layer a file belongs to: its package under synthkit, or its own name there."""
    inside = path.relative_to(PACKAGE).parts
    return inside[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, those inside functions and under TYPE_CHECKING included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            # `from synthkit import data` names the part in its second half.
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def wrong_imports(source: str, part: str) -> list[str]:
    """What a file of this part imports although it stands no lower."""
    found = []
    for line, module in imports(ast.parse(source)):
        pieces = module.split(".")
        if pieces[0] != "synthkit" or len(pieces) < 2 or pieces[1] == part:
            continue
        if pieces[1] not in LEVEL or LEVEL[pieces[1]] >= LEVEL[part]:
            found.append(f"line {line}: {part} imports {module}")
    return found


def all_trees() -> list[tuple[Path, ast.AST]]:
    return [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in FILES]


def test_every_part_has_its_place():
    assert {part_of(path) for path in FILES} - {"__init__"} <= set(LEVEL)


def test_each_layer_imports_only_from_the_layers_before_it():
    checked = [path for path in FILES if path != PACKAGE / "__init__.py"]
    wrong = [f"{path.relative_to(ROOT)}, {text}" for path in checked for text in wrong_imports(path.read_text(encoding="utf-8"), part_of(path))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("core", "from synthkit.generators.base import Recipe"),
        ("nets", "def f():\n    import synthkit.phantoms.chest"),
        ("studies", "from synthkit import scale"),
        ("core", "from synthkit import Cohort"),
    ],
)
def test_a_wrong_import_is_seen(part, source):
    assert wrong_imports(source, part)


def test_imports_are_absolute():
    assert not [(path.name, node.lineno) for path, tree in all_trees() for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]


def test_no_drawer_files():
    assert not [path for path in FILES if path.stem in {"utils", "util", "common", "helpers", "helper", "misc"}]


def test_nothing_is_pickled():
    wrong = []
    for path, tree in all_trees():
        wrong += [f"{path}:{line} imports {name}" for line, name in imports(tree) if name.split(".")[0] in PICKLES]
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {"torch.load", "torch.save", "joblib.load"}:
                wrong.append(f"{path}:{node.lineno} uses {ast.unparse(node)}")
            if isinstance(node, ast.keyword) and (node.arg, ast.unparse(node.value)) in {("allow_pickle", "True"), ("weights_only", "False")}:
                wrong.append(f"{path}:{node.lineno} says {node.arg}={ast.unparse(node.value)}")
    assert not wrong, "\n".join(wrong)


def test_lightning_stays_in_training():
    users = {part_of(path) for path, tree in all_trees() for _, name in imports(tree) if name.split(".")[0] in {"pytorch_lightning", "lightning"}}
    assert users == {"training"}


def test_no_seed_or_path_is_set_for_the_whole_process():
    banned = {"np.random.seed", "numpy.random.seed", "sys.path.insert", "sys.path.append"}
    assert not [f"{p}:{n.lineno}" for p, tree in all_trees() for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in banned]


@pytest.mark.parametrize("command", ["import synthkit", "import synthkit; dir(synthkit)", "help"])
def test_importing_stays_light(command, tmp_path):
    report = f"import sys; sys.stderr.write('HEAVY:' + ','.join(m for m in {HEAVY!r} if m in sys.modules))"
    if command == "help":
        command = "import runpy, sys, atexit; sys.argv = ['synthkit', '--help']"
        report = f"atexit.register(lambda: exec({report!r})); runpy.run_module('synthkit', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", f"{command}\n{report}"], env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.rsplit("HEAVY:", 1)[1] == ""
