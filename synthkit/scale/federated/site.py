"""One hospital's side of a federated training: it tells its facts, trains and judges. Its images stay where they are."""
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.device import accelerator
from synthkit.core.intervals import bootstrap
from synthkit.core.randomness import generator, normal, permutation
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.nets.network import KnowingNetwork
from synthkit.scale.federated.facts import Facts
from synthkit.scale.federated.model import Model, Tensors, packed, unpacked
from synthkit.scale.federated.orders import MU, Orders
from synthkit.scale.federated.proximal import INNER, Proximal
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.state import State
from synthkit.training.trainer import go_on

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, Context, Message, RecordDict
    from flwr.clientapp import ClientApp

WEIGHTS, AVERAGE = "weights/", "average/"  # before the names of tensors on the way
JUDGED = 128  # images at most


class Site:
    """A cohort behind its own walls.

    Args:
        name: by which the record knows the site.
        cohort: what it trains on.
        valid: patients whom it only judges with; without them it judges with those it trains on, and says so.
    """

    def __init__(self, name: str, cohort: Cohort, valid: Cohort | None = None):
        self.name, self.cohort, self.valid = name, cohort, valid
        self._held: tuple[tuple[str, int], TrainingData] | None = None

    def app(self) -> "ClientApp":
        """The site as Flower calls it."""
        from flwr.clientapp import ClientApp

        app = ClientApp()
        app.query()(self.tell)
        app.train()(self.train)
        app.evaluate()(self.judge)
        return app

    def tell(self, message: "Message", context: "Context") -> "Message":
        """Its facts."""
        from flwr.app import ConfigRecord, Message, RecordDict

        return Message(RecordDict({"facts": ConfigRecord({"json": Facts.of(self.name, self.cohort, self.valid).to_json()})}), reply_to=message)

    def train(self, message: "Message", context: "Context") -> "Message":
        """Some steps on its own images, from the weights that were sent; AdamW's moments stay here from round to round."""
        from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

        began, config = time.monotonic(), message.content["config"]
        orders, mu = Orders.of(config), float(config.get(MU, 0.0))
        model, names = self._model(orders, message.content["arrays"])
        data = self._data(orders, model)
        weights, average, loss = model.weights(), _part(message.content["arrays"], AVERAGE), 0.0
        sent = unpacked(average, weights, model.moments())
        if orders.steps:
            weights, sent, loss = self._trained(orders, model, names, data, sent, mu, context.state)
        mine = {name: weights[name] for name in names.values()}
        arrays = _joined(mine, {name: sent[name] for name in names.values()} if orders.steps else mine, model)
        told = {"num-examples": len(self.cohort), "loss": float(loss), "seconds": time.monotonic() - began}
        return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(told)}), reply_to=message)

    def _model(self, orders: Orders, arrays: "ArrayRecord", *, part: str = WEIGHTS) -> tuple[Model, dict[str, str]]:
        model = Model.of(Recipe.from_json(orders.recipe), self.cohort.schema, self.cohort.space, seed=orders.seed)
        model.take(unpacked(_part(arrays, part), model.weights(), model.moments()))
        model.network.to(accelerator())
        return model, model.trained_in(orders.stage)

    def _data(self, orders: Orders, model: Model) -> TrainingData:
        """The images as this stage learns from them, kept for the next round."""
        recipe, prepare = Recipe.from_json(orders.recipe), model.stages[orders.stage].prepare
        key = (str(orders.recipe), orders.stage)
        if self._held is None or self._held[0] != key or orders.number == 0:
            data = TrainingData(self.cohort, recipe.codes(self.cohort), batch_size=recipe.batch_size, seed=self._seed(orders))
            self._held = (key, prepare(data) if prepare else data)
        return self._held[1]

    def _seed(self, orders: Orders) -> int:
        """A stream of its own, whatever other sites take part."""
        return int(generator(orders.seed, self.name, "site").integers(2**31))

    def _trained(
        self, orders: Orders, model: Model, names: Mapping[str, str], data: TrainingData, average: Tensors, mu: float, memory: "RecordDict"
    ) -> tuple[Tensors, Tensors, float]:
        recipe, trainable = Recipe.from_json(orders.recipe), model.stages[orders.stage].trainable
        whole, before = (Proximal(trainable, mu), INNER) if mu else (trainable, "")
        plan = Plan(Steps(orders.total), seed=self._seed(orders), batch_size=recipe.batch_size, learning_rate=recipe.learning_rate, stop=orders.stop,
                    identity={"site": self.name})  # fmt: skip
        tensors = {f"network.{name}": tensor.detach().clone() for name, tensor in whole.state_dict().items()}
        tensors |= {f"average.{before}{own}": average[name] for own, name in names.items()}
        state = go_on(whole, data, plan, State({**tensors, **recalled(memory, orders.stage)}, orders.start))
        remember(memory, orders.stage, state.part("optimizer"))
        mean = {names[own.removeprefix(before)]: tensor for own, tensor in state.part("average").items()}
        recent = state.part("recent")["losses"].double()
        losses = [loss for _, loss in state.losses for _ in range(20)][: orders.steps - len(recent)] + recent.tolist()
        return model.weights(), mean, float(np.mean(losses))

    @torch.inference_mode()
    def judge(self, message: "Message", context: "Context") -> "Message":
        """The loss of the averaged weights on its images, with an interval over patients."""
        from flwr.app import Message, MetricRecord, RecordDict

        model, _ = self._model(Orders.of(message.content["config"]), message.content["arrays"], part=AVERAGE)
        network, cohort = model.network.eval(), self.cohort if self.valid is None else self.valid
        if not isinstance(network, KnowingNetwork):
            raise FitError(f"{type(network).__name__} has no loss of single images to judge by")
        rows = np.sort(permutation(len(cohort), seed=0, identity=self.name, stream="judged")[:JUDGED])
        some = cohort[rows]
        losses = _misfits(network, some)
        low, high = bootstrap(lambda chosen: float(losses[chosen].mean()), some.table["patient_id"].to_numpy())
        told = {"num-examples": len(some), "loss": float(losses.mean()), "low": low, "high": high, "unseen": int(self.valid is not None)}
        return Message(RecordDict({"metrics": MetricRecord(told)}), reply_to=message)


def _misfits(network: KnowingNetwork, cohort: Cohort) -> np.ndarray:
    """(N,) training loss of each image, the mean over the network's own times, with noise that hangs on the image alone."""
    device = next(network.parameters()).device
    noise = normal(network.latent_shape(), seed=0, identities=cohort.table["image_id"], stream="judged")
    codes = torch.from_numpy(cohort.schema.encode(cohort.table))
    found = []
    for start in range(0, len(cohort), 32):
        rows = np.arange(start, min(start + 32, len(cohort)))
        x, c, z = (part.to(device) for part in (cohort.images.tensor(rows), codes[rows], noise[rows]))
        found.append(torch.stack([network.misfit(x, c, z, torch.full((len(rows),), look, device=device)) for look in network.looks]).mean(0).cpu())
    return torch.cat(found).double().numpy()


def _part(arrays: "ArrayRecord", prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array.numpy() for name, array in arrays.items() if name.startswith(prefix)}


def _joined(weights: Tensors, average: Tensors, model: Model) -> dict:
    from flwr.app import Array

    moments = model.moments()
    parts = ((WEIGHTS, packed(weights, moments)), (AVERAGE, packed(average, moments)))
    return {prefix + name: Array(array) for prefix, arrays in parts for name, array in arrays.items()}


def remember(memory: "RecordDict", stage: int, tensors: Tensors) -> None:
    """Keep the optimiser's moments until the next round."""
    from flwr.app import Array, ArrayRecord, ConfigRecord

    memory["moments"] = ArrayRecord({name: Array(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()})
    memory["stage"] = ConfigRecord({"number": stage})


def recalled(memory: "RecordDict", stage: int) -> Tensors:
    """The optimiser's moments of the round before, or none where another stage was trained."""
    if "stage" not in memory or memory["stage"]["number"] != stage:
        return {}
    return {f"optimizer.{name}": torch.from_numpy(np.array(array.numpy())) for name, array in memory["moments"].items()}
