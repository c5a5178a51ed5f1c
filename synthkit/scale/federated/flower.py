"""Flower, where it is installed: quiet, without telemetry, and its strategies."""
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from synthkit.errors import MissingExtraError

if TYPE_CHECKING:
    from flwr.serverapp.strategy import FedAvg

STRATEGIES = ("fedavg", "fedprox")


def require_flower() -> None:
    """Import Flower with its telemetry and its look for updates off."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        import flwr.clientapp
        import flwr.serverapp.strategy  # noqa: F401
    except ImportError as error:
        raise MissingExtraError('training at several sites needs Flower: pip install "synthkit[federated]"') from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without Flower's running commentary: what happens is in the record of the rounds."""
    log = logging.getLogger("flwr")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def strategy_of(name: str, mu: float) -> "FedAvg":
    """Flower's strategy: every site in every round, a mean weighted by images, and whoever is left goes on."""
    from flwr.serverapp.strategy import FedAvg, FedProx

    least = {"min_train_nodes": 1, "min_evaluate_nodes": 1, "min_available_nodes": 1}
    return FedAvg(**least) if name == "fedavg" else FedProx(proximal_mu=mu, **least)
