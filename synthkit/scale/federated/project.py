"""A project of Flower that trains a recipe at sites on other machines."""
import json
from pathlib import Path
from typing import Any

from synthkit.core.files import write_atomically
from synthkit.core.kinds import require_kind, require_number
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.scale.federated.asked import Asked

CLIENT = '''"""A hospital's side."""
from synthkit.scale.federated.apps import site_app

app = site_app()
'''
SERVER = '''"""The server's side."""
from synthkit.scale.federated.apps import server_app

app = server_app()
'''


def flower_app(
    recipe: Recipe, folder: str | Path, *, sites: int, out: str | Path, rounds: int = 20, local_steps: int = 50, strategy: str = "fedavg", mu: float = 0.01,
    seed: int = 0, wait_s: float = 600, timeout_s: float = 3600,
) -> Path:  # fmt: skip
    """Write what `flwr run` needs to train at hospitals that are machines of their own; nothing is run.

    Each hospital saves its cohort (`cohort.save(folder)`) and starts a node beside it, which opens connections and accepts none:
    `flower-supernode --superlink HOST:9092 --root-certificates ca.crt --node-config 'site="north" cohort="/data/north"'`. The server runs
    `flower-superlink` with a certificate, and then `flwr run FOLDER`. The generator is saved under `out`/generator, the state between
    rounds under `out`/run, from which the same line goes on.

    Args:
        folder: of the project.
        sites: how many to wait for.
        out: folder on the server.
        rounds, local_steps, strategy, mu, seed: as in `federate`.
        wait_s: how long to wait for all sites; after that the training begins with those that came.
        timeout_s: how long a round waits for a site.
    Raises:
        FitError: impossible settings.
    """
    require_kind("recipe", recipe, Recipe, "an untrained recipe, such as sk.Diffusion()")
    asked = Asked(recipe, rounds, local_steps, strategy, mu, seed)
    for name, value in (("sites", sites), ("wait_s", wait_s), ("timeout_s", timeout_s)):
        require_number(name, value, "a number above 0", whole=name == "sites")
        if value <= 0:
            raise FitError(f"{name}={value}: give a number above 0")
    told = {"recipe": json.dumps(asked.recipe.to_json()), "rounds": rounds, "local_steps": local_steps, "strategy": strategy, "mu": float(mu), "seed": seed,
            "sites": int(sites), "wait_s": float(wait_s), "timeout_s": float(timeout_s), "out": str(Path(out).absolute())}  # fmt: skip
    folder = Path(folder)
    write_atomically(folder / "client.py", CLIENT.encode())
    write_atomically(folder / "server.py", SERVER.encode())
    write_atomically(folder / "pyproject.toml", _pyproject(told).encode())
    return folder


def _pyproject(told: dict[str, Any]) -> str:
    config = "\n".join(f"{name} = {json.dumps(value)}" for name, value in told.items())  # a TOML basic string is a JSON one
    return f"""[project]
name = "synthkit-federated"
version = "1.0.0"
description = "A generator of several hospitals"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "synthkit"

[tool.flwr.app.components]
serverapp = "server:app"
clientapp = "client:app"

[tool.flwr.app.config]
{config}
"""
