"""One shard as it comes from a worker."""
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import Any

from synthkit.core.provenance import Provenance
from synthkit.core.store import Shard


@dataclass(frozen=True)
class Drawn:
    """A drawn shard, without its files.

    Args:
        number: of the shard.
        requests: that it answers; `left_out` of them gave nothing but copies.
        rejected: draws that were near copies.
        provenance: of its images, as JSON.
        files: by kind, as the manifest names them; none where all requests are left out.
        sizes: bytes of each file.
        leaves: of the Merkle tree, 32 bytes per image, base64.
    """

    number: int
    requests: int
    rejected: int
    left_out: int
    provenance: dict[str, Any]
    files: dict[str, dict[str, str]]
    sizes: dict[str, int]
    leaves: str

    @property
    def maker(self) -> str:
        """The key of the record of what made the images."""
        return Provenance.from_json(self.provenance).key()

    @property
    def names(self) -> list[str]:
        return [entry["file"] for entry in self.files.values()]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def shard(self) -> Shard:
        """As the store wants it."""
        data = b64decode(self.leaves)
        return Shard(self.files, tuple(data[start : start + 32] for start in range(0, len(data), 32)))


def encoded(leaves: tuple[bytes, ...]) -> str:
    """The leaves of a shard as text."""
    return b64encode(b"".join(leaves)).decode()
