"""Records of origin: never lost, equal for equal histories, and independent of file format."""
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import toy_cohort

from synthkit.core.provenance import KINDS, Provenance, canonical, digest, pixel_digest
from synthkit.errors import DataError

leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4)
plain = st.recursive(leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3), max_leaves=8)


@given(st.dictionaries(st.text(max_size=4), plain, max_size=5))
def test_equal_data_have_equal_bytes_whatever_the_order(data):
    backwards = dict(reversed(list(data.items())))
    assert canonical(data) == canonical(backwards) and json.loads(canonical(data)) == data


def test_digests_are_sha256():
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_pixel_digest_sees_pixels_and_not_memory():
    raw = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    assert pixel_digest(raw) == pixel_digest(raw.astype(">u2")) == pixel_digest(np.asfortranarray(raw))
    changed = raw.copy()
    changed[1, 2, 3] += 1
    others = [changed, raw.reshape(3, 2, 4), raw.astype(np.int16), raw[:1]]
    assert len({pixel_digest(one) for one in [raw, *others]}) == 5


def test_a_history_survives_json():
    first = Provenance("real", "hospital", digests={"pixels": "ab"}, licence="CC0")
    record = Provenance("synthetic", "maker", recipe={"steps": 3, "part": {"a": [1]}}, seed=np.int64(7), parents=(first,))
    back = Provenance.from_json(json.loads(json.dumps(record.to_json())))
    assert back == record and back.seed == 7 and back.parents[0].licence == "CC0"


def test_merging_drops_no_part():
    parts = [Provenance("real", name, licence=licence) for name, licence in (("a", "MIT"), ("b", "CC0"), ("c", "MIT"))]
    merged = Provenance.merge(tuple(parts))
    assert merged.parents == tuple(parts) and merged.kind == "real" and merged.source == "a + b + c" and merged.licence == "CC0; MIT"
    mixed = Provenance.merge((merged, Provenance("synthetic", "d")))
    assert mixed.kind == "mixed" and mixed.parents[0] is merged
    assert [line.strip() for line in mixed.lines()] == ["mixed: a + b + c + d", "real: a + b + c", "real: a", "real: b", "real: c", "synthetic: d"]


def test_merging_equal_records_is_that_record():
    assert Provenance.merge((Provenance("real", "a"), Provenance("real", "a"))) == Provenance("real", "a")


@pytest.mark.parametrize("kind", KINDS)
def test_steps_keep_the_origin_and_add_up(kind):
    record = Provenance(kind, "a", seed=1).step(where="x > 1").step(split=[0.5], part=0)
    assert record.recipe["steps"] == [{"where": "x > 1"}, {"split": [0.5], "part": 0}] and (record.kind, record.source, record.seed) == (kind, "a", 1)


def test_unknown_kinds_are_refused():
    with pytest.raises(DataError, match="'fake' is not one of real, synthetic, edited, mixed"):
        Provenance("fake", "x")


def test_a_split_of_a_joined_cohort_still_knows_both_origins():
    joined = toy_cohort(4) + toy_cohort(4, seed=1, prefix="q").where("age > 0")
    part = joined.split((0.5, 0.5))[1]
    assert len(part.provenance.parents) == 2 and part.provenance.parents[1].recipe["steps"] == [{"where": "age > 0"}]
