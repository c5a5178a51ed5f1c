"""Networks and their parts: shapes, inverses, and what they must and must not depend on."""
import pytest
import torch

from synthkit.errors import FitError
from synthkit.nets.adapters import DiffusersUNet, MonaiUNet
from synthkit.nets.augment import augment
from synthkit.nets.blocks import TimeEmbedding, coordinates, groups_of, shuffle, unshuffle
from synthkit.nets.convnet import ConvNet
from synthkit.nets.network import Batch
from synthkit.nets.unet import UNet

STILL = {"shift": 0, "zoom": 0, "turn": 0, "contrast": 0, "noise": 0}


def batch_of(x: torch.Tensor, seed: int = 0) -> Batch:
    return Batch(x, torch.zeros(len(x), 1), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [(8, 12), (4, 8, 12)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_unshuffle_moves_pixels_into_channels_and_shuffle_brings_them_back(size, patch):
    x = torch.randn(2, 3, *size)
    folded = unshuffle(x, patch)
    assert folded.shape == (2, 3 * patch ** len(size), *(n // patch for n in size)) and torch.equal(shuffle(folded, patch), x)


def test_coordinates_run_from_corner_to_corner():
    place = coordinates((3, 5), torch.zeros(1))
    assert place.shape == (1, 2, 3, 5) and place[0, 0, :, 2].tolist() == [-1, 0, 1] and place[0, 1, 1].tolist() == [-1, -0.5, 0, 0.5, 1]


@pytest.mark.parametrize(("width", "groups"), [(1, 1), (7, 7), (8, 8), (12, 6), (22, 2), (96, 8)])
def test_groups_divide_their_channels(width, groups):
    assert groups_of(width) == groups


def test_times_are_told_apart():
    features = TimeEmbedding(64)(torch.linspace(0, 1, 50))
    assert features.shape == (50, 64) and torch.cdist(features, features).fill_diagonal_(9).min() > 0.1


@pytest.mark.parametrize("size", [(12, 16), (4, 8, 12)])
def test_augmentation_of_no_strength_is_none_and_any_other_stays_in_range(size):
    x = torch.rand(3, 2, *size) * 2 - 1
    assert torch.allclose(augment(batch_of(x), **STILL), x, atol=1e-5)
    changed = augment(batch_of(x))
    assert changed.shape == x.shape and changed.abs().max() <= 1 and (changed != x).flatten(1).any(1).all()
    assert torch.equal(changed, augment(batch_of(x))) and not torch.equal(changed, augment(batch_of(x, seed=1)))


def test_augmentation_keeps_left_on_the_left():
    """A bright left half, moved, zoomed and turned as far as training does, stays the left half."""
    x = torch.full((200, 1, 16, 16), -0.5)
    x[..., :8] = 0.5
    halves = augment(batch_of(x)).mean(2)[:, 0]
    assert (halves[:, :6].mean(1) > halves[:, 10:].mean(1) + 0.3).all()


def test_a_shift_moves_the_picture_by_its_share():
    x = torch.zeros(64, 1, 20, 20)
    x[..., 10, 10] = 1
    rows = augment(batch_of(x), **{**STILL, "shift": 0.2}).flatten(2).argmax(2)[:, 0] // 20
    assert rows.min() >= 10 - 5 and rows.max() <= 10 + 5 and rows.unique().numel() > 5


@pytest.mark.parametrize("size", [(16, 16), (30, 21), (50, 70), (4, 8, 8)])
def test_the_convnet_takes_any_size_and_images_do_not_see_each_other(size):
    network = ConvNet(channels=2, size=size, outputs=3, widths=(8, 16, 16)).eval()
    x = torch.randn(3, 2, *size)
    assert network(x).shape == (3, 3) and network.features(x).shape == (3, network.feature_width)
    assert torch.allclose(network(x[1:2]), network(x)[1:2], atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "size", "options"),
    [
        (MonaiUNet, (16, 16), {"num_head_channels": 8, "norm_num_groups": 2}),
        (MonaiUNet, (8, 8, 16), {"num_head_channels": 8, "norm_num_groups": 2, "patch": 2}),
        (DiffusersUNet, (16, 16), {"norm_num_groups": 2}),
    ],
)
@pytest.mark.parametrize("condition_width", [3, 0])
def test_networks_of_other_libraries_see_time_and_condition(kind, size, options, condition_width):
    # Two groups in eight channels: one group per channel would take out what the time puts in.
    torch.manual_seed(0)
    network = kind(channels=1, size=size, condition_width=condition_width, widths=(8, 8), **options).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)  # last layers start at zero
    x, t, c = torch.randn(2, 1, *size), torch.tensor([0.2, 0.7]), torch.randn(2, condition_width)
    with torch.no_grad():
        velocity = network(x, t, c)
        assert velocity.shape == x.shape and not torch.allclose(velocity, network(x, t + 0.2, c), atol=1e-4)
        assert condition_width == 0 or not torch.allclose(velocity, network(x, t, c + 1), atol=1e-4)


def test_sizes_and_dimensions_that_do_not_suit_them_are_refused():
    with pytest.raises(FitError, match="multiples of 4, these images are \\(16, 18\\)"):
        DiffusersUNet(channels=1, size=(16, 18), condition_width=0, widths=(8, 8))
    with pytest.raises(FitError, match="takes 2D images"):
        DiffusersUNet(channels=1, size=(8, 16, 16), condition_width=0)
    with pytest.raises(FitError, match="MONAI's DiffusionModelUNet needs sides that are multiples of 4"):
        MonaiUNet(channels=1, size=(16, 18), condition_width=0)


def test_the_noise_of_folded_voxels_reaches_the_output_of_a_narrow_network():
    """64 folded channels do not fit through 8: only what goes straight can hold their noise."""
    shape, t = (2, 1, 8, 8, 8), torch.full((2,), 0.3)
    narrow = {"channels": 1, "size": (8, 8, 8), "condition_width": 0, "widths": (8, 8), "patch": 4, "embedding": 16}
    nets = {straight: UNet(**narrow, straight=straight) for straight in (None, False)}
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        left = {straight: float((net(0.7 * noise, t, torch.zeros(2, 0)) + noise).square().mean()) for straight, net in nets.items()}
    assert left[None] < 0.01 < left[False] == pytest.approx(1, rel=0.2), "an image of nothing but noise: v = -noise"
    assert UNet(channels=1, size=(8, 8), condition_width=0).straight is None, "films fold into few channels"
