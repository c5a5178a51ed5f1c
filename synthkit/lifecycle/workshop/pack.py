"""A workshop in a folder: wheels, notebooks, a page for whoever teaches, checksums; it needs no network from then on."""
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from synthkit.core.files import file_digest, write_atomically
from synthkit.errors import StoreError
from synthkit.generators.checkpoint import SHIPPED
from synthkit.lifecycle.notebooks import Executed, notebooks, parameters_of, run_notebook
from synthkit.lifecycle.workshop.page import Lesson, Wheelhouse, page, told_by
from synthkit.lifecycle.workshop.selftest import SUMS
from synthkit.lifecycle.workshop.wheels import build, needs, platform_name, required_extras, source_folder, try_install

WHEELS, NOTEBOOKS, PAGE = "wheelhouse", "notebooks", "index.html"
NOTE = "wheels.txt"  # beside the wheels: what installing them took


@dataclass(frozen=True)
class Pack:
    """A packed workshop."""

    folder: Path
    page: Path
    files: int
    megabytes: float
    failed: tuple[str, ...]


def pack(
    out: str | Path, *, extras: Sequence[str] = (), source: str | Path | None = None, times: bool = True, install: bool = True, options: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> Pack:  # fmt: skip
    """Write everything that a workshop without a network needs into a folder; packing on another platform adds its wheels to the same folder.

    Args:
        extras: of synthkit, such as "mlops".
        source: the project's folder; the one this synthkit runs from when left out.
        times: run every notebook in its smallest budget and print how long each took; several minutes.
        install: install from the wheels alone into a fresh environment and run the self-test there.
        options: further words for pip.
        say: called with a line for every step.
    Raises:
        DataError: no source folder, or an unknown extra.
        StoreError: pip fails, a wheel is missing, or the folder holds other things.
    """
    say, place = say or (lambda line: None), Path(out)
    project = source_folder(source)
    chosen = required_extras(project, extras)
    _require_place(place)
    folder = place / WHEELS / platform_name()
    say(f"wheels for {platform_name()}, in the versions installed here")
    names = build(project, folder, extras=chosen, options=options)
    say(f"{len(names)} wheels{'; install from them alone into a fresh environment' if install else ''}")
    took = try_install(folder, extras=chosen) if install else {}
    write_atomically(folder / NOTE, _note(chosen, took, names).encode())
    lessons = _lessons(place / NOTEBOOKS, times, say)
    houses = [_described(one) for one in sorted((place / WHEELS).iterdir()) if one.is_dir()]
    generators = sorted(path.parent.name for path in SHIPPED.glob("*/generator.json"))
    write_atomically(place / PAGE, page(lessons, houses, generators, _machine(), times).encode())
    files = sorted(path for path in place.rglob("*") if path.is_file() and path != place / SUMS)
    write_atomically(place / SUMS, "".join(f"{file_digest(path)}  {path.relative_to(place).as_posix()}\n" for path in files).encode())
    size = sum(path.stat().st_size for path in files) / 2**20
    return Pack(place, place / PAGE, len(files), size, tuple(f"{one.name}: {one.failed}" for one in lessons if one.failed))


def _require_place(place: Path) -> None:
    """Make the folder; StoreError where it holds anything else than an earlier pack."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        others = {path.name for path in place.iterdir()} - {WHEELS, NOTEBOOKS, PAGE, SUMS}
    except OSError as error:
        raise StoreError(f"{place} cannot be used ({error}); give another folder with --out") from error
    if others:
        raise StoreError(f"{place} holds other files (first: {sorted(others)[0]}); give a new or empty folder, or that of an earlier pack")


def _lessons(folder: Path, times: bool, say: Callable[[str], None]) -> list[Lesson]:
    """The notebooks copied, with what each is about and, where they were run, how long it took."""
    folder.mkdir(exist_ok=True)
    lessons = []
    for path in sorted(notebooks().glob("*.ipynb")):
        shutil.copy(path, folder / path.name)
        done = _timed(path) if times else None
        if done is not None:
            say(f"  {path.stem}: {done.seconds:.0f} s{', FAILED in ' + done.failed if done.failed else ''}")
        lessons.append(Lesson(path.name, *told_by(path), done.seconds if done else None, done.failed if done else ""))
    return lessons


def _timed(path: Path) -> Executed:
    budget = {"budget": "smoke"} if "budget" in parameters_of(path) else {}
    with TemporaryDirectory() as place:
        return run_notebook(str(path), out=place, settings=budget)


def _note(extras: Sequence[str], took: dict[str, float], names: Sequence[str]) -> str:
    tried = "Not installed on trial"
    if took:
        tried = (f"Tried: installed into a fresh environment in {took['install']:.0f} s, where it takes {took['megabytes']:,.0f} MB of disk; the self-test "
                 f"passed in {took['selftest']:.0f} s")  # fmt: skip
    return "\n".join([f"extras: {', '.join(extras) or 'none'}", f"{tried} ({date.today().isoformat()}, {_machine()})", *needs(names)]) + "\n"


def _described(folder: Path) -> Wheelhouse:
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    lines = (folder / NOTE).read_text(encoding="utf-8").splitlines() if (folder / NOTE).is_file() else ["extras: none"]
    extras = [one for one in lines[0].removeprefix("extras: ").split(", ") if one != "none"]
    return Wheelhouse(folder.name, tuple(extras), size, tuple(lines[1:]))


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
