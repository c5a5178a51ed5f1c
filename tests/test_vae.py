"""The hierarchical VAE: its bound, its latents, and what it must find again in images whose truth is planted."""
import math

import numpy as np
import pytest
import torch
from toys import BRIGHT, SCHEMA, toy_cohort, toy_table

from synthkit.core.budget import Steps
from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.space import Channel, Space
from synthkit.errors import AbilityError, FitError
from synthkit.generators.generator import Generator
from synthkit.generators.vae import VAE, best_scale, bits
from synthkit.nets.ladder import Ladder
from synthkit.nets.network import Batch
from synthkit.nets.rung import FARTHEST, Posterior

NET = {"widths": (16, 16), "embedding": 32}
QUIET, LOUD, PATTERN = 0.04, 0.16, 0.3
# Two films in one: the finding sets the brightness, an unknown side carries a bright half, and the lower rows are noisier.
SIDE = torch.ones(1, 8, 8) * torch.tensor([-1.0] * 4 + [1.0] * 4)
NOISE = torch.cat([torch.full((1, 4, 8), QUIET), torch.full((1, 4, 8), LOUD)], 1)


def planted(count: int, *, seed: int, prefix: str = "p") -> tuple[Cohort, torch.Tensor]:
    """A cohort of such films, and the side of each (N,), which no factor names."""
    rng, table = np.random.default_rng(seed), toy_table(count, seed=seed, prefix=prefix)
    side = torch.from_numpy(rng.choice([-1.0, 1.0], count)).float()
    noise = torch.from_numpy(rng.normal(0, 1, (count, 1, 8, 8))).float() * NOISE
    images = 0.6 * torch.tensor(table["lesion"].map(BRIGHT).to_numpy(np.float32)).reshape(-1, 1, 1, 1) + PATTERN * side.reshape(-1, 1, 1, 1) * SIDE + noise
    space = Space((8, 8), (Channel("grey", high=65535),))
    return Cohort.of(space.to_raw(images), table, schema=SCHEMA, space=space, provenance=Provenance("real", "planted", licence="CC0")), side


@pytest.fixture(scope="module")
def generator() -> Generator:
    return VAE(options=NET, batch_size=32, learning_rate=6e-3).fit(planted(256, seed=0)[0], budget=Steps(150), seed=0)


def untrained(*, size: tuple[int, ...], channels: int = 1, **options: object) -> tuple[torch.nn.Module, torch.Tensor, torch.Tensor]:
    """A network with random weights everywhere, images and codes for it."""
    torch.manual_seed(0)
    space = Space(size, tuple(Channel(f"c{i}") for i in range(channels)))
    network = VAE(options={**NET, **options}).network(SCHEMA, space)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return network, torch.rand(3, channels, *size) * 2 - 1, torch.randn(3, SCHEMA.width)


def test_the_divergence_is_that_of_the_two_gaussians_whatever_the_prior():
    mean, log_scale, prior_mean = torch.randn(5, 2, 3, 3), -torch.rand(5, 2, 3, 3) * 3, torch.randn(5, 2, 3, 3)
    for prior_scale in (torch.tensor(0.1), torch.rand(5, 2, 3, 3) + 0.2):
        prior = torch.distributions.Normal(prior_mean, prior_scale)
        posterior = torch.distributions.Normal(prior_mean + prior_scale * mean, prior_scale * log_scale.exp())
        expected = torch.distributions.kl_divergence(posterior, prior).flatten(1).sum(1)
        assert torch.allclose(Posterior(mean, log_scale).divergence(), expected, rtol=1e-4)
    assert torch.equal(Posterior(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4)).divergence(), torch.zeros(2)), "what says nothing costs nothing"


def test_bits_are_the_cross_entropy_in_grey_levels():
    x, level = torch.zeros(400, 1, 16, 16), 2 / 255
    torch.manual_seed(0)
    x = x + 0.15 * torch.randn_like(x)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * (0.15 / level) ** 2)
    assert float(bits(x, torch.zeros_like(x), torch.tensor(0.15)).mean()) == pytest.approx(entropy, abs=0.01)
    exact = torch.rand(8, 1, 4, 4)
    assert float(bits(exact, exact, best_scale(exact, exact)).mean()) == pytest.approx(0.5 * math.log2(2 * math.pi * math.e / 12), abs=1e-4)


def test_the_best_scale_is_the_best_and_each_channel_has_its_own():
    torch.manual_seed(0)
    x = torch.randn(64, 2, 8, 8) * torch.tensor([0.1, 0.4]).reshape(1, 2, 1, 1)
    mean = torch.zeros_like(x)
    scale = best_scale(x, mean)
    assert scale.flatten().tolist() == pytest.approx([0.1, 0.4], rel=0.03)
    at_best = float(bits(x, mean, scale).mean())
    for wrong in (0.9 * scale, 1.1 * scale, scale.mean().expand_as(scale), scale.flip(1)):
        assert float(bits(x, mean, wrong).mean()) > at_best + 0.005
    loud = torch.cat([x[:1], 3 * x[:1]])
    own = best_scale(loud, torch.zeros_like(loud), each=True)
    assert own.shape == (2, 2, 1, 1) and torch.allclose(own[1], 3 * own[0], rtol=1e-3), "and with `each`, every image"


@pytest.mark.parametrize(("size", "channels"), [((16, 16), 1), ((13, 10), 2), ((44, 20), 1), ((5, 9, 8), 1)])
def test_any_image_comes_back_exactly_even_from_an_untrained_network(size, channels):
    network, x, c = untrained(size=size, channels=channels)
    with torch.no_grad():
        z = network.encode(x, c)
        assert z.shape == (3, *network.latent_shape())
        assert torch.allclose(network.decode(z, c), x, atol=1e-5)
        assert torch.allclose(network.encode(x[:1], c[:1]), z[:1], atol=1e-3), "images of a batch do not see each other"


def test_the_rungs_alone_give_the_posterior_mean():
    network, x, c = untrained(size=(16, 16))
    with torch.no_grad():
        noise, ground = network.ladder.encode(x, c)
        again = network.ladder.decode(noise, c)
        narrow, _ = network.ladder(x, c, still, torch.full((3,), len(network.ladder.shapes)))
    assert torch.allclose(again.mean, ground.mean, atol=1e-5) and torch.allclose(again.scale, ground.scale, atol=1e-5)
    assert torch.allclose(narrow.mean, ground.mean, atol=1e-5), "draws of zero are the means"
    assert (noise.abs() > 0).all() and float((ground.mean - x).abs().mean()) > 0.01, "the pixels' own noise is what the rungs leave over"


def still(*shape: int) -> torch.Tensor:
    """Draws of zero."""
    return torch.zeros(shape)


def test_a_cut_ladder_knows_only_what_stands_above_the_cut():
    network, x, c = untrained(size=(16, 16))
    ladder = network.ladder
    sizes = [math.prod(shape) for shape in ladder.shapes]
    with torch.no_grad():
        noise, _ = ladder.encode(x, c)
        costs = [ladder(x, c, still, torch.full((3,), depth))[1] for depth in range(len(sizes) + 1)]
        ground, nats = ladder(x, c, still, torch.tensor([0, 1, len(sizes)]))
        for row, depth in enumerate((0, 1, len(sizes))):
            left = noise[row : row + 1] * (torch.arange(noise.shape[1]) < sum(sizes[:depth]))
            assert torch.allclose(ground.mean[row], ladder.decode(left, c[row : row + 1]).mean[0], atol=1e-5)
            assert torch.allclose(nats[row], costs[depth][row], rtol=1e-4)
    assert torch.equal(costs[0], torch.zeros(3)) and all((more > less).all() for less, more in zip(costs, costs[1:]))


def test_ladders_are_cut_in_training_only_and_in_the_share_that_was_asked_for():
    network, x, c = untrained(size=(16, 16))
    x, c, seen = x.repeat(8, 1, 1, 1), c.repeat(8, 1), []
    network.ladder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[3]))
    rungs = len(network.ladder.shapes)
    for step in range(40):
        network.training_step(Batch(x, c, torch.Generator().manual_seed(step)))
    depths = torch.stack(seen)
    assert (depths[:, 12:] == rungs).all() and set(depths[:, :12].unique().tolist()) == set(range(rungs)), "half of them, anywhere below the last rung"
    network.eval().training_step(Batch(x, c, torch.Generator().manual_seed(0)))
    assert (seen[-1] == rungs).all()


def test_the_levels_reach_as_far_as_their_resolution():
    """Only the first numbers of z, those of the coarsest level, reach the whole image; the last are one pixel each."""
    network, x, c = untrained(size=(64, 64), widths=(8, 8, 8), patch=2)
    shapes = network.ladder.shapes
    assert shapes == [(1, 8, 8), (1, 8, 8), (1, 16, 16), (4, 32, 32)] and network.latent_shape() == (64 + 64 + 256 + 4096 + 4096,)
    z = torch.randn(1, *network.latent_shape())
    with torch.no_grad():
        # Normalisation spreads every change a little over the whole image.
        moved = {at: (network.decode(z + 3 * torch.eye(len(z[0]))[at], c[:1]) - network.decode(z, c[:1])).abs()[0, 0] for at in (27, 64 + 64 + 256 + 500, -1)}
    wide = {at: int((change > 0.2 * change.max()).sum()) for at, change in moved.items()}
    assert wide[27] > 2 * wide[64 + 64 + 256 + 500] and wide[-1] == 1


def test_the_scales_learn_without_bending_the_rest():
    network, x, c = untrained(size=(16, 16))
    batch = Batch(x, c, torch.Generator().manual_seed(0))
    network.training_step(batch).backward()
    rest = {name: weight.grad.clone() for name, weight in network.named_parameters() if not name.startswith("ladder.scale")}
    assert all(grad.abs().sum() > 0 for name, grad in rest.items()), "every weight learns"
    assert all(weight.grad.abs().sum() > 0 for weight in network.ladder.scale.parameters())
    network.zero_grad()
    with torch.no_grad():
        for weight in network.ladder.scale.parameters():
            weight.add_(1.0)
    network.training_step(Batch(x, c, torch.Generator().manual_seed(0))).backward()
    assert all(torch.allclose(weight.grad, rest[name], atol=1e-6) for name, weight in network.named_parameters() if name in rest)


def test_the_loss_is_the_bound_with_the_scale_of_each_pixel():
    network, x, c = untrained(size=(16, 16))
    with torch.no_grad():
        loss = network.eval().training_step(Batch(x, torch.zeros_like(c), torch.Generator().manual_seed(0)))
        draws = Batch(x, torch.zeros_like(c), torch.Generator().manual_seed(0))
        draws.uniform(0)
        ground, nats = network.ladder(x, network.hiding(draws), draws.normal, torch.full((3,), len(network.ladder.shapes)))
    expected = bits(x, ground.mean, ground.scale).mean() + nats.mean() / 256 / math.log(2)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5) and float(nats.min()) > 0


def test_no_image_makes_the_loss_explode():
    network, x, c = untrained(size=(16, 16))
    for strange in (1e4 * x, torch.full_like(x, 1e6)):
        network.zero_grad()
        with torch.no_grad():
            noise, ground = network.ladder.encode(strange, c)
        loss = network.training_step(Batch(strange, c, torch.Generator().manual_seed(0)))
        loss.backward()
        assert noise.abs().max() <= FARTHEST and loss.isfinite() and all(w.grad.isfinite().all() for w in network.parameters())


def test_a_side_that_no_factor_names_is_drawn_not_averaged(generator):
    """A model without latents would answer the mean of both sides: 0 here."""
    fake = generator.using(grain=1e-3).sample(SCHEMA.grid(lesion=["absent", "present"], each=30), seed=0)
    along = (fake.images.tensor() * SIDE).mean((1, 2, 3)) / PATTERN
    assert ((along.abs() > 0.5) & (along.abs() < 1.5)).float().mean() > 0.8 and 0.2 < float((along > 0).float().mean()) < 0.8


def test_the_noise_of_the_pixels_is_found_where_it_is(generator):
    fake = generator.sample(SCHEMA.grid(lesion=["absent"], sex=["F", "M"], each=50), seed=1).images.tensor()
    # Differences of neighbours in a row know neither brightness nor side.
    steps = (fake[..., 1:] - fake[..., :-1])[..., [0, 1, 2, 4, 5, 6]] / math.sqrt(2)
    assert float(steps[:, :, :4].std()) == pytest.approx(QUIET, abs=0.03) and float(steps[:, :, 4:].std()) == pytest.approx(LOUD, abs=0.03)


def test_an_edit_keeps_what_is_the_images_own(generator):
    cohort, side = planted(40, seed=5, prefix="n")
    cohort, side = cohort.where("lesion == 'present'"), side[torch.tensor((cohort.table["lesion"] == "present").to_numpy())]
    twin = generator.edit(cohort, {"lesion": "absent"})
    change = twin.images.tensor() - cohort.images.tensor()
    assert change.mean((1, 2, 3)).numpy() == pytest.approx(-0.6, abs=0.12), "the finding's brightness goes"
    along = (twin.images.tensor() * SIDE).mean((1, 2, 3)) / PATTERN
    assert torch.equal(along.sign(), side), "the side stays"
    assert twin.table["round_trip"].max() < 0.01
    own = cohort.images.tensor() - 0.3 - PATTERN * side.reshape(-1, 1, 1, 1) * SIDE
    left = twin.images.tensor() + 0.3 - PATTERN * side.reshape(-1, 1, 1, 1) * SIDE
    assert np.corrcoef(own.flatten(), left.flatten())[0, 1] > 0.8, "the noise stays"


def test_temperature_and_grain_can_be_changed_after_the_fit_and_encoding_follows(generator):
    cohort = planted(6, seed=9)[0]
    want = SCHEMA.grid(lesion=["absent"], each=24)
    spread = {}
    for temperature, grain in ((1.0, 1.0), (0.5, 1.0), (1e-3, 1.0), (1e-3, 1e-3)):
        other = generator.using(temperature=temperature, grain=grain)
        assert torch.allclose(other.decode(other.encode(cohort), cohort.table), cohort.images.tensor(), atol=1e-4)
        spread[temperature, grain] = float(other.sample(want, seed=0).images.tensor().std(0).mean())
    assert spread[1.0, 1.0] > spread[0.5, 1.0] > spread[1e-3, 1.0] > 10 * spread[1e-3, 1e-3]
    with pytest.raises(AbilityError, match="kl_weight cannot be changed after the fit; what can: temperature, grain"):
        generator.using(kl_weight=2.0)


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"grain": -1}, {"kl_weight": 0}, {"drop": 1}, {"cut": 1}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(FitError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        VAE(**wrong)


@pytest.mark.parametrize("wrong", [{"latents": (2,)}, {"rungs": (1, 1, 1)}, {"latents": (0, 2)}])
def test_levels_that_do_not_fit_are_refused_before_training(wrong):
    with pytest.raises(FitError, match="one number of 1 or more for each level"):
        VAE(options={**NET, **wrong}).fit(toy_cohort(8), budget=Steps(1))


def test_more_than_one_channel_and_rungs_of_ones_own():
    ladder = Ladder(channels=3, size=(12, 12), condition_width=0, widths=(8, 16), latents=(2, 4), rungs=(2, 3), patch=1, embedding=16)
    assert ladder.shapes == [(4, 6, 6)] * 3 + [(2, 12, 12)] * 2
    ground, nats = ladder(torch.randn(2, 3, 12, 12), torch.zeros(2, 0), still, torch.tensor([5, 5]))
    assert ground.mean.shape == ground.scale.shape == (2, 3, 12, 12) and nats.shape == (2,) and (ground.scale > 0).all()
