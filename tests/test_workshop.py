"""Notebooks as jobs, a workshop in a folder, and the container for developing."""
import json
import re
import tomllib
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

import synthkit as sk
from synthkit.lifecycle.notebooks import checked, notebook_named, notebooks, parameters_of, read_settings, run_notebook
from synthkit.lifecycle.workshop import pack as packing
from synthkit.lifecycle.workshop.page import Lesson, Wheelhouse, page, told_by
from synthkit.lifecycle.workshop.selftest import _checksums
from synthkit.lifecycle.workshop.wheels import needs, platform_name, source_folder

ROOT = Path(__file__).parents[1]
FIGURE = "import plotly.graph_objects as go\ngo.Figure(go.Scatter(y=[count, 2]))"


def written(path: Path, *cells: str, parameters: str = 'count = 3\nname = "a"\nshare = 0.5\nfull = False') -> Path:
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A small one\n\nDoes it run?"), first, *map(nbformat.v4.new_code_cell, cells)])
    nbformat.write(book, path)
    return path


def invoked(*words: str):
    from synthkit.__main__ import app

    return CliRunner().invoke(app, list(words))


def test_a_notebook_is_found_by_name_number_or_path(tmp_path):
    names = [path.stem for path in sorted(notebooks().glob("*.ipynb"))]
    assert notebook_named("00_start") == notebook_named("start") == notebook_named("00_start.ipynb") == notebooks() / "00_start.ipynb"
    own = written(tmp_path / "own.ipynb")
    assert notebook_named(str(own)) == own
    with pytest.raises(sk.DataError, match=f"no notebook is called 'nonesuch'; there are {', '.join(names)}"):
        notebook_named("nonesuch")


def test_every_notebook_has_parameters_that_can_be_set():
    for path in notebooks().glob("*.ipynb"):
        usual = parameters_of(path)
        assert usual and checked(path, usual) == usual


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["coutn=4"], "has no parameter 'coutn', did you mean 'count'"), (["weight=4"], "it has count=3, name='a', share=0.5, full=False"),
        (["count=many"], "count='many' is no int"), (["count=4.5"], "count=4.5 is no int"), (["count=true"], "is no int"), (["name=4"], "name=4 is no str"),
        (["full=1"], "full=1 is no bool"), (["count"], "give each parameter once, as name=value"), (["count=1", "count=2"], "once"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_unknown_or_of_another_kind_is_refused_before_anything_runs(tmp_path, texts, message):
    with pytest.raises(sk.DataError, match=message):
        run_notebook(str(written(tmp_path / "own.ipynb")), out=tmp_path / "out", settings=read_settings(texts))
    assert not (tmp_path / "out").exists()


def test_values_are_read_as_json_where_they_are():
    path_kinds = read_settings(["a=4", "b=0.5", "c=true", "d=text", 'e=["F", "M"]', "f=x=y"])
    assert path_kinds == {"a": 4, "b": 0.5, "c": True, "d": "text", "e": ["F", "M"], "f": "x=y"}


def test_a_notebook_that_is_none_is_named(tmp_path):
    (tmp_path / "own.ipynb").write_text("{}")
    with pytest.raises(sk.DataError, match="own.ipynb is no notebook"):
        run_notebook(str(tmp_path / "own.ipynb"), out=tmp_path / "out")


def test_a_job_keeps_outputs_and_a_page_and_names_the_cell_that_fails(tmp_path):
    source = written(tmp_path / "own.ipynb", "print('count is', count)", FIGURE, "1 / (count - 7)", "print('never')")
    good = invoked("notebook", str(source), "--set", "count=8", "--out", str(tmp_path / "good"))
    assert good.exit_code == 0, good.output
    text = (tmp_path / "good" / "own.html").read_text()
    assert "count is 8" in text and "never" in text and text.count("Plotly.newPlot(") >= 1
    assert not re.findall(r"<script[^>]*\ssrc=|<link[^>]*href=.http", text), "the page must open without a network"
    bad = invoked("notebook", str(source), "--set", "count=7", "--out", str(tmp_path / "bad"))
    assert bad.exit_code == 1 and "FAILED in cell" in bad.output and "1 / (count - 7)" in bad.output and "ZeroDivisionError" in bad.output
    kept = (tmp_path / "bad" / "own.html").read_text()
    assert "count is 7" in kept and ">never" not in kept
    assert nbformat.read(source, as_version=4).cells[2].outputs == [], "the notebook itself stays as it was"


def test_a_notebook_is_not_written_over_by_its_own_outputs(tmp_path):
    before = written(tmp_path / "own.ipynb").read_bytes()
    with pytest.raises(sk.DataError, match="would be written over it"):
        run_notebook(str(tmp_path / "own.ipynb"), out=tmp_path)
    assert (tmp_path / "own.ipynb").read_bytes() == before


WHEELS = ("synthkit-0.1.0-py3-none-any.whl", "two-2-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl", "odd-1-cp311-cp311-manylinux_2_34_x86_64.whl")


@pytest.fixture
def stub_pip(monkeypatch):
    """In place of pip, which needs a network: it leaves named files."""

    def build(source, folder, *, extras, options):
        folder.mkdir(parents=True, exist_ok=True)
        for name in WHEELS:
            (folder / name).write_bytes(name.encode())
        return sorted(WHEELS)

    monkeypatch.setattr(packing, "build", build)
    monkeypatch.setattr(packing, "try_install", lambda folder, *, extras: {"install": 61.2, "selftest": 9.9, "megabytes": 2345.6})


def test_a_pack_is_whole_and_says_for_whom_it_is(stub_pip, tmp_path):
    done = packing.pack(tmp_path / "pack", extras=["mlops"], times=False)
    text = done.page.read_text()
    assert platform_name() in text and "synthkit[mlops]" in text and "glibc 2.34 or newer" in text
    assert "in 61 s, where it takes 2,346 MB" in text and "passed in 10 s" in text and "<code>chest-phantom-64-vae</code>" in text
    assert "Not measured: packed with --no-times." in text and all(path.name in text for path in notebooks().glob("*.ipynb"))
    lines = (tmp_path / "pack" / "SHA256SUMS").read_text().splitlines()
    there = {path.relative_to(tmp_path / "pack").as_posix() for path in (tmp_path / "pack").rglob("*") if path.is_file()} - {"SHA256SUMS"}
    assert {line.split("  ")[1] for line in lines} == there and done.files == len(there)
    assert _checksums(tmp_path / "pack") == f"{len(lines)} files are as they were packed"
    (tmp_path / "pack" / "notebooks" / "00_start.ipynb").write_text("damaged")
    with pytest.raises(sk.DataError, match=f"1 of {len(lines)} files are missing or damaged .first: 00_start.ipynb"):
        _checksums(tmp_path / "pack")
    other = tmp_path / "pack" / "wheelhouse" / "win-amd64-py3.12"
    other.mkdir()
    (other / "wheels.txt").write_text("extras: none\nnot installed on trial\n")
    text = packing.pack(tmp_path / "pack", times=False).page.read_text()
    assert "win-amd64-py3.12" in text and "Activate.ps1" in text and "py -3.12 -m venv" in text and ". synthkit-env/bin/activate" in text


def test_times_are_those_of_the_notebooks_that_ran(stub_pip, tmp_path, monkeypatch):
    books = tmp_path / "books"
    books.mkdir()
    written(books / "00_good.ipynb", "print(count)")
    written(books / "01_bad.ipynb", "raise KeyError('gone')")
    monkeypatch.setattr(packing, "notebooks", lambda: books)
    done = packing.pack(tmp_path / "pack", install=False)
    assert len(done.failed) == 1 and "KeyError" in done.failed[0] and "by running each notebook once" in done.page.read_text()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [({"extras": ["magic"]}, sk.DataError, "no extra is called 'magic'; there are .*mlops"), ({"source": "tests"}, sk.DataError, "tests is not the source")],
)
def test_what_cannot_be_packed_is_refused_first(stub_pip, tmp_path, given, error, message):
    with pytest.raises(error, match=message):
        packing.pack(tmp_path / "pack", times=False, **given)
    assert not (tmp_path / "pack").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").touch()
    with pytest.raises(sk.StoreError, match="holds other files .first: thesis.doc"):
        packing.pack(tmp_path / "full", times=False)


def test_pip_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    from synthkit.lifecycle.workshop import wheels

    folder = tmp_path / "wheelhouse" / "here"
    folder.mkdir(parents=True)
    (folder / "old.whl").touch()
    with pytest.raises(sk.StoreError, match="(?s)pip wheel failed: .*no-such-option"):
        wheels.build(source_folder(ROOT), folder, extras=(), options=["--no-such-option"])
    assert [path.name for path in folder.parent.rglob("*.whl")] == ["old.whl"] and len(list(folder.parent.iterdir())) == 1


def test_what_wheels_need_is_read_from_their_names():
    assert needs(WHEELS) == ["1 of 3 wheels suit every platform; 2 are of this one.",
                             "Linux with glibc 2.34 or newer (`ldd --version` tells); not musl, such as Alpine."]  # fmt: skip
    assert needs(["a-1-py3-none-any.whl"]) == ["1 of 1 wheels suit every platform; 0 are of this one."]


def test_the_page_asks_nobody_and_escapes_what_it_is_told():
    text = page([Lesson("x.ipynb", "<b>", "Why?", 12.4, "cell 3")], [Wheelhouse("macosx-14-arm64-py3.11", (), 400.0, ("a < b",))], ["vae"], "a machine", True)
    assert not re.findall(r"https?://(?!ADDRESS)", text) and "src=" not in text and "href=" not in text
    assert "&lt;b&gt;" in text and "a &lt; b" in text and ">12<br>failed: cell 3<" in text and "@media print" in text


def test_title_and_question_come_from_the_first_cell():
    for path in notebooks().glob("*.ipynb"):
        title, question = told_by(path)
        assert title and not title.startswith("#") and question.endswith("?")


@pytest.mark.slow
def test_the_self_test_passes_here_and_says_what_is_missing(tmp_path):
    answer = invoked("workshop", "selftest")
    assert answer.exit_code == 0 and answer.output.count("ok ") == 5, answer.output
    answer = invoked("workshop", "selftest", "--pack", str(tmp_path))
    assert answer.exit_code == 1 and "FAILED  checksums: DataError" in answer.output and "holds no SHA256SUMS" in answer.output


DOCKERFILE = (ROOT / ".devcontainer" / "Dockerfile").read_text()


def test_the_container_is_described_by_files_that_are_there():
    told = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    assert (ROOT / ".devcontainer" / told["build"]["dockerfile"]).is_file() and (ROOT / ".devcontainer" / told["build"]["context"]).resolve() == ROOT
    extras = re.search(r"\.\[([\w,]+)\]", told["postCreateCommand"])[1].split(",")
    assert set(extras) <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    assert told["workspaceFolder"] in told["workspaceMount"] and 5001 in told["forwardPorts"] and told["remoteUser"] != "root"
    assert {str(port) for port in told["forwardPorts"]} == set(told["portsAttributes"])


def test_the_image_is_a_plain_python_without_root_and_without_leftovers():
    lines = [line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "FROM python:3.11-slim" and {line.split()[0] for line in lines} <= {"FROM", "RUN", "USER", "ENV", "WORKDIR"}
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users[-1] == json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())["remoteUser"]
    assert f"useradd --create-home --shell /bin/bash {users[-1]}" in DOCKERFILE
    assert all("rm -rf /var/lib/apt/lists" in line for line in lines if "apt-get" in line) and all("--no-cache-dir" in line for line in lines if "pip" in line)
