"""What this machine offers to synthkit, what is missing, and the command that mends it."""
import os
import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One line of the examination; `needed` means that synthkit does not work without it."""

    what: str
    found: str
    good: bool = True
    mend: str = ""
    needed: bool = False

    def line(self) -> str:
        """The finding as text; the command that mends it stands below."""
        mend = f"\n         -> {self.mend}" if self.mend else ""
        return f"{'ok' if self.good else 'missing':<9}{self.what:<22} {self.found}{mend}"


def examine() -> list[Finding]:
    """Look at versions, processor, GPU, memory, browser, checkpoints and data."""
    return [_python(), *_packages(), *_hardware(), _browser(), _checkpoint(), _data(), _extra("itkwidgets", "itk"), _extra("opacus", "privacy"),
            _extra("ray", "scale"), _extra("flwr", "federated"), _extra("peft", "foundation"), _extra("mlflow", "mlops"),
            _extra("papermill", "mlops")]  # fmt: skip


def _python() -> Finding:
    return Finding("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _packages() -> list[Finding]:
    try:
        names = [line.split(";")[0] for line in requires("synthkit") or [] if "extra ==" not in line]
    except PackageNotFoundError:
        return [Finding("synthkit", "not installed", False, "pip install -e .", needed=True)]
    found, missing = [f"synthkit {version('synthkit')}"], []
    for name in sorted(name.strip().split(">")[0].split("<")[0].split("=")[0].split("[")[0].strip() for name in names):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    lines = [Finding("packages", ", ".join(found))]
    return [*lines, Finding("packages missing", ", ".join(missing), False, "pip install -e .", needed=True)] if missing else lines


def _hardware() -> list[Finding]:
    import psutil
    import torch

    from synthkit.core.device import accelerator, precision

    memory = f"{psutil.virtual_memory().available / 2**30:.0f} of {psutil.virtual_memory().total / 2**30:.0f} GB free"
    lines = [Finding("processor", f"{os.cpu_count()} cores, {memory}")]
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        lines.append(Finding("GPU", names))
    else:
        lines.append(Finding("GPU", "none; training runs on the processor", mend="" if not shutil.which("nvidia-smi") else "install a CUDA build of torch"))
    fast = precision(accelerator()) == "bf16-mixed"
    return [*lines, Finding("bf16", "used for training" if fast else "not in this hardware; training runs in float32")]


def _browser() -> Finding:
    path = next((p for p in map(shutil.which, ("chromium", "google-chrome", "chrome", "msedge", "firefox")) if p), None)
    mend = "" if path else "install a browser to use JupyterLab (on Debian: apt-get install chromium)"
    return Finding("browser", path or "none found", path is not None, mend)


def _checkpoint() -> Finding:
    from synthkit.generators.checkpoint import SHIPPED

    names = sorted(p.parent.name for p in SHIPPED.glob("*/generator.json"))
    return Finding("shipped generators", ", ".join(names) or "none", bool(names), "" if names else "synthkit quickstart --train")


def _data() -> Finding:
    from synthkit.data.catalog import catalog

    table = catalog()
    here = table.loc[table["available"].astype(str).isin(["yes", "True"]), "name"]
    place = os.environ.get("SYNTHKIT_DATA")
    note = f" (SYNTHKIT_DATA={Path(place)})" if place else " (SYNTHKIT_DATA is not set)"
    return Finding("data sets here", ", ".join(here) + note, mend="" if len(here) == len(table) else "synthkit data list")


def _extra(package: str, extra: str) -> Finding:
    try:
        return Finding(f"extra [{extra}]", f"{package} {version(package)}")
    except PackageNotFoundError:
        return Finding(f"extra [{extra}]", f"{package} is not installed (optional)", False, f'pip install -e ".[{extra}]"')
