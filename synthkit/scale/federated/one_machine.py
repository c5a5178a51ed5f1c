"""A grid of Flower whose sites are called in this process; imported only where Flower is installed."""
import time
from collections.abc import Iterable
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from synthkit.scale.federated.site import Site

FIRST = 101  # the number of the first node; Flower has some for its own


class OneMachine(Grid):
    """Messages are handed over, not sent, and sites work one after another in the order of their names.

    Whatever goes wrong at a site is its answer, as it would be from another machine; an answer after `timeout_s` seconds is lost.

    Args:
        sites: each a node.
        contexts: what each remembers, by node.
    """

    def __init__(self, sites: Iterable[Site], *, timeout_s: float | None):
        self.apps = {number: site.app() for number, site in enumerate(sorted(sites, key=lambda site: site.name), FIRST)}
        self.contexts = {number: Context(run_id=0, node_id=number, node_config={}, state=RecordDict(), run_config={}) for number in self.apps}
        self.timeout_s, self.replies = timeout_s, dict[str, Message | None]()

    def set_run(self, run: Any) -> None:
        raise NotImplementedError("one machine has one run")

    @property
    def run(self) -> Any:
        raise NotImplementedError("one machine has one run")

    def create_message(self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None) -> Message:
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def get_node_ids(self) -> list[int]:
        return list(self.apps)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        for message in messages:
            self.replies[str(len(self.replies))] = self._answer(message)
        return list(self.replies)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [reply for reply in map(self.replies.get, message_ids) if reply is not None]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        self.replies.clear()
        return self.pull_messages(self.push_messages(messages))

    def _answer(self, message: Message) -> Message | None:
        number, began = message.metadata.dst_node_id, time.monotonic()
        try:
            reply = self.apps[number](message, self.contexts[number])
        except Exception as error:  # whatever it is, it happened at the site
            reply = Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{type(error).__name__}: {error}"), reply_to=message)
        return None if self.timeout_s is not None and time.monotonic() - began > self.timeout_s else reply
