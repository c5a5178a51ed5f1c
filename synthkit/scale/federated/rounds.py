"""The server's side: rounds of training at the sites, averaged by one of Flower's strategies, with a row of record per site and round."""
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.nets.network import KnowingNetwork
from synthkit.scale.federated.facts import Facts
from synthkit.scale.federated.keeping import Keeping
from synthkit.scale.federated.model import Model, Tensors, packed, unpacked
from synthkit.scale.federated.orders import Orders
from synthkit.scale.federated.screening import farthest, screened
from synthkit.scale.federated.site import AVERAGE, WEIGHTS

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, Message
    from flwr.serverapp import Grid
    from flwr.serverapp.strategy import FedAvg

USED, MEASURED = "used", "measured"


@dataclass
class Course:
    """A federated training as it goes on.

    Args:
        sites: what each node told, by node.
        model: the network on the server.
        timeout_s: how long a round waits for a site.
        keeping: where the state is kept between rounds, or nowhere.
        weights, average: the tensors of the network, and their moving average, which is what is kept in the end.
        rows: the record: a row per site and round.
    """

    grid: "Grid"
    strategy: "FedAvg"
    sites: Mapping[int, Facts]
    model: Model
    recipe: Recipe
    timeout_s: float | None
    keeping: Keeping | None = None
    weights: Tensors = field(default_factory=dict)
    average: Tensors = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def run(self, orders: list[Orders]) -> None:
        """All rounds, from the first or from where a kept training stopped."""
        self.weights = self.model.weights()
        self.average = self.model.weights()
        done = self.keeping.restore(self) if self.keeping else 0
        for place, one in enumerate(orders):
            if place < done:
                continue
            began = time.monotonic()
            self._round(one)
            if one.stop == one.total and one.steps:  # the end of a part: what is kept of it is its average
                self.weights |= {name: self.average[name].clone() for name in self.model.trained_in(one.stage).values()}
            self.seconds += time.monotonic() - began
            if self.keeping:
                self.keeping.save(self, place + 1)
        self.model.take(self.average)
        self._judge(orders[-1])

    def _arrays(self, orders: Orders) -> dict[str, np.ndarray]:
        """What a round sends: all weights, and the average of those that it trains."""
        moments, names = self.model.moments(), self.model.trained_in(orders.stage).values()
        average = packed({name: self.average[name] for name in names}, moments)
        return _prefixed(WEIGHTS, packed(self.weights, moments)) | _prefixed(AVERAGE, average)

    def _round(self, orders: Orders) -> None:
        sent, names = self._arrays(orders), set(self.model.trained_in(orders.stage).values())
        replies = self._asked(orders, _record(sent), evaluate=False)
        mine = {name: array for name, array in sent.items() if name.split("/", 1)[1] in names}
        good = self._screened(orders, mine, replies, down=_bytes(sent))
        if not good:
            what = "; ".join(f"{row['site']}: {row['event']}" for row in self.rows[-len(self.sites) :])
            raise FitError(f"round {orders.number}: no site's update can be used ({what}); see to the sites and begin again, with run=FOLDER where it stopped")
        arrays, _ = self.strategy.aggregate_train(orders.number, good)
        mean = {name: array.numpy() for name, array in arrays.items()}
        for prefix, kept in ((WEIGHTS, self.weights), (AVERAGE, self.average)):
            part = {name.removeprefix(prefix): array for name, array in mean.items() if name.startswith(prefix)}
            kept |= unpacked(part, self.weights, self.model.moments())

    def _asked(self, orders: Orders, arrays: "ArrayRecord", *, evaluate: bool) -> "dict[int, Message]":
        """The replies by node, in the order of the nodes; those that did not come are not in it."""
        present = set(self.grid.get_node_ids()) & set(self.sites)
        if not present:
            raise FitError(f"round {orders.number}: none of the sites {', '.join(self.names)} is there any more")
        configure = self.strategy.configure_evaluate if evaluate else self.strategy.configure_train
        messages = [message for message in configure(orders.number, arrays, orders.record(), self.grid) if message.metadata.dst_node_id in self.sites]
        messages.sort(key=lambda message: message.metadata.dst_node_id)
        replies = {answered(reply, messages): reply for reply in self.grid.send_and_receive(messages, timeout=self.timeout_s)}
        return {node: replies[node] for node in self.sites if node in replies}

    @property
    def names(self) -> list[str]:
        return sorted(facts.name for facts in self.sites.values())

    def _screened(self, orders: Orders, sent: Mapping[str, np.ndarray], replies: "Mapping[int, Message]", *, down: int) -> "list[Message]":
        """The replies that count; a row of record for every site."""
        heard = {node: reply for node, reply in replies.items() if reply.has_content() and _whole(reply)}
        updates = {str(node): {name: array.numpy() for name, array in reply.content["arrays"].items()} for node, reply in heard.items()}
        counts = {str(node): (reply.content["metrics"]["num-examples"], self.sites[node].images) for node, reply in heard.items()}
        trainable = self.model.stages[orders.stage].trainable
        bound = farthest(orders, learning_rate=self.recipe.learning_rate, betas=trainable.betas) if orders.steps else None
        moved = self.model.parameters() & set(self.model.trained_in(orders.stage).values())
        verdicts = screened(sent, updates, counts, moved, bound, self.model.measured())
        for node, facts in sorted(self.sites.items(), key=lambda item: item[1].name):
            reply, verdict = replies.get(node), verdicts.get(str(node))
            event = _event(reply, verdict.reason if verdict else "")
            event = MEASURED if event == USED and not orders.steps else event
            told = reply.content["metrics"] if node in heard else {}
            up = _bytes(updates[str(node)]) if str(node) in updates else 0
            self.rows.append({"round": orders.number, "site": facts.name, "images": facts.images, "event": event,
                              "loss": told.get("loss") if orders.steps else None, "seconds": told.get("seconds"),
                              "length": verdict.length if verdict and np.isfinite(verdict.length) else None, "bytes_sent": down,
                              "bytes_received": up})  # fmt: skip
        return [reply for node, reply in heard.items() if not verdicts[str(node)].reason]

    def _judge(self, orders: Orders) -> None:
        """The loss of what came out at every site that is still there, where the network has one of single images."""
        if not isinstance(self.model.network, KnowingNetwork) or not set(self.grid.get_node_ids()) & set(self.sites):
            return
        arrays = _prefixed(AVERAGE, packed(self.average, self.model.moments()))
        for node, reply in self._asked(orders, _record(arrays), evaluate=True).items():
            told = reply.content["metrics"] if reply.has_content() and "metrics" in reply.content else {}
            judged = "judged on unseen patients" if told.get("unseen") else "judged on its own training patients"
            event = judged if told else f"judged in vain, {_event(reply, '')}"
            self.rows.append({"round": orders.number, "site": self.sites[node].name, "images": told.get("num-examples"), "event": event,
                              "loss": told.get("loss"), "low": told.get("low"), "high": told.get("high"), "bytes_sent": _bytes(arrays),
                              "bytes_received": 0})  # fmt: skip


def ask_facts(grid: "Grid", nodes: Iterable[int], *, timeout_s: float | None) -> dict[int, Facts]:
    """What every site tells of itself.

    Raises:
        FitError: a site that cannot tell it; its own words are given.
    """
    from flwr.app import ConfigRecord, Message, MessageType, RecordDict

    messages = [Message(RecordDict({"config": ConfigRecord({})}), node, MessageType.QUERY) for node in nodes]
    found: dict[int, Facts] = {}
    for reply in grid.send_and_receive(messages, timeout=timeout_s):
        if reply.has_error():
            raise FitError(f"a site cannot take part: {reply.error.reason}")
        found[answered(reply, messages)] = Facts.from_json(reply.content["facts"]["json"])
    names = [facts.name for facts in found.values()]
    if len(set(names)) < len(names):
        raise FitError(f"two sites have one name ({', '.join(sorted(names))}); give each its own")
    return dict(sorted(found.items(), key=lambda item: item[1].name))


def answered(reply: "Message", messages: "Iterable[Message]") -> int:
    """The node that a reply speaks for; of one that is gone Flower's server answers itself, and names only the message."""
    asked = {message.metadata.message_id: message.metadata.dst_node_id for message in messages if message.metadata.message_id}
    return asked.get(reply.metadata.reply_to_message_id) or reply.metadata.src_node_id


def _event(reply: "Message | None", reason: str) -> str:
    if reply is None:
        return "no answer in time"
    if reply.has_error():
        return f"failed: {(reply.error.reason or 'no reason given').strip().splitlines()[-1]}"
    reason = reason or ("" if _whole(reply) else "the answer lacks weights or counts")
    return f"rejected: {reason}" if reason else USED


def _whole(reply: "Message") -> bool:
    """Whether an answer holds what a round needs; another program may stand behind a site."""
    return {"arrays", "metrics"} <= set(reply.content) and "num-examples" in reply.content["metrics"]


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {prefix + name: array for name, array in arrays.items()}


def _record(arrays: Mapping[str, np.ndarray]) -> "ArrayRecord":
    from flwr.app import Array, ArrayRecord

    return ArrayRecord({name: Array(np.asarray(array, order="C")) for name, array in arrays.items()})


def _bytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays.values())
