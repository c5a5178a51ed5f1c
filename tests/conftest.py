"""Shared by all tests: fixed randomness for hypothesis, one thread per process, and the rule for what is missing."""
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import configuration, settings

settings.register_profile("synthkit", deadline=None, max_examples=60, derandomize=True, database=None)
settings.load_profile("synthkit")
configuration.set_hypothesis_home_dir(os.path.join(tempfile.gettempdir(), "synthkit-hypothesis"))
# Tiny images gain nothing from threads, and lose much when the machine is busy.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def need() -> Callable[[bool, str], None]:
    """`need(condition, what)`: skips where something is absent on this machine; in CI, where it must be there, fails."""

    def check(condition: bool, what: str) -> None:
        if not condition and os.environ.get("CI"):
            pytest.fail(f"{what} is missing, and in CI nothing may be skipped")
        if not condition:
            pytest.skip(f"{what} is missing")

    return check


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> str:
    """The address of an MLflow database of this module's own."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs.db'}"


@pytest.fixture(scope="session")
def real_data(need: Callable[[bool, str], None]) -> Path:
    """The folder of real data sets: SYNTHKIT_DATA, else shared/data beside the checkout."""
    folder = Path(os.environ.get("SYNTHKIT_DATA") or Path(__file__).parents[2] / "shared" / "data")
    need(folder.is_dir(), f"real data ({folder}; SYNTHKIT_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def reference(real_data: Path, need: Callable[[bool, str], None]) -> Path:
    """The folder of reference values that other implementations gave for the real data sets: `reference` beside them."""
    folder = real_data.parent / "reference"
    need(folder.is_dir(), f"reference values ({folder})")
    return folder


@pytest.fixture(scope="session")
def browser(need: Callable[[bool, str], None]):
    """A headless Chromium, driven by playwright."""
    import shutil

    path = shutil.which("chromium") or shutil.which("google-chrome")
    need(path is not None, "Chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]  # fmt: skip
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab server on a folder of its own; answers its address and that folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=", "--allow-root",
               f"--ServerApp.root_dir={tmp_path}", "--LabApp.news_url=None"]  # fmt: skip
    server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=2)
            break
        except OSError:
            time.sleep(0.5)
    yield f"http://127.0.0.1:{port}", tmp_path
    server.terminate()
    server.wait(timeout=30)
