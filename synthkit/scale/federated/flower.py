"""Flower, where it is installed: its strategies, and one machine in the place of its network."""
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synthkit.errors import FitError, MissingExtraError
from synthkit.scale.federated.site import Site

if TYPE_CHECKING:
    from flwr.app import Context
    from flwr.serverapp import Grid
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

    if name not in STRATEGIES:
        raise FitError(f"strategy={name!r} is not one of {', '.join(STRATEGIES)}")
    if name == "fedprox" and not 0 < mu < float("inf"):
        raise FitError(f"mu={mu!r}: fedprox needs a weight of its proximal term above 0, for instance 0.01")
    least = {"min_train_nodes": 1, "min_evaluate_nodes": 1, "min_available_nodes": 1}
    return FedAvg(**least) if name == "fedavg" else FedProx(proximal_mu=mu, **least)


def one_machine(sites: Iterable[Site], *, timeout_s: float | None) -> "tuple[Grid, Mapping[int, Context]]":
    """A grid whose sites are called one after another in this process, in the order of their names, and what each remembers.

    Whatever goes wrong at a site is its answer, as it would be from another machine; an answer after `timeout_s` seconds is lost.
    """
    from flwr.app import Context, Error, Message, RecordDict
    from flwr.common.constant import ErrorCode
    from flwr.serverapp import Grid

    apps = {number: site.app() for number, site in enumerate(sorted(sites, key=lambda site: site.name), 1)}
    contexts = {number: Context(run_id=0, node_id=number, node_config={}, state=RecordDict(), run_config={}) for number in apps}

    class OneMachine(Grid):
        """Messages are handed over, not sent."""

        def __init__(self) -> None:
            self.replies: dict[str, Message] = {}

        def set_run(self, run: Any) -> None:
            raise NotImplementedError("one machine has one run")

        @property
        def run(self) -> Any:
            raise NotImplementedError("one machine has one run")

        def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
            return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

        def get_node_ids(self) -> list[int]:
            return list(apps)

        def push_messages(self, messages: Iterable[Message]) -> list[str]:
            names = []
            for message in messages:
                names.append(f"{len(self.replies)}")
                reply = self._called(message)
                self.replies[names[-1]] = reply
            return names

        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            return [reply for reply in map(self.replies.get, message_ids) if reply is not None]

        def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
            ids = self.push_messages(messages)
            found = self.pull_messages(ids)
            self.replies.clear()
            return found

        def _called(self, message: Message) -> Message | None:
            number, began = message.metadata.dst_node_id, time.monotonic()
            try:
                reply = apps[number](message, contexts[number])
            except Exception as error:  # whatever it is, it happened at the site
                reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(error).__name__}: {error}"), reply_to=message)
            return None if timeout_s is not None and time.monotonic() - began > timeout_s else reply

    return OneMachine(), contexts
