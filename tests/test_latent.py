"""Latent diffusion: what its codec starts from and is taught, how latents are cached and scaled, and which codecs fit."""
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training import same_weights
from torch import nn
from toys import SCHEMA, SMALL_NET, PowerCut, toy_cohort

from synthkit.core.budget import Steps
from synthkit.core.schema import Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import FitError
from synthkit.generators.base import Recipe
from synthkit.generators.diffusion import FlowNetwork
from synthkit.generators.editing import inverted
from synthkit.generators.flow import integrate
from synthkit.generators.latent import LatentDiffusion, LatentNetwork, LatentTraining, Scaling, default_downsampling
from synthkit.nets.codec import Codec, CodecTraining, FoldedAutoencoder, divergence, edge_error, slow_cosines
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch
from synthkit.training.data import TrainingData

SMALL = LatentDiffusion(options=SMALL_NET, codec_options={"widths": (16, 16)}, batch_size=8, steps=4, learning_rate=4e-3)
TINY_KL = {"channels": (8, 8), "attention_levels": (False, False), "num_res_blocks": 1, "norm_num_groups": 4}


class Halving(nn.Module):
    """A codec that leaves out every other pixel and says that each latent has a spread of `sigma`."""

    def __init__(self, spatial_dims: int = 2, in_channels: int = 1, out_channels: int = 1, latent_channels: int = 1, sigma: float = 0.5):
        super().__init__()
        self.weight, self.sigma, self.seen = nn.Parameter(torch.ones(1)), sigma, []

    def encode(self, x):
        self.seen.append(len(x))
        z = self.weight * x[..., ::2, ::2]
        return z, torch.full_like(z, self.sigma)

    def decode(self, z):
        return z.repeat_interleave(2, -1).repeat_interleave(2, -2)


class Plain(Halving):
    """Pixels as they are."""

    def encode(self, x):
        return self.weight * x, torch.full_like(x, self.sigma)

    def decode(self, z):
        return z


class Single(Halving):
    """Answers no spread."""

    def encode(self, x):
        return x


class Cropping(Halving):
    """Gives back fewer pixels than it got."""

    def decode(self, z):
        return z


class Zero(nn.Module):
    """A velocity of nought."""

    def forward(self, x, t, c):
        return torch.zeros_like(x)


def space_of(size: tuple[int, ...], channels: int = 1) -> Space:
    return Space(size, tuple(Channel(f"c{i}") for i in range(channels)))


def batch_of(x: torch.Tensor, seed: int = 0) -> Batch:
    return Batch(x, torch.zeros(len(x), 0), torch.Generator().manual_seed(seed))


def own_codec(*, channels: int = 1, dims: int = 2, latents: int = 4, **options: object) -> FoldedAutoencoder:
    return FoldedAutoencoder(spatial_dims=dims, in_channels=channels, out_channels=channels, latent_channels=latents, **options)


@pytest.mark.parametrize(("side", "dims", "channels"), [(4, 2, 1), (8, 2, 3), (4, 3, 2), (2, 2, 1), (1, 2, 1)])
def test_cosines_are_orthogonal_and_stand_slowest_first(side, dims, channels):
    full = side**dims * channels
    basis = slow_cosines(side, dims, channels, full).flatten(1)
    assert torch.allclose(basis @ basis.T / side**dims, torch.eye(full), atol=1e-5)
    roughness = [float(sum(wave.diff(dim=axis).square().sum() for axis in range(1, dims + 1))) for wave in slow_cosines(side, dims, channels, full)]
    assert max(roughness[:channels]) < 1e-9 and (full == channels or max(roughness[: channels * (1 + dims)]) < roughness[-1])
    assert not slow_cosines(side, dims, channels, full + 2)[full:].any(), "more latents than there are cosines stay empty"


@pytest.mark.parametrize("shape", [(1, 16, 16), (2, 24, 8), (1, 8, 8, 16)])
def test_an_untrained_codec_gives_back_what_slow_cosines_can_say_and_nothing_else(shape):
    channels, *size = shape
    codec = Codec(own_codec(channels=channels, dims=len(size), latents=4 * channels, downsampling=4, widths=(8, 8)), channels=channels, size=tuple(size))
    z = torch.randn(3, *codec.latent_shape, generator=torch.Generator().manual_seed(0))
    slow = codec.decode(z)
    mean, sigma = codec.encode(slow)
    assert torch.allclose(mean, z, atol=1e-4) and torch.allclose(codec.decode(mean), slow, atol=1e-4)
    assert torch.allclose(sigma, torch.full_like(sigma, math.exp(-3)), rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(codec.decode(codec.encode(slow)[0]), slow, atol=1e-4), "grey values are not rounded to bf16 in training"
    fast = ((-1) ** torch.stack(torch.meshgrid(*[torch.arange(n) for n in size], indexing="ij")).sum(0)).expand(2, *shape).float()
    assert codec.encode(fast)[0].abs().max() < 0.15, "a chessboard is not among the slow cosines"


def test_a_codec_that_is_trained_learns_what_cosines_leave_out():
    torch.manual_seed(0)
    x = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)).round().repeat_interleave(4, 2).repeat_interleave(4, 3).roll((2, 2), (2, 3)) - 0.5
    training = CodecTraining(Codec(own_codec(downsampling=4, widths=(16, 16)), channels=1, size=(16, 16)), edges=1.0, divergence=1e-3)
    mean, _ = training.codec.encode(x)
    before = (training.codec.decode(mean) - x).abs().mean()
    optimizer = torch.optim.AdamW(training.parameters(), lr=3e-3)
    for step in range(50):
        optimizer.zero_grad()
        training.training_step(batch_of(x, seed=step)).backward()
        optimizer.step()
    assert (training.codec.decode(training.codec.encode(x)[0]) - x).abs().mean() < 0.5 * before


@pytest.mark.parametrize("size", [(16, 16), (15, 21), (7, 9)])
def test_a_codec_is_padded_to_the_least_size_it_can_give_back(size):
    codec = Codec(Halving(), channels=1, size=size)
    assert codec.padded == tuple(n + n % 2 for n in size) and codec.latent_shape == (1, *(math.ceil(n / 2) for n in size))
    smooth = torch.full((2, 1, *size), 0.3)
    assert torch.equal(codec.decode(codec.encode(smooth)[0]), smooth), "padding repeats the edge and is cut off again"


@pytest.mark.parametrize("size", [(16, 16), (30, 27), (6, 10, 9)])
def test_monais_autoencoder_fits_as_it_is(size):
    recipe = LatentDiffusion(codec="monai.networks.nets:AutoencoderKL", codec_options=TINY_KL, latent_channels=2, options=SMALL_NET, steps=1)
    network = recipe.network(Schema(), space_of(size, 2)).eval()
    assert type(network.codec.net).__name__ == "AutoencoderKL" and network.latent_shape() == (2, *(math.ceil(n / 2) for n in size))
    x = torch.rand(2, 2, *size)
    with torch.no_grad():
        assert network.decode(network.encode(x, torch.zeros(2, 0)), torch.zeros(2, 0)).shape == x.shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"codec": "test_latent:Single"}, "Single does not work as a codec of 1 × 16 × 16"),
        ({"codec": "test_latent:Cropping"}, r"Cropping does not work as a codec.*decoded \(1, 1, 32, 32\)"),
        ({"codec": "torch.nn:Identity"}, "Identity does not work as a codec"),
        ({"codec": "nowhere:Codec"}, "cannot import"),
        ({"codec": "test_latent:Halving", "codec_options": {"depth": 3}}, "refuses spatial_dims=2.*depth=3.*unexpected keyword"),
        ({"codec": "test_latent:Halving", "downsampling": 4}, "set that of 'test_latent:Halving' by its codec_options"),
        ({"downsampling": 3}, "give powers of two"),
        ({"codec_options": {"patch": 4, "downsampling": 2}}, "patch not above downsampling"),
        ({"codec_options": {"widths": (8, 8, 8, 8)}}, "2 widths"),
        ({"codec_share": 1.0}, "codec_share must lie between 0 and 1"),
        ({"divergence": -1.0}, "weights must be 0 or more"),
        ({"steps": 0}, "whole number, 1 or more"),
        ({"drop": 1.0}, "drop must be 0 or more"),
        ({"latent_channels": 0}, "latent_channels"),
    ],
)
def test_what_cannot_work_is_refused_before_any_training(settings, message):
    with pytest.raises(FitError, match=message):
        LatentDiffusion(**settings).fit(toy_cohort(8), budget=Steps(1))


def test_divergence_and_edge_error_are_the_closed_forms():
    mean, sigma = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)), torch.rand(3, 2, 4, 4) + 0.1
    normal = torch.distributions.Normal
    assert torch.allclose(divergence(mean, sigma), torch.distributions.kl_divergence(normal(mean, sigma), normal(0.0, 1.0)).mean())
    assert float(divergence(torch.zeros(1), torch.ones(1))) == 0 and torch.isfinite(divergence(torch.zeros(1), torch.zeros(1)))
    flat, ramp = torch.zeros(2, 1, 4, 8), torch.arange(8.0).expand(2, 1, 4, 8)
    assert float(edge_error(flat, flat + 3)) == 0, "an offset has no edge"
    assert float(edge_error(flat, ramp)) == pytest.approx(0.5), "steps of 1 along one axis, 0 along the other"
    assert float(edge_error(flat[:, :, :1], ramp[:, :, :1])) == pytest.approx(1.0), "an axis of one pixel has no steps"


def test_the_codecs_loss_is_the_closed_form_for_pixels_as_latents():
    """E|s·n| = s·√(2/π), and a difference of two draws is √2 wider."""
    training = CodecTraining(Codec(Plain(sigma=0.5), channels=1, size=(64, 64)), edges=2.0, divergence=0.1)
    x = torch.zeros(16, 1, 64, 64)
    spread = 0.5 * math.sqrt(2 / math.pi)
    wanted = spread + 2.0 * math.sqrt(2) * spread + 0.1 * float(divergence(torch.zeros(1), torch.tensor([0.5])))
    assert float(training.training_step(batch_of(x)).detach()) == pytest.approx(wanted, rel=0.01)


def test_outside_training_a_codec_goes_through_large_images_in_parts():
    codec = Codec(Halving(), channels=1, size=(16, 16))
    x = torch.rand(10, 1, 16, 16)
    codec.net.seen.clear()
    codec.at_once = 4
    with torch.no_grad():
        parts = codec.decode(codec.encode(x)[0])
        codec.at_once = 100
        assert torch.equal(codec.decode(codec.encode(x)[0]), parts) and codec.net.seen == [4, 4, 2, 10]
    assert Codec(Plain(), channels=1, size=(4096, 4096)).at_once == 1


def test_scaling_gives_latents_drawn_from_the_posteriors_mean_zero_and_variance_one():
    draw = torch.Generator().manual_seed(0)
    mean = torch.randn(500, 2, 6, 6, generator=draw) * torch.tensor([3.0, 0.1]).reshape(2, 1, 1) + torch.tensor([5.0, -1.0]).reshape(2, 1, 1)
    sigma = torch.tensor([4.0, 0.2]).reshape(2, 1, 1).expand_as(mean)
    scaling = Scaling((2, 6, 6))
    scaling.measure(mean, sigma)
    assert scaling.scale.flatten().tolist() == pytest.approx([5.0, math.hypot(0.1, 0.2)], rel=0.02)
    assert scaling.shift.flatten().tolist() == pytest.approx([5, -1], abs=0.05)
    drawn = mean + sigma * torch.randn(mean.shape, generator=draw)
    assert scaling(drawn).mean((0, 2, 3)).tolist() == pytest.approx([0, 0], abs=0.02)
    assert scaling(drawn).var((0, 2, 3)).tolist() == pytest.approx([1, 1], rel=0.02) and torch.allclose(scaling.undo(scaling(drawn)), drawn, atol=1e-4)
    scaling.measure(10 * mean, sigma)
    assert float(scaling.scale[0]) == pytest.approx(5.0, rel=0.02), "a flow that goes on learning keeps the scale it knows"


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_each_step_draws_its_latents_anew_with_the_spread_that_was_cached(sigma):
    """With a velocity of nought the loss is E|z - noise|² = 1 + the mean square of z, here sigma²."""
    flow = FlowNetwork(Zero(), shape=(1, 32, 32), hiding=Hiding((), 0.0), steps=1)
    training = LatentTraining(flow, Scaling((1, 32, 32)))
    x = torch.cat([torch.zeros(64, 1, 32, 32), torch.full((64, 1, 32, 32), sigma)], 1)
    assert float(training.training_step(batch_of(x))) == pytest.approx(1 + sigma**2, rel=0.02)


def test_two_steps_on_the_same_image_see_two_latents():
    seen = []
    flow = FlowNetwork(Zero(), shape=(1, 8, 8), hiding=Hiding((), 0.0), steps=1)
    flow.training_step = lambda batch: seen.append(batch.x) or batch.x.sum()
    training = LatentTraining(flow, Scaling((1, 8, 8)))
    x = torch.cat([torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)], 1)
    for seed in (0, 1, 0):
        training.training_step(batch_of(x, seed))
    assert not torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


def halving_network(size: tuple[int, int] = (16, 16), sigma: float = 0.5) -> LatentNetwork:
    codec = Codec(Halving(sigma=sigma), channels=1, size=size)
    return LatentNetwork(codec, FlowNetwork(Zero(), shape=codec.latent_shape, hiding=Hiding((), 0.0), steps=2))


def test_what_is_cached_is_mean_and_spread_of_each_image_in_its_row():
    cohort, network = toy_cohort(12), halving_network()
    data = TrainingData(cohort, SCHEMA.encode(cohort.table), batch_size=5, seed=0)
    cached = network.latents_of(data)
    x = cohort.images.tensor()[..., ::2, ::2]
    assert torch.allclose(cached.tensor[:, :1], x) and bool((cached.tensor[:, 1:] == 0.5).all())
    assert float(network.scaling.scale) == pytest.approx(math.sqrt(float(x.var(correction=0)) + 0.25), rel=1e-4)
    assert np.array_equal(cached.rows(3), data.rows(3)) and torch.equal(cached.codes, data.codes)


def test_without_a_velocity_the_latents_pass_through_codec_and_scaling_and_back():
    network = halving_network()
    network.scaling.measure(torch.randn(50, 1, 8, 8) * 3 + 2, torch.zeros(50, 1, 8, 8))
    x, c = torch.rand(3, 1, 16, 16), torch.zeros(3, 0)
    with torch.no_grad():
        assert torch.allclose(network.encode(x, c), network.scaling(x[..., ::2, ::2])) and network.latent_shape() == (1, 8, 8)
        assert torch.allclose(network.decode(network.encode(x, c), c), x[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3), atol=1e-5)
        z = torch.randn(3, 1, 8, 8)
        velocity = network.flow.velocity
        assert torch.allclose(network.flow.decode(z, c), integrate(lambda y, t: velocity(y, t, c), z, steps=2)) and network.evaluations == 4


def test_the_loss_on_images_is_the_loss_on_their_cached_latents():
    network, x = halving_network(), torch.rand(4, 1, 16, 16)
    cached = torch.cat(network.codec.encode(x), 1)
    assert torch.equal(network.training_step(batch_of(x)), LatentTraining(network.flow, network.scaling).training_step(batch_of(cached)))


def test_the_flow_is_trained_after_the_codec_and_leaves_it_alone():
    network = SMALL.network(SCHEMA, space_of((16, 16)))
    first, second = SMALL.stages(network, SCHEMA, space_of((16, 16)))
    weights = [{id(p) for p in stage.trainable.parameters()} for stage in (first, second)]
    assert (first.name, second.name, first.share, second.share) == ("codec", "flow", 0.4, 0.6) and not weights[0] & weights[1]
    assert weights[0] | weights[1] == {id(p) for p in network.parameters()}, "nothing is left untrained"
    assert replace(SMALL, codec_share=0.25).stages(network, SCHEMA, space_of((16, 16)))[1].share == 0.75


def test_a_training_that_broke_off_in_the_flow_ends_at_the_very_same_weights(tmp_path, monkeypatch):
    cohort, whole = toy_cohort(12), LatentTraining.training_step
    straight = SMALL.fit(cohort, budget=Steps(10), seed=0)
    calls = []

    def failing(self, batch):
        calls.append(1)
        if len(calls) == 4:
            raise PowerCut
        return whole(self, batch)

    monkeypatch.setattr(LatentTraining, "training_step", failing)
    with pytest.raises(PowerCut):
        SMALL.fit(cohort, budget=Steps(10), seed=0, run=tmp_path)
    monkeypatch.setattr(LatentTraining, "training_step", whole)
    monkeypatch.setattr(CodecTraining, "training_step", lambda self, batch: pytest.fail("the codec is trained again"))
    again = SMALL.fit(cohort, budget=Steps(10), seed=0, run=tmp_path)
    assert same_weights(again.trained.state_dict(), straight.trained.state_dict()) and float(again.trained.scaling.measured) == 1


@pytest.mark.parametrize(
    ("size", "downsampling"), [((16, 16), 2), ((64, 64), 4), ((128, 96), 4), ((256, 256), 8), ((512, 512), 8), ((16, 32, 32), 2), ((96, 128, 160), 4)]
)
def test_defaults_follow_the_size_of_the_images(size, downsampling):
    assert default_downsampling(size) == downsampling


def test_volumes_of_several_channels_and_own_latent_sizes():
    recipe = replace(SMALL, downsampling=4, latent_channels=3, codec_options={"patch": 1, "widths": (8, 8, 16)})
    network = recipe.network(SCHEMA, space_of((8, 13, 10), 2)).eval().to(memory_format=torch.channels_last_3d)
    assert network.latent_shape() == (3, 2, 4, 3)
    x, c = torch.rand(2, 2, 8, 13, 10), torch.zeros(2, SCHEMA.width)
    with torch.no_grad():
        assert network.encode(x, c).shape == (2, 3, 2, 4, 3) and network.decode(network.encode(x, c), c).shape == x.shape


def test_a_recipe_with_a_codec_of_ones_own_is_json_and_its_generator_can_be_saved(tmp_path):
    recipe = replace(SMALL, codec="monai.networks.nets:AutoencoderKL", codec_options=TINY_KL, latent_channels=2)
    gen = recipe.fit(toy_cohort(8), budget=Steps(2), seed=0)
    back = type(gen).load(gen.save(tmp_path)).to("cpu")
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))).to_json() == json.loads(json.dumps(recipe.to_json()))
    want = SCHEMA.grid(lesion=["absent", "present"], each=2)
    assert np.array_equal(back.sample(want, seed=1).images.raw(), gen.sample(want, seed=1).images.raw())


def test_the_reconstruction_of_an_edit_shows_what_the_codec_lost_and_the_edit_does_not():
    cohort = toy_cohort(12)
    gen = SMALL.fit(cohort, budget=Steps(60), seed=0)
    start = inverted(gen, cohort[:4])
    twin, again = start.edit({"lesion": "absent"}), start.raw
    x = cohort[:4].images.tensor()
    blur = gen.trained.codec.decode(gen.trained.codec.encode(x)[0]) - x
    assert float((again - x - blur).abs().mean()) < 0.5 * float(blur.abs().mean()), "most of the round trip is the codec's"
    well = (cohort[:4].table["lesion"] == "absent").to_numpy()
    assert torch.allclose(twin.images.tensor()[well], x[well], atol=1e-3), "who is well already keeps every grain"
