"""Stored integers and [-1, 1]: exact both ways, in every window."""
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from toys import toy_cohort

from synthkit.core.cohort import Cohort
from synthkit.core.pixels import Pixels
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Channel, Space
from synthkit.errors import DataError


def one_channel(low: float, high: float, count: int, **more: object) -> Space:
    return Space((1, count), (Channel("grey", low=low, high=high, **more),))


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 65535), (-1024, 3071), (-160, 240), (0, 1), (-32768, 32767), (100, 4000)])
def test_every_stored_integer_of_a_window_comes_back(low, high):
    values = np.arange(low, high + 1)
    space = one_channel(low, high, len(values))
    raw = values.astype(space.dtype).reshape(1, 1, 1, -1)
    images = space.to_float(raw)
    assert images.dtype == torch.float32 and images.min() == -1 and images.max() == 1
    assert np.array_equal(space.to_raw(images), raw)


@given(st.integers(-30000, 30000), st.integers(1, 2000), st.data())
def test_scaling_is_linear_in_any_window_and_clips_outside(low, span, data):
    value = data.draw(st.integers(-32768, 32767))
    space = one_channel(low, low + span, 1)
    got = float(space.to_float(np.array([[[value]]], np.int16)))
    assert got == pytest.approx(np.clip(2 * (value - low) / span - 1, -1, 1), abs=2e-3 if span < 20 else 1e-4)


def test_eight_bit_images_are_exact_on_the_sixteen_bit_scale():
    eight = one_channel(0, 255, 256)
    raw = np.arange(256, dtype=np.uint8).reshape(1, 1, 1, 256)
    wide = eight.sixteen_bit()
    moved = wide.to_raw(eight.to_float(raw))
    assert moved.dtype == np.uint16 and np.array_equal(moved, raw.astype(np.uint16) * 257)
    assert torch.allclose(wide.to_float(moved), eight.to_float(raw), atol=1e-7)


def test_channels_beside_houndsfield_units_share_a_signed_scale():
    mixed = Space((2, 2), (Channel("T1", high=255), Channel("CT", low=-1000, high=1200, unit="HU")))
    wide = mixed.sixteen_bit()
    assert wide.dtype == np.int16 and wide.channels[0].high == 32767 and wide.channels[1] == mixed.channels[1]
    assert wide.to_float(wide.to_raw(torch.ones(1, 2, 2, 2))).max() == 1


@given(st.integers(0, 2**32 - 1))
def test_joining_eight_and_sixteen_bits_changes_no_picture(seed):
    rng = np.random.default_rng(seed)
    eight, wide = one_channel(0, 255, 5), one_channel(0, 65535, 5)
    first = Pixels([rng.integers(0, 256, (3, 1, 1, 5), np.uint8)], eight)
    second = Pixels([rng.integers(0, 65536, (2, 1, 1, 5), np.uint16)], wide)
    for parts in ((first, second), (second, first)):
        joined = Pixels.join(*parts)
        scale = [257 if part is first else 1 for part in parts]
        assert np.array_equal(joined.raw(), np.concatenate([part.raw().astype(np.uint16) * s for part, s in zip(parts, scale)]))


def ct(low: int, high: int, spacing: tuple[float, ...] | None = None, name: str = "a") -> Cohort:
    import pandas as pd

    space = Space((2, 2), (Channel("ct", low=low, high=high, unit="HU"),), spacing)
    raw = np.array([-100, 0, 40, 200], np.int16).reshape(1, 1, 2, 2)
    return Cohort.of(raw, pd.DataFrame({"image_id": [name], "patient_id": [name]}), schema=Schema(), space=space, provenance=Provenance("real", name))


def test_hounsfield_units_are_never_rescaled_by_a_join():
    with pytest.raises(DataError, match="window"):
        ct(-1000, 1000) + ct(-160, 240, name="b")
    both = ct(-160, 240) + ct(-160, 240, name="b")
    assert np.array_equal(both.images.raw()[1], both.images.raw()[0])


def test_no_millimetres_are_claimed_for_images_whose_spacing_is_unknown():
    assert (ct(0, 500, (1, 1)) + ct(0, 500, name="b")).space.spacing_mm is None
    assert (ct(0, 500, (1, 1)) + ct(0, 500, (2, 2), name="b")).space.spacing_mm is None
    same = ct(0, 500, (1, 1)) + ct(0, 500, (1, 1), name="b")
    assert same.space.spacing_mm == (1, 1)
    mixed = ct(0, 500, (1, 1)) + ct(0, 500, name="b")
    assert np.array_equal(mixed.images.raw()[0], ct(0, 500).images.raw()[0]), "only the claim changes, not the pixels"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Channel("x", kind="picture"), "kind 'picture' is not one of modality, colour, mask"),
        (lambda: Channel("x", low=5, high=5), "empty"),
        (lambda: Space((4,), (Channel("x"),)), "neither"),
        (lambda: Space((0, 4), (Channel("x"),)), "neither"),
        (lambda: Space((4, 4), ()), "at least one channel"),
        (lambda: Space((4, 4), (Channel("x"),), (1.0,)), "does not fit"),
        (lambda: one_channel(-40000, 40000, 2).dtype, "does not fit 16 bits"),
        (lambda: Pixels([np.zeros((1, 1, 1, 3), np.uint8)], one_channel(0, 255, 2)), "was expected"),
        (lambda: Pixels([np.zeros((1, 1, 1, 2), np.float32)], one_channel(0, 255, 2)), "stored as integers"),
        (lambda: toy_cohort(4) + toy_cohort(4, size=(8, 8), prefix="q"), "cannot join images"),
    ],
)
def test_impossible_spaces_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_json_round_trip_also_with_numbers_from_an_array():
    for spacing in (None, (0.5, 2)):
        space = Space((3, np.int64(4)), (Channel("a", low=np.float32(-5), high=np.int64(9), unit="HU"), Channel("b", kind="mask", high=1)), spacing)
        assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_pixels_read_rows_in_the_order_asked_for():
    cohort = toy_cohort(6)
    raw = cohort.images.raw()
    assert np.array_equal(cohort.images.raw([4, 1]), raw[[4, 1]])
    assert torch.equal(cohort.images[2], cohort.images.tensor()[2]) and torch.equal(cohort.images[-1], cohort.images.tensor()[5])
    assert torch.equal(cohort.images.take(np.array([5, 0])).tensor(), cohort.images.tensor()[[5, 0]])
    assert len(list(cohort.images)) == 6


def test_images_fit_together_by_size_channels_and_physical_windows():
    def space(*channels: Channel, size: tuple[int, ...] = (8, 8)) -> Space:
        return Space(size, channels)

    grey, xray, wide = Channel("grey"), Channel("xray"), Channel("xray", high=65535)
    assert space(grey).matches(space(xray)) and space(xray).matches(space(wide)), "one plain channel is one, whatever its name and scale"
    assert space(grey).difference(space(grey, size=(4, 8))) == "sizes (8, 8) and (4, 8)"
    pair = space(Channel("T1"), Channel("T2"))
    assert pair.difference(space(Channel("T1"), Channel("CT"))) == "channels T1, T2 and T1, CT"
    assert not space(Channel("mask", kind="mask")).matches(space(grey))
    scan, narrow = (space(Channel("CT", low=low, high=400, unit="HU")) for low in (-1000, -160))
    assert scan.difference(narrow) == "windows of CT -1000..400 HU and -160..400 HU" and not scan.matches(space(Channel("CT", high=400)))
