"""Merkle trees as of RFC 6962: one digest that stands for a list, in which no entry can be changed, moved, added or left out unseen."""
import hashlib
from collections.abc import Sequence


def leaf(data: bytes) -> bytes:
    """Digest of an entry; no inner node can be taken for one."""
    return hashlib.sha256(b"\x00" + data).digest()


def root(leaves: Sequence[bytes]) -> str:
    """Digest of a list of leaves, in hex; of an empty list that of nothing."""
    level = list(leaves)
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2])]
        # The last one of an odd level moves up as it is, which gives the tree of the RFC.
        level = pairs + level[len(pairs) * 2 :]
    return (level[0] if level else hashlib.sha256().digest()).hex()
