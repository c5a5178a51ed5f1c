"""The champion behind a socket of this machine, by MLflow's own server."""
import os
import subprocess
import sys

from synthkit.lifecycle.registry import champion
from synthkit.lifecycle.tracking import SILENT


def serve_command(uri: str, *, port: int, host: str = "127.0.0.1") -> list[str]:
    """The command line that serves a registered generator in this environment."""
    return [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local", "-h", host, "-p", str(port)]


def serve(name: str, *, port: int, host: str = "127.0.0.1") -> int:
    """Serve the champion until it is interrupted; the server's exit status.

    Raises:
        StoreError: there is no champion of this name.
    """
    return subprocess.run(serve_command(champion(name).uri, port=port, host=host), env={**os.environ, **SILENT}).returncode
