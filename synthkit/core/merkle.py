"""Merkle trees as of RFC 6962: one digest that stands for a list, in which no entry can be changed, moved, added or left out unseen."""
import hashlib
from collections.abc import Iterable


def leaf(data: bytes) -> bytes:
    """Digest of an entry; no inner node can be taken for one."""
    return hashlib.sha256(b"\x00" + data).digest()


def root(leaves: Iterable[bytes]) -> str:
    """Digest of a list of leaves, in hex; of an empty list that of nothing."""
    tree = Tree()
    tree.extend(leaves)
    return tree.root()


class Tree:
    """A tree that grows leaf by leaf and holds only the roots of its full parts, one per binary digit of their number."""

    def __init__(self) -> None:
        self.count, self._full = 0, []

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaves at the end."""
        for one in leaves:
            self.count += 1
            self._full.append(one)
            # The count ends in as many zero bits as two equal parts have just come together.
            for _ in range((self.count & -self.count).bit_length() - 1):
                self._join()

    def root(self) -> str:
        """Digest of all leaves so far, in hex."""
        rest = list(self._full)
        while len(rest) > 1:
            right = rest.pop()
            rest[-1] = _node(rest[-1], right)
        return (rest[0] if rest else hashlib.sha256().digest()).hex()

    def _join(self) -> None:
        right = self._full.pop()
        self._full[-1] = _node(self._full[-1], right)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
