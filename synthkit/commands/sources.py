"""Images named on a command line: drawn from the phantom, saved by synthkit, or in a folder with their table."""
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthkit.core.cohort import Cohort
    from synthkit.generators.generator import Generator

PHANTOM = "chest-phantom"


def opened(data: str, *, table: str | None, size: int | None, images: int | None, seed: int, drawn: int) -> "Cohort":
    """The cohort that is meant.

    Args:
        images: how many subjects of the phantom to draw; `drawn` where it is left out.
    Raises:
        DataError: `images` for another source than the phantom, or nothing to load.
    """
    import synthkit as sk
    from synthkit.data.entry_load import CATALOG_SEED

    if data == PHANTOM:
        return sk.ChestPhantom(size=64 if size is None else size).cohort(drawn if images is None else images, seed=seed + CATALOG_SEED)
    if images is not None:
        raise sk.DataError("--images says how many phantom subjects to draw; other sources are loaded whole")
    saved = (Path(data) / "cohort.json").is_file()  # it has its table and size
    return sk.load(data) if saved else sk.load(data, table=table, size=size)


def generator_at(name: str) -> "Generator":
    """A generator saved in a folder, or one that comes with synthkit."""
    import synthkit as sk

    if not Path(name).is_dir() and len(Path(name).parts) > 1:
        raise sk.StoreError(f"{name} is no folder; give that of a saved generator, or the name of one that comes with synthkit")
    return sk.Generator.load(name) if Path(name).is_dir() else sk.Generator.pretrained(name)


def folder_for(out: Path) -> Path:
    """The folder, made where it is not there; StoreError before any work where it cannot be."""
    from synthkit.errors import StoreError

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out} cannot be made ({error}); give another folder with --out") from error
    return out
