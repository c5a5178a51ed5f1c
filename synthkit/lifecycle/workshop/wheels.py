"""A wheelhouse: everything that pip needs to install synthkit on machines without a network, for one platform and one version of Python."""
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

from synthkit.errors import DataError, StoreError

PACKAGE = Path(__file__).parents[2]
LONGEST = 2_000  # characters of what pip says


def platform_name() -> str:
    """This platform and version of Python, as the folder of its wheels is called: "linux-x86_64-py3.11"."""
    return f"{sysconfig.get_platform()}-py{sys.version_info.major}.{sys.version_info.minor}"


def source_folder(source: str | Path | None) -> Path:
    """The folder of the project that is packed: the given one, else the one this synthkit runs from."""
    folder = Path(source) if source is not None else PACKAGE.parent
    file = folder / "pyproject.toml"
    try:
        named = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"] == "synthkit"
    except (OSError, KeyError, tomllib.TOMLDecodeError):
        named = False
    if not named:
        raise DataError(f"{folder} is not the source folder of synthkit (no pyproject.toml of it there); give it with --source")
    return folder


def extras_of(source: Path) -> tuple[str, ...]:
    """The extras that the project declares."""
    return tuple(tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("optional-dependencies", {}))


def required_extras(source: Path, extras: Sequence[str]) -> tuple[str, ...]:
    """The extras as they are asked for; DataError for one that is not declared."""
    unknown = [one for one in extras if one not in extras_of(source)]
    if unknown:
        raise DataError(f"no extra is called {unknown[0]!r}; there are {', '.join(extras_of(source))}")
    return tuple(dict.fromkeys(extras))


def requirement(extras: Sequence[str]) -> str:
    """What pip is asked to install."""
    return f"synthkit[{','.join(extras)}]" if extras else "synthkit"


def build(source: Path, folder: Path, *, extras: Sequence[str], options: Sequence[str] = ()) -> list[str]:
    """Fill a folder with the wheels of the project and of all it needs, in the versions that are installed here; their names.

    Args:
        options: further words for pip, such as the index of the CPU builds of torch.
    Raises:
        StoreError: pip failed; nothing is left in the folder's place.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with tempfile.TemporaryDirectory() as place:
            pins = Path(place) / "constraints.txt"
            pins.write_text("\n".join(_pins()), encoding="utf-8")
            wanted = f"{source.resolve()}[{','.join(extras)}]" if extras else str(source.resolve())
            _pip(sys.executable, "wheel", "--wheel-dir", str(part), "--constraint", str(pins), *options, wanted)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sorted(path.name for path in folder.glob("*.whl"))


def _pins() -> list[str]:
    """The versions that are installed here, without the mark of a local build, which no registry knows."""
    found = {dist.metadata["Name"]: dist.version.partition("+")[0] for dist in distributions() if dist.metadata["Name"]}
    return [f"{name}=={version}" for name, version in sorted(found.items()) if name.lower() != "synthkit"]


def _pip(python: str, *words: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run([python, "-m", "pip", "--quiet", "--disable-pip-version-check", *words], capture_output=True, text=True, env=env)
    if done.returncode:
        raise StoreError(f"pip {words[0]} failed: {(done.stderr or done.stdout).strip()[-LONGEST:]}")


def try_install(folder: Path, *, extras: Sequence[str]) -> dict[str, float]:
    """Install from a wheelhouse alone into a fresh environment and run the self-test there: seconds of both, and megabytes of the environment.

    Raises:
        StoreError: a wheel is missing, or the self-test fails.
    """
    # No index and no other folder of wheels: what passes here passes on a laptop.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHONPATH"))} | {"PIP_CONFIG_FILE": os.devnull}
    with tempfile.TemporaryDirectory() as place:
        begun = time.monotonic()
        subprocess.run([sys.executable, "-m", "venv", f"{place}/venv"], check=True, env=env)
        python = str(Path(place) / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
        _pip(python, "install", "--no-index", "--find-links", str(folder.resolve()), requirement(extras), env=env)
        installed = time.monotonic()
        done = subprocess.run([python, "-m", "synthkit", "workshop", "selftest"], cwd=place, capture_output=True, text=True, env=env)
        if done.returncode:
            raise StoreError(f"the self-test fails in a fresh environment: {(done.stdout + done.stderr)[-LONGEST:]}")
        size = sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file() and not path.is_symlink()) / 2**20
        return {"install": installed - begun, "selftest": time.monotonic() - installed, "megabytes": size}


def needs(names: Sequence[str]) -> list[str]:
    """What the wheels ask of a machine, read from their names, in words."""
    bound = [name for name in names if not name.endswith("-none-any.whl")]
    said = [f"{len(names) - len(bound)} of {len(names)} wheels suit every platform; {len(bound)} are of this one."]
    # A wheel that names several platforms is content with the lowest.
    lowest = [min((tuple(map(int, pair)) for pair in re.findall(r"manylinux_(\d+)_(\d+)", name)), default=(0, 0)) for name in bound]
    if max(lowest, default=(0, 0)) > (0, 0):
        said.append(f"Linux with glibc {'.'.join(map(str, max(lowest)))} or newer (`ldd --version` tells); not musl, such as Alpine.")
    return said
