"""What is finished of a generation: one sealed page per shard, written after the shard's files, each whole or absent."""
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from synthkit.core.files import sealed, unsealed
from synthkit.core.store import Shard
from synthkit.errors import StoreError
from synthkit.scale.generation.drawn import Drawn
from synthkit.scale.generation.job import Job
from synthkit.scale.generation.place import Place, page

HEAD = "job.json"


@dataclass
class Journal:
    """The pages of a job at a place.

    Args:
        done: the shards that are finished.
        requests, rejected, left_out: summed over them.
        first: the page that all others must agree with.
    """

    place: Place
    job: Job
    done: set[int] = field(default_factory=set)
    requests: int = 0
    rejected: int = 0
    left_out: int = 0
    first: Drawn | None = None

    @staticmethod
    def opened(place: Place, job: Job, *, sized: bool) -> "Journal":
        """The journal at a place, begun where there is none.

        Args:
            sized: the shard size was asked for; else that of the pages there is taken.
        Raises:
            StoreError: another job was begun there.
        """
        begun, pages = _head(place), [name for name in place.journal() if name != HEAD]
        if begun is not None and pages and not sized:
            job = replace(job, shard_size=begun.shard_size)
        apart = begun.difference(job) if begun is not None and pages else []
        if apart:
            raise StoreError(f"{place.name} holds another generation that was begun ({'; '.join(apart)}); finish that one with the same command and "
                             "versions, or give another folder")  # fmt: skip
        found = Journal(place, job)
        if begun != job:
            place.clear()
            place.write(page(HEAD), sealed(job.to_json()))
        elif pages:
            found._turn_back(pages)
        return found

    def _turn_back(self, pages: list[str]) -> None:
        """Take over what is finished; a page that is damaged, or whose files are, is drawn again."""
        for name in pages:
            drawn = self._page(name)
            if drawn is not None and all(self.place.holds(entry, drawn.sizes[entry["file"]]) for entry in drawn.files.values()):
                self._count(drawn)

    def enter(self, drawn: Drawn) -> None:
        """Note a shard whose files are in their place.

        Raises:
            StoreError: it was made otherwise than those before.
        """
        if self.first is not None and drawn.maker != self.first.maker:
            raise StoreError(f"shard {drawn.number} was made otherwise than those before it (other versions or hardware of a worker); let all workers run the "
                             "same synthkit and libraries on the same kind of processor")  # fmt: skip
        self.place.write(page(_name(drawn.number)), sealed(drawn.to_json()))
        self._count(drawn)

    def open(self) -> list[int]:
        """The shards that are still to be drawn."""
        return [number for number in range(self.job.shards) if number not in self.done]

    def shards(self) -> Iterator[Shard]:
        """All shards with images, in order, read page by page."""
        for number in range(self.job.shards):
            drawn = self._page(_name(number))
            if drawn is None:
                raise StoreError(f"{self.place.name}: the page of shard {number} was lost or damaged meanwhile; run the same command again")
            if drawn.files:
                yield drawn.shard()

    def _count(self, drawn: Drawn) -> None:
        self.done.add(drawn.number)
        self.requests += drawn.requests
        self.rejected += drawn.rejected
        self.left_out += drawn.left_out
        self.first = self.first or replace(drawn, leaves="", files={}, sizes={})

    def _page(self, name: str) -> Drawn | None:
        written = self.place.read(page(name))
        try:
            return None if written is None else Drawn(**unsealed(written, name))
        except (StoreError, TypeError):
            return None


def _head(place: Place) -> Job | None:
    written = place.read(page(HEAD))
    try:
        return None if written is None else Job(**unsealed(written, HEAD))
    except (StoreError, TypeError):
        return None


def _name(number: int) -> str:
    return f"shard-{number:07d}.json"
