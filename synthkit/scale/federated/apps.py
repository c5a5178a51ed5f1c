"""The same sites and the same server as processes of Flower: `sk.flower_app` writes a project that names these two."""
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.scale.federated.asked import Asked
from synthkit.scale.federated.federate import trained
from synthkit.scale.federated.flower import quiet, require_flower
from synthkit.scale.federated.site import Site

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp

PAUSE_S = 0.5


def site_app() -> "ClientApp":
    """A hospital's side: the node's own configuration names its site, the folder of its cohort and, if it has one, that of its valid patients."""
    require_flower()
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.query()
    def tell(message: "Message", context: "Context") -> "Message":
        return _site(context).tell(message, context)

    @app.train()
    def train(message: "Message", context: "Context") -> "Message":
        return _site(context).train(message, context)

    @app.evaluate()
    def judge(message: "Message", context: "Context") -> "Message":
        return _site(context).judge(message, context)

    return app


def _site(context: "Context") -> Site:
    from synthkit.core.store import load

    told = context.node_config
    missing = [name for name in ("site", "cohort") if name not in told]
    if missing:
        raise FitError(f"this node does not say its {missing[0]}; start it with --node-config 'site=\"north\" cohort=\"/data/north\"'")
    valid = load(Path(told["valid"])) if "valid" in told else None
    return Site(str(told["site"]), load(Path(told["cohort"])), valid)


def server_app() -> "ServerApp":
    """The server's side: it waits for its sites, trains, and saves the generator."""
    require_flower()
    from flwr.serverapp import ServerApp

    app = ServerApp()

    @app.main()
    def main(grid: "Grid", context: "Context") -> None:
        told = context.run_config
        asked = Asked(Recipe.from_json(json.loads(told["recipe"])), **{name: told[name] for name in ("rounds", "local_steps", "strategy", "mu", "seed")})
        nodes = _gathered(grid, told["sites"], told["wait_s"])
        with quiet():
            run = Path(told["out"]) / "run"
            generator = trained(grid, nodes, asked, start=None, run=run, timeout_s=told["timeout_s"], contexts={})
        generator.save(Path(told["out"]) / "generator")

    return app


def _gathered(grid: "Grid", count: int, wait_s: float) -> list[int]:
    """The nodes, as soon as all have come, or, after a while, those that have."""
    began = time.monotonic()
    while len(nodes := list(grid.get_node_ids())) < count and time.monotonic() - began < wait_s:
        time.sleep(PAUSE_S)
    if not nodes:
        raise FitError(f"no site came within {wait_s:g} s; start the nodes first (flower-supernode)")
    return nodes
