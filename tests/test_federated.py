"""Several hospitals: what is averaged, what is refused, what is recorded, and that nothing depends on where the sites run."""
import json
import sys
import time
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from loopback import hospitals, killed, rows_of, wait_for
from torch import nn
from toys import SCHEMA, SMALL_NET, toy_cohort

import synthkit as sk
from synthkit.core.budget import Steps
from synthkit.core.lineage import manifest_root
from synthkit.errors import DataError, FitError, LeakageError, MissingExtraError, SchemaError
from synthkit.generators.latent import LatentDiffusion
from synthkit.generators.stages import Stage
from synthkit.nets.network import Batch, Network, Trainable
from synthkit.scale.federated.model import Model, Moments, packed, unpacked
from synthkit.scale.federated.orders import Orders, schedule
from synthkit.scale.federated.proximal import Proximal
from synthkit.scale.federated.screening import screened, steepest
from synthkit.scale.federated.site import Site

pytest.importorskip("flwr")
NET = {"widths": (8, 8), "embedding": 16}
RECIPE = sk.Diffusion(options=NET, batch_size=8, steps=4, learning_rate=4e-3)
HOW = {"rounds": 3, "local_steps": 4, "seed": 3}


def site(count: int, prefix: str, **how: object) -> sk.Cohort:
    return toy_cohort(count, size=(8, 8), prefix=prefix, seed=len(prefix) + ord(prefix[0]), **how)


@pytest.fixture(scope="module")
def sites() -> dict[str, sk.Cohort]:
    return {"north": site(24, "n"), "south": site(12, "s"), "west": site(16, "w")}


@pytest.fixture(scope="module")
def two(sites) -> dict[str, sk.Cohort]:
    return {name: sites[name] for name in ("north", "south")}


@pytest.fixture(scope="module")
def generator(sites) -> sk.Generator:
    return sk.federate(RECIPE, sites, **HOW)


def at_site(monkeypatch, name: str, change) -> None:
    """Let `change(round, reply)` stand between what one site trains and what it answers."""
    plain = Site.train

    def train(self: Site, message, context):
        orders = Orders.of(message.content["config"])
        return change(orders.number, plain(self, message, context)) if self.name == name else plain(self, message, context)

    monkeypatch.setattr(Site, "train", train)


def answered(cohort: sk.Cohort, name: str, *, steps: int = 4, mu: float = 0.0) -> dict[str, np.ndarray]:
    """What one site alone answers in the first round."""
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict

    model = Model.of(RECIPE, cohort.schema, cohort.space, seed=HOW["seed"])
    orders = schedule(RECIPE, model.stages, rounds=1, local_steps=steps, seed=HOW["seed"])[0]
    weights = {key: Array(array) for key, array in packed(model.weights(), []).items()}
    arrays = ArrayRecord({f"{prefix}/{key}": array for prefix in ("weights", "average") for key, array in weights.items()})
    config = ConfigRecord({**orders.record(), **({"proximal-mu": mu} if mu else {})})
    message = Message(RecordDict({"arrays": arrays, "config": config}), 1, MessageType.TRAIN)
    reply = Site(name, cohort).app()(message, Context(run_id=0, node_id=1, node_config={}, state=RecordDict(), run_config={}))
    return {key: array.numpy() for key, array in reply.content["arrays"].items()}


def test_a_round_is_the_mean_of_the_sites_weighted_by_images(two):
    gen = sk.federate(RECIPE, two, rounds=1, local_steps=4, seed=HOW["seed"])
    parts = [(len(cohort), answered(cohort, name)) for name, cohort in two.items()]
    assert any(np.abs(array - parts[1][1][name]).max() > 1e-3 for name, array in parts[0][1].items()), "the sites learn different things"
    for name, tensor in gen.trained.state_dict().items():
        mean = sum(count * arrays[f"average/network.{name}"].astype(float) for count, arrays in parts) / 36
        assert np.allclose(tensor.cpu().numpy(), mean, atol=1e-7), name


def test_two_sites_alike_train_as_one_site_does_without_a_pause(monkeypatch, sites):
    """Rounds lose nothing: schedule, moments of AdamW, moving average and noise go on as in one run, to the bit."""
    twin = replace(sites["north"], table=sites["north"].table.assign(patient_id=lambda t: "twin-" + t["patient_id"]))
    monkeypatch.setattr(Site, "_seed", lambda self, orders: orders.seed)
    gen = sk.federate(RECIPE, {"north": sites["north"], "twin": twin}, **HOW)
    assert gen.weights_digest() == RECIPE.fit(sites["north"], budget=Steps(12), seed=3).weights_digest()


def test_neither_the_order_of_the_sites_nor_a_list_changes_a_bit(generator, sites):
    turned = sk.federate(RECIPE, dict(reversed(sites.items())), **HOW)
    assert turned.weights_digest() == generator.weights_digest()
    listed = [replace(cohort, provenance=replace(cohort.provenance, source=name)) for name, cohort in sites.items()]
    assert sk.federate(RECIPE, listed, **HOW).weights_digest() == generator.weights_digest()
    assert sk.federate(RECIPE, sites, **{**HOW, "seed": 4}).weights_digest() != generator.weights_digest()


class Cube(Trainable):
    """A weight and a loss of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self.weight.pow(3).sum()


def test_the_proximal_term_stands_in_the_loss_and_in_its_gradient():
    inner = Cube()
    held = Proximal(inner, mu=0.5)
    with torch.no_grad():
        inner.weight += torch.tensor([1.0, 2.0])  # now 2 and 0, which is 1 and 2 away
    loss = held.training_step(None)
    loss.backward()
    assert loss.item() == pytest.approx(8 + 0.25 * 5)
    assert inner.weight.grad.tolist() == pytest.approx([3 * 4 + 0.5 * 1, 0 + 0.5 * 2])
    assert list(held.state_dict()) == ["inner.weight"], "the anchor is not sent"


def test_fedprox_holds_the_sites_nearer_and_its_weight_matters(two):
    lengths = []
    for mu in (0.0, 0.1, 10.0):
        before, after = Model.of(RECIPE, SCHEMA, two["north"].space, seed=3).weights(), answered(two["north"], "north", steps=20, mu=mu)
        lengths.append(sum(float(((after[f"weights/{name}"] - t.numpy()) ** 2).sum()) for name, t in before.items()) ** 0.5)
    assert lengths[0] > 1.3 * lengths[1] > 1.3 * 1.3 * lengths[2]
    plain, near = (sk.federate(RECIPE, two, rounds=1, local_steps=20, strategy=name, mu=1.0) for name in ("fedavg", "fedprox"))
    assert sk.federation(near).rows["length"].sum() < 0.7 * sk.federation(plain).rows["length"].sum()
    assert near.card.trained_on["provenance"]["recipe"]["federated"]["mu"] == 1.0


class Normed(Network, Trainable):
    """A network with statistics of its images."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def latent_shape(self) -> tuple[int, ...]:
        return (3,)

    def decode(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.norm(z)

    def training_step(self, batch: Batch) -> torch.Tensor:
        return self.norm(batch.x).mean()


def test_statistics_of_normalisation_are_joined_as_if_the_images_were_pooled():
    rng = np.random.default_rng(0)
    rows = [rng.normal(mean, spread, (count, 3)) for mean, spread, count in ((-2, 1, 40), (3, 0.5, 10))]
    network = Normed()
    model = Model(network, (Stage("one", network),))
    assert model.moments() == [Moments("network.norm.running_mean", "network.norm.running_var", 1)]
    sent = []
    for part in rows:
        network.norm.running_mean.copy_(torch.from_numpy(part.mean(0)))
        network.norm.running_var.copy_(torch.from_numpy(part.var(0)))
        network.norm.num_batches_tracked.fill_(7)
        sent.append(packed(model.weights(), model.moments()))
    mean = {name: (40 * sent[0][name] + 10 * sent[1][name]) / 50 for name in sent[0]}
    back = unpacked(mean, model.weights(), model.moments())
    whole = np.concatenate(rows)
    assert np.allclose(back["network.norm.running_mean"], whole.mean(0), atol=1e-6)
    assert np.allclose(back["network.norm.running_var"], whole.var(0), atol=1e-5)
    assert back["network.norm.num_batches_tracked"] == 7 and back["network.norm.num_batches_tracked"].dtype == torch.int64


def test_a_latent_space_is_scaled_by_the_latents_of_all_sites(two):
    recipe = LatentDiffusion(options=NET, codec_options={"widths": (8, 8)}, batch_size=8, steps=4)
    gen = sk.federate(recipe, two, rounds=4, local_steps=3, seed=0)
    network = gen.trained.cpu()
    with torch.no_grad():
        mean, sigma = (torch.cat(parts) for parts in zip(*(network.codec.encode(cohort.images.tensor()) for cohort in two.values())))
    over = (0, 2, 3)
    assert torch.allclose(network.scaling.shift, mean.mean(over), atol=1e-4)
    assert torch.allclose(network.scaling.scale, (mean.var(over, correction=0) + sigma.square().mean(over)).sqrt(), rtol=1e-3)
    rows = sk.federation(gen).rows
    assert (rows["event"] == "measured").sum() == 2 and rows.loc[rows["event"] == "used", "round"].nunique() == 4


@pytest.mark.parametrize(("betas", "worst"), [((0.9, 0.99), 0.8), ((0.0, 0.99), 0.8)])
def test_no_gradient_leads_a_weight_farther_than_the_bound_and_the_worst_comes_near(betas, worst):
    steps, lr, found = 300, 1e-2, 0.0
    for growth in (1.0, betas[0] / betas[1] if betas[0] else 0.0, 0.5, 1.5):
        weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
        adam = torch.optim.AdamW([weight], lr=lr, betas=betas, weight_decay=0.0)
        for step in range(steps):
            before = weight.item()
            age = steps - 1 - step
            weight.grad = torch.full((1,), 1e3 * growth**age if growth <= 1 else growth ** (-age), dtype=torch.float64).clamp(min=1e-60)
            adam.step()
            found = max(found, abs(weight.item() - before) / lr)
    ratio = steepest(betas)
    assert worst * ratio < found <= ratio * 1.001


def arrays_of(**values: float) -> dict[str, np.ndarray]:
    return {f"{part}/{name}": np.full(4, value, np.float32) for name, value in values.items() for part in ("weights", "average")}


@pytest.mark.parametrize(
    ("update", "count", "reason"),
    [
        (arrays_of(a=0.1), (8, 8), ""), (arrays_of(a=np.nan), (8, 8), "no number"), (arrays_of(a=np.inf), (8, 8), "no number"),
        (arrays_of(a=5.0), (8, 8), "farther than its steps"), (arrays_of(a=0.1), (800, 8), "counts 800 images and told of 8"),
        (arrays_of(b=0.1), (8, 8), "not those that were sent"), ({**arrays_of(a=0.1), "average/a": np.full(4, 9, np.float32)}, (8, 8), "farther"),
    ],
)  # fmt: skip
def test_an_update_that_no_training_can_have_made_is_refused(update, count, reason):
    (found,) = screened(arrays_of(a=0.0), {"north": update}, {"north": count}, frozenset({"a"}), (0.0, 1.0)).values()
    assert bool(found.reason) == bool(reason) and reason in found.reason


def test_what_no_step_changes_may_not_come_back_changed(monkeypatch, sites):
    from flwr.app import Array, ArrayRecord

    def poisoned(number, reply):
        """A scale of the latent space a thousand times as large, which no bound on steps knows of."""
        arrays = {name: array.numpy() for name, array in reply.content["arrays"].items()}
        if number:
            reply.content["arrays"] = ArrayRecord({name: Array(array * 1e6 if name.endswith("scaling.scale") else array) for name, array in arrays.items()})
        return reply

    at_site(monkeypatch, "west", poisoned)
    recipe = LatentDiffusion(options=NET, codec_options={"widths": (8, 8)}, batch_size=8, steps=4)
    lost = sk.federation(sk.federate(recipe, sites, rounds=2, local_steps=2, seed=0)).lost()
    assert lost[["round", "site", "event"]].to_numpy().tolist() == [[2, "west", "rejected: network.scaling.scale changed, which no step does"]]


@pytest.mark.parametrize("part", ["arrays", "metrics", "num-examples"])
def test_an_answer_that_lacks_a_part_ends_no_training(monkeypatch, sites, two, part):
    def torn(number, reply):
        del (reply.content if part in reply.content else reply.content["metrics"])[part]
        return reply

    at_site(monkeypatch, "west", torn)
    gen = sk.federate(RECIPE, sites, **HOW)
    assert gen.weights_digest() == sk.federate(RECIPE, two, **HOW).weights_digest()
    assert sk.federation(gen).lost()["event"].tolist() == ["rejected: the answer lacks weights or counts"] * 3


def test_a_site_that_cannot_judge_has_trained_all_the_same(monkeypatch, sites):
    def full(self, message, context):
        raise MemoryError("full")

    monkeypatch.setattr(Site, "judge", full)
    gen = sk.federate(RECIPE, sites, **HOW)
    found = sk.federation(gen)
    assert found.rows["event"].tail(3).tolist() == ["judged in vain, failed: MemoryError: full"] * 3
    assert found.lost().empty and gen.card.training["sites with lost rounds"] == "none"
    assert gen.sample(SCHEMA.grid(lesion=["present"]), seed=0).provenance.parents[0].recipe["federated"]["events"] == []


def test_what_was_trained_is_kept_where_all_sites_leave_after_the_last_round(monkeypatch, generator, sites):
    from synthkit.scale.federated.one_machine import OneMachine

    there, trained = OneMachine.get_node_ids, []
    at_site(monkeypatch, "west", lambda number, reply: trained.append(number) or reply)  # the last of each round
    monkeypatch.setattr(OneMachine, "get_node_ids", lambda self: [] if trained == [1, 2, 3] else there(self))
    gen = sk.federate(RECIPE, sites, **HOW)
    assert gen.weights_digest() == generator.weights_digest() and set(sk.federation(gen).rows["event"]) == {"used"}


def test_an_update_much_longer_than_the_others_is_refused_and_two_alone_are_not_compared():
    updates = {name: arrays_of(a=value) for name, value in (("n", 0.1), ("s", -0.12), ("w", 0.9))}
    verdicts = screened(arrays_of(a=0.0), updates, dict.fromkeys(updates, (8, 8)), frozenset({"a"}), (0.0, 1.0))
    assert [bool(one.reason) for one in verdicts.values()] == [False, False, True] and "7.5 times" in verdicts["w"].reason
    pair = {name: updates[name] for name in ("n", "w")}
    assert not any(one.reason for one in screened(arrays_of(a=0.0), pair, dict.fromkeys(pair, (8, 8)), frozenset({"a"}), (0.0, 1.0)).values())


@pytest.mark.parametrize("poison", [np.nan, -30.0])
def test_a_poisoned_site_changes_nothing_and_is_named(monkeypatch, sites, two, poison):
    from flwr.app import Array, ArrayRecord

    def poisoned(number, reply):
        reply.content["arrays"] = ArrayRecord({name: Array(array.numpy() * np.float32(poison)) for name, array in reply.content["arrays"].items()})
        return reply

    at_site(monkeypatch, "west", poisoned)
    gen = sk.federate(RECIPE, sites, **HOW)
    assert gen.weights_digest() == sk.federate(RECIPE, two, **HOW).weights_digest()
    lost = sk.federation(gen).lost()
    assert lost["site"].tolist() == ["west"] * 3 and lost["event"].str.startswith("rejected: ").all()
    assert not gen.knows(sites["west"]).any() and gen.knows(sites["north"]).all(), "whose update never counted was not learnt from"


def test_a_site_that_dies_in_round_two_is_survived_and_stands_in_the_provenance_of_every_image(monkeypatch, sites):
    def dies(number, reply):
        if number >= 2:
            raise ConnectionError("the line is dead")
        return reply

    at_site(monkeypatch, "south", dies)
    gen = sk.federate(RECIPE, sites, **HOW)
    fake = gen.sample(SCHEMA.grid(lesion=["present"]), seed=0)
    (taught,) = fake.provenance.parents
    assert taught.recipe["federated"]["events"] == [{"round": n, "site": "south", "event": "failed: ConnectionError: the line is dead"} for n in (2, 3)]
    assert "south, round 2" in sk.federation(gen).caveats()[0] and gen.card.training["sites with lost rounds"] == "south"
    assert gen.knows(sites["south"]).all(), "its first round was learnt from"


def test_what_the_server_says_for_a_node_that_is_gone_is_that_nodes_answer(monkeypatch, sites):
    """Flower's server signs it with its own number, and names only the message that it answers."""
    from flwr.app import Error, Message

    from synthkit.scale.federated.one_machine import OneMachine

    plain = OneMachine._answer

    def gone(self, message):
        message.metadata.__dict__["_message_id"] = f"to {message.metadata.dst_node_id}"
        reply = plain(self, message)
        if message.metadata.message_type == "train" and Orders.of(message.content["config"]).number == 2 and message.metadata.dst_node_id == 102:
            reply = Message(Error(5, "Node Unavailable"), reply_to=message)
            reply.metadata.__dict__["_src_node_id"] = 1
        return reply

    monkeypatch.setattr(OneMachine, "_answer", gone)
    lost = sk.federation(sk.federate(RECIPE, sites, **HOW)).lost()
    assert lost[["round", "site", "event"]].to_numpy().tolist() == [[2, "south", "failed: Node Unavailable"]]


def test_an_answer_that_comes_too_late_is_not_waited_for(monkeypatch, sites):
    clock = {"ahead": 0.0}
    monkeypatch.setattr("synthkit.scale.federated.one_machine.time", type("Clock", (), {"monotonic": staticmethod(lambda: time.monotonic() + clock["ahead"])}))

    def late(number, reply):
        clock["ahead"] += 1000.0 * (number == 2)
        return reply

    at_site(monkeypatch, "north", late)
    gen = sk.federate(RECIPE, sites, **HOW, timeout_s=500)
    assert sk.federation(gen).lost()[["round", "site", "event"]].to_numpy().tolist() == [[2, "north", "no answer in time"]]


def test_a_round_without_any_usable_update_ends_with_the_reasons(monkeypatch, two):
    def dies(self, message, context):
        raise MemoryError("full")

    monkeypatch.setattr(Site, "train", dies)
    with pytest.raises(FitError, match=r"round 1: no site's update can be used \(north: failed: MemoryError: full; south: failed"):
        sk.federate(RECIPE, two, **HOW)


def test_the_provenance_names_every_site_by_its_manifest_root_and_holds_no_pixels(generator, sites):
    record = generator.sample(SCHEMA.grid(lesion=["present"]), seed=0).provenance
    (taught,) = record.parents
    assert {p.source: p.digests["root"] for p in taught.parents} == {f"{name}: toy": manifest_root(cohort) for name, cohort in sites.items()}
    assert (taught.kind, taught.recipe["federated"]["sites"]) == ("real", {"north": 24, "south": 12, "west": 16}) and record.licence == "CC0"
    fake = generator.sample(SCHEMA.grid(lesion=["present"]), seed=0)
    assert all(sk.trace(fake.table["image_id"].iloc[0], cohort=fake, train=cohort).learnt for cohort in sites.values()), "each site finds itself"
    assert not sk.trace(fake.table["image_id"].iloc[0], cohort=fake, train=site(8, "x")).learnt
    text = json.dumps(generator.card.to_json())
    assert len(text) < 20_000 and not any(name in text for cohort in sites.values() for name in cohort.table["patient_id"])
    assert (generator.card.trained_on["images"], generator.card.trained_on["patients"]) == (52, 52)


def test_a_condition_that_names_a_patient_does_not_leave_its_site(two):
    some = {**two, "north": two["north"].where("patient_id != 'n-3' and sex == 'F'")}
    told = sk.federate(RECIPE, some, rounds=1, local_steps=1).sample(SCHEMA.grid(lesion=["present"]), seed=0).provenance
    assert "n-3" not in json.dumps(told.to_json()) and told.parents[0].parents[0].recipe["steps"] == [{"where": "a condition"}]


def test_its_patients_are_known_again_and_refused_where_unseen_ones_are_needed(generator, sites):
    assert all(generator.knows(cohort).all() for cohort in sites.values()) and not generator.knows(site(5, "x")).any()
    with pytest.raises(LeakageError, match="learnt from"):
        RECIPE.fit(site(8, "y"), valid=sites["west"], budget=Steps(1), start=generator)


def test_what_is_saved_comes_back_and_samples_the_same(generator, tmp_path):
    back = sk.Generator.load(generator.save(tmp_path))
    want = SCHEMA.grid(lesion=["absent", "present"])
    assert np.array_equal(back.sample(want, seed=1).images.raw(), generator.sample(want, seed=1).images.raw())
    assert sk.federation(back).rows.equals(sk.federation(generator).rows)


def test_the_rounds_are_a_section_with_a_row_per_site_and_the_bytes_of_both_ways(generator, sites):
    found = sk.federation(generator)
    rounds = found.rows[found.rows["event"] == "used"]
    numbers = sum(tensor.numel() for tensor in generator.trained.state_dict().values())
    assert len(rounds) == 9 and (rounds[["bytes_sent", "bytes_received"]] == 2 * 4 * numbers).all(axis=None), "weights and their average, four bytes each"
    assert found.bytes == 9 * 2 * 2 * 4 * numbers + 3 * 4 * numbers and rounds["images"].tolist() == [24, 12, 16] * 3
    judged = found.rows[found.rows["event"].str.startswith("judged")]
    assert (judged["low"] <= judged["loss"]).all() and (judged["loss"] <= judged["high"]).all() and "trained on" in " ".join(found.caveats())
    assert {trace.name for trace in found.figure().data} == set(sites)
    with pytest.raises(DataError, match="trained at one place"):
        sk.federation(RECIPE.fit(site(8, "z"), budget=Steps(1)))


def test_a_factor_that_is_the_same_at_each_site_is_named_since_averaging_cannot_learn_it(two, generator):
    women, men = (replace(cohort, table=cohort.table.assign(sex=sex)) for cohort, sex in zip(two.values(), "FM"))
    told = sk.federation(sk.federate(RECIPE, {"north": women, "south": men}, rounds=1, local_steps=1)).caveats()
    assert told[-1] == "Not learnt by averaging, since it is the same for all images of each site: sex."
    assert not any("Not learnt" in line for line in sk.federation(generator).caveats())


def test_patients_apart_judge_and_may_not_be_trained_on_anywhere(two):
    valid = {"north": site(8, "nv")}
    judged = sk.federation(sk.federate(RECIPE, two, **HOW, valid=valid)).rows.tail(2)
    assert judged["event"].tolist() == ["judged on unseen patients", "judged on its own training patients"] and judged["images"].tolist() == [8, 12]
    with pytest.raises(LeakageError, match="judged with"):
        sk.federate(RECIPE, two, **HOW, valid={"north": two["south"]})
    with pytest.raises(DataError, match="'east' is none of the sites north, south"):
        sk.federate(RECIPE, two, **HOW, valid={"east": site(8, "nv")})
    with pytest.raises(DataError, match="valid: 3 given for the sites north, south"):
        sk.federate(RECIPE, two, **HOW, valid=[site(8, "nv"), site(8, "sv"), site(8, "xv")])


def test_an_interrupted_training_goes_on_to_the_same_weights(monkeypatch, generator, sites, tmp_path):
    def pulled(number, reply):
        if number == 3:
            raise KeyboardInterrupt
        return reply

    with monkeypatch.context() as patch:
        at_site(patch, "south", pulled)
        with pytest.raises(KeyboardInterrupt):
            sk.federate(RECIPE, sites, **HOW, run=tmp_path)
    trained = []
    at_site(monkeypatch, "north", lambda number, reply: trained.append(number) or reply)
    again = sk.federate(RECIPE, sites, **HOW, run=tmp_path)
    assert trained == [3] and again.weights_digest() == generator.weights_digest() and len(sk.federation(again).rows) == 12
    with pytest.raises(FitError, match="another run"):
        sk.federate(RECIPE, sites, **{**HOW, "local_steps": 5}, run=tmp_path)


def test_it_goes_on_from_another_generator_and_says_so(two, generator):
    tuned = sk.federate(RECIPE, two, rounds=1, local_steps=1, start=generator)
    assert tuned.card.training["started from"]["weights"] == generator.weights_digest() and tuned.patients == generator.patients
    assert [parent.source for parent in tuned.sample(SCHEMA.grid(lesion=["present"]), seed=0).provenance.parents] == ["north + south", "north + south + west"]


def test_other_families_are_trained_too_players_and_teachers_with_them(two, generator):
    gan = sk.federate(sk.GAN(widths=(8, 8), batch_size=8), two, rounds=2, local_steps=2)
    assert set(sk.federation(gan).rows["event"]) == {"used"}, "a GAN has no loss of single images to judge by"
    student = sk.federate(sk.Student(options=NET, batch_size=8), two, rounds=1, local_steps=2, start=generator)
    assert student.evaluations == 2 and student.sample(SCHEMA.grid(lesion=["present"]), seed=0).images.raw().shape == (1, 1, 8, 8)
    with pytest.raises(FitError, match="learns from a fitted Diffusion"):
        sk.federate(sk.Student(options=NET, batch_size=8), two, rounds=1, local_steps=2)


BAD = [
    (lambda s: {"sites": s["north"]}, DataError, "give cohorts by name"),
    (lambda s: {"sites": [s["north"]]}, FitError, "1 given, and averaging needs two or more"),
    (lambda s: {"sites": {}}, FitError, "0 given"),
    (lambda s: {"sites": {"north": s["north"], "south": s["south"].table}}, DataError, r"sites\['south'\]: got a DataFrame"),
    (lambda s: {"sites": {"north": s["north"], "south": s["south"][:0]}}, FitError, "'south' is empty; leave it out"),
    (lambda s: {"sites": {"north": s["north"], "south": s["south"][:3]}}, FitError, "has 3 images"),
    (lambda s: {"sites": {"a": s["north"], "b": replace(s["south"], schema=SCHEMA.only(["sex"]))}}, SchemaError, "'a' alone has .*diameter"),
    (lambda s: {"sites": {"a": s["north"], "b": toy_cohort(8, prefix="b")}}, DataError, r"sizes \(8, 8\) and \(16, 16\)"),
    (lambda s: {"sites": {"a": s["north"], "b": s["north"][:6]}}, LeakageError, "6 patients of site 'a' stand at site 'b' too"),
    (lambda s: {"rounds": 0}, FitError, "rounds=0: give a whole number"),
    (lambda s: {"local_steps": 2.5}, FitError, "local_steps=2.5"),
    (lambda s: {"strategy": "fedmagic"}, FitError, "'fedmagic' is not one of fedavg, fedprox"),
    (lambda s: {"strategy": "fedprox", "mu": 0}, FitError, "mu=0: fedprox needs"),
    (lambda s: {"recipe": replace(RECIPE, privacy=sk.DP(epsilon=8), show=0)}, FitError, "counted at one place"),
    (lambda s: {"recipe": LatentDiffusion(), "rounds": 1}, FitError, "trained in 2 parts"),
    (lambda s: {"recipe": "Diffusion"}, DataError, "recipe: got 'Diffusion'"),
    (lambda s: {"timeout_s": -1}, FitError, "timeout_s=-1"), (lambda s: {"timeout_s": "5"}, DataError, "timeout_s='5'"),
]  # fmt: skip


@pytest.mark.parametrize(("wish", "kind", "message"), BAD)
def test_what_cannot_be_trained_together_is_refused_before_anything_is_written(two, sites, tmp_path, wish, kind, message):
    how = {"recipe": RECIPE, "sites": two, **HOW, "run": tmp_path / "run", **wish(sites)}
    with pytest.raises(kind, match=message):
        sk.federate(**how)
    assert not (tmp_path / "run").exists()


def test_without_flower_it_says_what_to_install(monkeypatch, two):
    for name in ("flwr.clientapp", "flwr.serverapp.strategy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"synthkit\[federated\]"):
        sk.federate(RECIPE, two, **HOW)


def test_exchanged_images_carry_their_sites_and_none_of_their_patients(monkeypatch, tmp_path):
    cohorts = {"north": site(40, "n"), "south": site(30, "s")}
    recipe = sk.Diffusion(options=SMALL_NET, batch_size=16, steps=4, learning_rate=4e-3)
    shared = sk.exchange(recipe, cohorts, budget=Steps(40), share=0.8, seed=0)
    rows = shared.frame().set_index("site")
    assert rows["asked"].tolist() == [32, 24] and (rows["asked"] - rows["left_out"] - rows["failed_checks"] == rows["sent"]).all()
    assert len(shared.pool) == rows["sent"].sum() and rows["bytes_sent"].sum() == shared.pool.images.raw().nbytes
    assert not {name for c in cohorts.values() for name in c.table["patient_id"]} & set(shared.pool.table["patient_id"])
    roots = {p.digests.get("root") for p in shared.generator.sample(SCHEMA.grid(lesion=["present"]), seed=0).provenance.all() if p.kind == "real"}
    assert roots == {manifest_root(cohort) for cohort in cohorts.values()} and shared.pool.provenance.kind == "synthetic"
    assert all(shared.generator.knows(cohort).all() for cohort in cohorts.values()), "their patients are behind it"
    with pytest.raises(FitError, match="share=0"):
        sk.exchange(recipe, cohorts, share=0)
    for name in ("../north", "/north", "..", "pool", ""):
        with pytest.raises(FitError, match="cannot name a folder inside run="):
            sk.exchange(recipe, {name: cohorts["north"], "south": cohorts["south"]}, budget=Steps(1), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(LeakageError, match="too"):
        sk.exchange(recipe, {"a": cohorts["north"], "b": cohorts["north"][:20]}, budget=Steps(1))
    with monkeypatch.context() as patch, pytest.raises(FitError, match="'south' has 19 patients, too few"):
        patch.setattr(sk.Diffusion, "fit", lambda *given, **more: pytest.fail("a site was trained"))
        sk.exchange(recipe, {"north": cohorts["north"], "south": cohorts["south"][:19]}, budget=Steps(1))


def test_a_project_for_other_machines_says_what_was_asked(tmp_path):
    folder = sk.flower_app(RECIPE, tmp_path / "app", sites=3, out=tmp_path / "out", rounds=5, strategy="fedprox", mu=0.1)
    told = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert told["config"]["rounds"] == 5 and json.loads(told["config"]["recipe"]) == json.loads(json.dumps(RECIPE.to_json()))
    for part in told["components"].values():
        module, name = part.split(":")
        space: dict[str, object] = {}
        exec((folder / f"{module}.py").read_text(), space)
        assert type(space[name]).__name__ in ("ClientApp", "ServerApp")
    proximal = {"strategy": "fedprox", "mu": 0}
    for wish, message in (({"strategy": "median"}, "not one of"), (proximal, "mu=0: fedprox needs"), ({"sites": 0}, "sites=0"), ({"wait_s": -1}, "wait_s=-1")):
        with pytest.raises(FitError, match=message):
            sk.flower_app(RECIPE, tmp_path / "other", **{"sites": 3, "out": tmp_path, **wish})
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_sites_in_processes_of_their_own_train_the_same_bits_and_a_killed_one_is_survived(monkeypatch, tmp_path, sites):
    """Over loopback with Flower's own server and nodes; one node is killed after round 1 of 3."""
    with hospitals(tmp_path, sites, RECIPE, **HOW, timeout_s=150) as nodes:
        wait_for(lambda: len(rows_of(tmp_path)) >= 3, 150)
        killed(nodes["south"])
        wait_for((tmp_path / "out" / "generator" / "generator.json").is_file, 300)
    found = sk.Generator.load(tmp_path / "out" / "generator")
    events = found.sample(SCHEMA.grid(lesion=["present"]), seed=0).provenance.parents[0].recipe["federated"]["events"]
    assert {(event["round"], event["site"]) for event in events} == {(2, "south"), (3, "south")}

    def dies(number, reply):
        if number >= 2:
            raise ConnectionError
        return reply

    at_site(monkeypatch, "south", dies)
    assert sk.federate(RECIPE, sites, **HOW).weights_digest() == found.weights_digest()
