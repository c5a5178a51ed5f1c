"""The page for whoever teaches: how 25 laptops are set up without a network, and what each notebook is about; it prints."""
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem;color:#111}h1,h2,h3{line-height:1.2}
pre{background:#f4f4f4;padding:.7rem;overflow-x:auto;white-space:pre-wrap}table{border-collapse:collapse;width:100%}
th,td{border:1px solid #bbb;padding:.35rem .5rem;text-align:left;vertical-align:top}td.n{text-align:right;white-space:nowrap}
@media print{body{margin:0;max-width:none;font-size:11pt}h2{break-after:avoid}
tr,pre,h3{break-inside:avoid}}"""


@dataclass(frozen=True)
class Lesson:
    """A notebook as the page tells of it; `seconds` is None where it was not run."""

    name: str
    title: str
    question: str
    seconds: float | None = None
    failed: str = ""


@dataclass(frozen=True)
class Wheelhouse:
    """The wheels of one platform; `lines` say what they need and what installing them took."""

    name: str
    extras: tuple[str, ...]
    megabytes: float
    lines: tuple[str, ...]

    @property
    def requirement(self) -> str:
        return f"synthkit[{','.join(self.extras)}]" if self.extras else "synthkit"


def told_by(path: Path) -> tuple[str, str]:
    """Title and question of a notebook, from its first cell."""
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    title = next((line.lstrip("# ").strip() for line in first.splitlines() if line.startswith("#")), path.stem)
    asked = [sentence.strip() for sentence in re.findall(r"[^.!?\n]*\?", first)]
    plain = [re.sub(r"[*_`#]", "", one).removeprefix("Question:").strip() for one in asked]
    plain = [one[:1].upper() + one[1:] for one in plain]
    return title, next((one for one in plain if one and one not in title), title)


def page(lessons: Sequence[Lesson], wheelhouses: Sequence[Wheelhouse], generators: Sequence[str], machine: str, timed: bool) -> str:
    """The whole page as HTML that loads nothing from anywhere."""
    parts = [_before(wheelhouses), *(_platform(one) for one in wheelhouses), _room(generators), _notebooks(lessons, machine, timed), _trouble()]
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>synthkit workshop</title><style>{STYLE}</style></head><body><h1>synthkit workshop: for whoever teaches</h1>
<p>Packed on {date.today().isoformat()}. Everything runs without a network. The images are phantoms: nobody's, and free to show.</p>
{"".join(parts)}</body></html>"""


def _before(wheelhouses: Sequence[Wheelhouse]) -> str:
    names = ", ".join(escape(one.name) for one in wheelhouses)
    return f"""<h2>Before the day</h2><ol>
<li>Ask which systems and which versions of Python the laptops have. This folder suits <b>{names}</b> and no other: wheels are of one platform and
one version of Python. For another, run <code>synthkit workshop pack --out</code> with this folder on a machine of that kind; its wheels are added.</li>
<li>Python itself is not in this folder. Have its installer for every system at hand (on Windows tick "Add python.exe to PATH").</li>
<li>Copy this folder to some USB sticks, or share it in the room: <code>python -m http.server</code> here, and on the laptops
<code>--find-links http://ADDRESS:8000/wheelhouse/NAME --trusted-host ADDRESS</code> in place of the folder below.</li>
<li>Check a copy: <code>sha256sum -c SHA256SUMS</code> (Linux), <code>shasum -a 256 -c SHA256SUMS</code> (macOS), or after installing
<code>synthkit workshop selftest --pack FOLDER</code> (all).</li><li>Try one laptop of each kind yourself.</li></ol>"""


def _platform(house: Wheelhouse) -> str:
    windows = house.name.startswith("win")
    python = house.name.rpartition("-py")[2]
    folder = f"wheelhouse/{house.name}"
    install = f'python -m pip install --no-index --find-links {folder} "{house.requirement}"'
    if windows:
        lines = [f"py -{python} -m venv synthkit-env", r".\synthkit-env\Scripts\Activate.ps1", install]
        shell = "In PowerShell, in this folder (where scripts are not allowed, first Set-ExecutionPolicy -Scope Process Bypass)"
    else:
        lines, shell = [f"python{python} -m venv synthkit-env", ". synthkit-env/bin/activate", install], "In a terminal, in this folder"
    lines += ["synthkit workshop selftest --pack .", "synthkit lab"]
    facts = "".join(f"<li>{escape(line)}</li>" for line in house.lines)
    commands = escape("\n".join(lines))
    return f"""<h2>Install: {escape(house.name)}</h2><p>{shell}:</p><pre>{commands}</pre>
<ul><li>{house.megabytes:.0f} MB of wheels, Python {python} only.</li>{facts}</ul>"""


def _room(generators: Sequence[str]) -> str:
    names = ", ".join(f"<code>{escape(name)}</code>" for name in generators)
    return f"""<h2>On the day</h2><ul><li>Start with the self-test: every line must say ok.</li>
<li><code>synthkit lab</code> opens JupyterLab on a copy of the notebooks in the current folder; what people change is theirs and is kept.</li>
<li>Begin with <code>00_start</code>; <code>budget = "smoke"</code> in a notebook's first code cell is for trying, <code>"lesson"</code> for a class.</li>
<li>A laptop that falls behind goes on with a trained generator, <code>sk.Generator.pretrained("chest-phantom-64")</code>; the wheel of synthkit holds {names}.
</li></ul>"""


def _notebooks(lessons: Sequence[Lesson], machine: str, timed: bool) -> str:
    cells = [(escape(one.name), f"<b>{escape(one.title)}</b><br>{escape(one.question)}", _seconds(one)) for one in lessons]
    rows = "".join(f"<tr><td>{name}</td><td>{about}</td><td class='n'>{seconds}</td></tr>" for name, about, seconds in cells)
    how = (f'Measured on {date.today().isoformat()} by running each notebook once from top to bottom in budget "smoke", one after another, the start of '
           f'the kernel included, on: {machine}. A class in budget "lesson" takes longer, and slower laptops more still.' if timed else
           "Not measured: packed with --no-times.")  # fmt: skip
    return f"""<h2>The notebooks</h2><table><thead><tr><th>notebook</th><th>what it shows</th><th>seconds</th></tr></thead><tbody>{rows}</tbody></table>
<p>{escape(how)}</p>"""


def _seconds(lesson: Lesson) -> str:
    if lesson.seconds is None:
        return "–"
    return f"{lesson.seconds:.0f}" + (f"<br>failed: {escape(lesson.failed)}" if lesson.failed else "")


def _trouble() -> str:
    return """<h2>When something fails</h2><table><tbody>
<tr><td>"No matching distribution found"</td><td>Another version of Python or another platform than the wheels are of: look at
<code>python --version</code>, and above.</td></tr>
<tr><td>"externally managed environment"</td><td>The environment is not active: repeat the line with <code>activate</code>.</td></tr>
<tr><td>a line of the self-test says FAILED</td><td>Copy the folder again and compare the checksums; <code>synthkit doctor</code> tells what
is missing.</td></tr>
<tr><td>training is slow</td><td>Close other programs, and plug the laptop in.</td></tr></tbody></table>"""
