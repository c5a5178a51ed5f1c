"""The progress bar of a generation: images, images per second, time left, rejections."""
import sys

from tqdm.auto import tqdm

SELDOM = 30.0  # seconds between two lines where nobody watches


class Progress:
    """A bar over images; those that were there before do not count into the speed."""

    def __init__(self, total: int, *, there: int, rejected: int):
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.bar = tqdm(total=total, initial=there, desc="generate", unit="image", mininterval=0.5 if watched else SELDOM)
        self._tell(rejected)

    def add(self, images: int, *, rejected: int) -> None:
        """So many more, with so many rejections altogether."""
        self._tell(rejected)
        self.bar.update(images)

    def _tell(self, rejected: int) -> None:
        if rejected:
            self.bar.set_postfix_str(f"{rejected} near copies rejected", refresh=False)

    def close(self) -> None:
        self.bar.close()
