"""Open JupyterLab on the notebooks."""
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from synthkit.lifecycle.notebooks import notebooks

COPY = Path("synthkit-notebooks")


def lab(arguments: list[str], *, say: Callable[[str], None]) -> int:
    """Start JupyterLab on a copy of the notebooks in the current folder; notebooks there already are kept.

    Returns:
        JupyterLab's exit status.
    """
    COPY.mkdir(exist_ok=True)
    for notebook in sorted(notebooks().glob("*.ipynb")):
        if not (COPY / notebook.name).exists():
            shutil.copy(notebook, COPY / notebook.name)
    say(f"notebooks: {COPY.resolve()}")
    # No announcements: JupyterLab would ask a server for news.
    command = [sys.executable, "-m", "jupyterlab", "--LabApp.news_url=None", f"--ServerApp.root_dir={COPY.resolve()}", *arguments]
    return subprocess.run(command).returncode
