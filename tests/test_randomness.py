"""Random streams: set by seed, identity and stream alone."""
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from synthkit.core.randomness import generator, key, normal, permutation, torch_generator, uniform


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6), st.integers(-(2**40), 2**40), st.randoms())
def test_an_image_keeps_its_noise_in_any_company_and_order(names, seed, random):
    together = normal((2, 3), seed=seed, identities=names, stream="sample")
    order = random.sample(range(len(names)), len(names))
    assert torch.equal(normal((2, 3), seed=seed, identities=[names[i] for i in order], stream="sample"), together[order])
    assert torch.equal(normal((2, 3), seed=seed, identities=names[:1], stream="sample")[0], together[0])


def test_numbers_never_change_between_versions():
    assert key(0, "a", "sample").tolist() == [15449971702268723355, 17895193890665940503]
    first = [1.8392860889434814, 1.4091435670852661, 1.0184059143066406]
    assert normal((3,), seed=0, identities=["a"], stream="sample")[0].tolist() == pytest.approx(first, abs=1e-7)


def test_seed_identity_and_stream_each_give_other_numbers():
    base = {"seed": 1, "identity": "a", "stream": "s"}
    changes = ({}, {"seed": 2}, {"identity": "b"}, {"stream": "t"}, {"identity": "a\x1fs"})
    streams = [generator(**{**base, **change}).random(4).tolist() for change in changes]
    assert len({tuple(s) for s in streams}) == 5
    # No two of (seed, identity, stream) may run together into one name.
    assert key(1, "2", "x").tolist() != key(12, "", "x").tolist()


def test_numbers_have_their_distribution():
    noise = normal((64,), seed=3, identities=range(200), stream="n").flatten().numpy()
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    flat = uniform((64,), seed=3, identities=range(200), stream="u").flatten().numpy()
    assert stats.kstest(flat, "uniform").pvalue > 1e-3 and flat.max() < 1
    firsts = normal((2,), seed=3, identities=range(2000), stream="n").numpy()
    assert abs(np.corrcoef(firsts.T)[0, 1]) < 0.08 and abs(np.corrcoef(firsts[:-1, 0], firsts[1:, 0])[0, 1]) < 0.08


def test_no_identity_gives_an_empty_block_and_a_permutation_is_one():
    assert normal((2, 3), seed=0, identities=[], stream="s").shape == (0, 2, 3)
    assert uniform((4,), seed=0, identities=[], stream="s").shape == (0, 4)
    assert sorted(permutation(50, seed=1, identity="x", stream="s")) == list(range(50))


def test_torch_streams_repeat_and_leave_the_global_one_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draws = [torch.rand(3, generator=torch_generator("cpu", seed=1, identity=i, stream="t")) for i in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)
