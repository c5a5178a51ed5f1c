"""What a generation is: all that decides its images, and how they are cut into shards."""
from dataclasses import asdict, dataclass
from typing import Any

from synthkit.core.provenance import canonical, digest

WORDS = {"generator": "generator (or its settings)", "requests": "requests", "images": "number of images", "seed": "seed", "device": "kind of device",
         "threads": "threads per worker", "refused": "cohort whose copies are rejected"}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A generation.

    Args:
        generator: digest of weights and settings.
        requests: digest of the table.
        images: how many are asked for.
        device: its kind, which fixes the batch; "cpu" or "cuda".
        threads: of every worker.
        refused: digest of the cohort whose copies are rejected, or empty.
        environment: what runs, since records name it.
        shard_size: images of a shard; it changes no image.
    """

    generator: str
    requests: str
    images: int
    seed: int
    device: str
    threads: int
    refused: str
    environment: dict[str, str]
    shard_size: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def identity(self) -> str:
        """Digest of what decides the images, by which a finished cohort is known as this job's."""
        return digest(canonical({name: value for name, value in asdict(self).items() if name in WORDS}))

    @property
    def shards(self) -> int:
        return -(-self.images // self.shard_size)

    def range_of(self, shard: int) -> tuple[int, int]:
        """The first request of a shard, and that after its last."""
        return shard * self.shard_size, min((shard + 1) * self.shard_size, self.images)

    def difference(self, other: "Job") -> list[str]:
        """What differs in another job, in words."""
        apart = [f"{words}: {_short(getattr(self, name))} there, {_short(getattr(other, name))} now" for name, words in WORDS.items()
                 if getattr(self, name) != getattr(other, name)]  # fmt: skip
        versions = [f"{name}: {_short(self.environment.get(name))} there, {_short(value)} now" for name, value in other.environment.items()
                    if self.environment.get(name) != value]  # fmt: skip
        size = [f"shard_size: {self.shard_size} there, {other.shard_size} now"] if self.shard_size != other.shard_size else []
        return [*apart, *versions, *size]


def _short(value: Any) -> str:
    return str(value)[:12] or "none"
