"""The self-test of an installation: does what a workshop needs work on this machine, without a network?"""
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from synthkit.core.files import file_digest
from synthkit.errors import DataError, SynthkitError
from synthkit.lifecycle.notebooks import notebooks

SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Tested:
    """One line of the self-test."""

    what: str
    passed: bool
    detail: str


def selftest(pack: str | Path | None = None) -> list[Tested]:
    """Open what ships, draw, edit and save, and compare the files of a workshop's folder with their checksums.

    Args:
        pack: the workshop's folder; None leaves the checksums out.
    """
    tests: dict[str, Callable[[], str]] = {"notebooks": _notebooks, "generators": _generators, "draw and edit": _edits, "phantom": _phantom, "JupyterLab": _lab}
    if pack is not None:
        tests = {"checksums": lambda: _checksums(Path(pack)), **tests}
    return [_tried(what, test) for what, test in tests.items()]


def _tried(what: str, test: Callable[[], str]) -> Tested:
    try:
        return Tested(what, True, test())
    except (SynthkitError, ImportError, OSError, RuntimeError) as error:
        return Tested(what, False, f"{type(error).__name__}: {error}")


def checksums(pack: Path) -> Iterator[tuple[str, Path]]:
    """sha256 and file of every line of a checksums file."""
    try:
        lines = (pack / SUMS).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{pack} holds no {SUMS}; give the folder that `synthkit workshop pack` made") from error
    for line in lines:
        digest, _, name = line.partition("  ")
        yield digest, pack / name


def _checksums(pack: Path) -> str:
    lines = list(checksums(pack))
    wrong = [path.name for digest, path in lines if not path.is_file() or file_digest(path) != digest]
    if wrong:
        raise DataError(f"{len(wrong)} of {len(lines)} files are missing or damaged (first: {wrong[0]}); copy the folder again")
    return f"{len(lines)} files are as they were packed"


def _notebooks() -> str:
    return f"{len(list(notebooks().glob('*.ipynb')))} notebooks"


def _generators() -> str:
    import synthkit as sk
    from synthkit.generators.checkpoint import SHIPPED

    names = sorted(path.parent.name for path in SHIPPED.glob("*/generator.json"))
    return f"{', '.join(sk.Generator.pretrained(name).card.name for name in names)} are whole"


def _edits() -> str:
    import synthkit as sk

    gen = sk.Generator.pretrained("chest-phantom-64")
    fake = gen.sample(gen.schema.grid(effusion=["absent", "present"]), seed=0)
    same = gen.edit(fake, {})
    if fake.images.raw().std() == 0 or (same.images.raw() != fake.images.raw()).any():
        raise DataError("an edit that changes nothing changed the images, or they are blank")
    return "2 images drawn; an edit that changes nothing changes no pixel"


def _phantom() -> str:
    import synthkit as sk

    films = sk.ChestPhantom(size=64).cohort(2, seed=0)
    return f"{len(films)} films of {films.space.shape[-1]} pixels"


def _lab() -> str:
    from importlib.metadata import version

    import ipywidgets
    import plotly

    return f"jupyterlab {version('jupyterlab')}, ipywidgets {ipywidgets.__version__}, plotly {plotly.__version__}"
