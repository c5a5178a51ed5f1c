"""What ran: versions of code and libraries, so that a later run can tell whether it is the same."""
import platform
from functools import cache
from hashlib import sha256
from pathlib import Path

from synthkit.core.provenance import code_version

LIBRARIES = ("torch", "numpy", "diffusers", "monai")


@cache
def environment() -> dict[str, str]:
    """Versions of Python, synthkit and the libraries that compute, a digest of synthkit's source, and the vector instructions in use."""
    from importlib.metadata import PackageNotFoundError, version

    from torch.backends.cpu import get_cpu_capability

    found = {"python": platform.python_version(), "synthkit": code_version().removeprefix("synthkit "), "source": source_digest()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return {**found, "processor": f"{platform.machine()} {get_cpu_capability()}"}


@cache
def source_digest() -> str:
    """sha256 over the installed Python files of synthkit, their names included."""
    package, seen = Path(__file__).parents[1], sha256()
    for path in sorted(package.rglob("*.py")):
        seen.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return seen.hexdigest()
