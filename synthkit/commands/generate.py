"""`synthkit generate`: one image or a million from a fitted generator, by a table of requests or by a few factors."""
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from synthkit.core.cohort import Cohort
    from synthkit.core.schema import Schema

COLUMNS, SHOWN = 12, 60
COUNTED = 10_000  # images whose factors are counted for the reader


def generate(
    generator: Annotated[str, typer.Argument(help='Folder of a saved generator, or one that comes with synthkit, such as "chest-phantom-64".')],
    out: Annotated[str, typer.Option(help='Folder for the cohort, or an address such as "s3://bucket/films". The same command goes on where it stopped.')],
    table: Annotated[Path | None, typer.Argument(help="Requests, CSV, TSV or Parquet: one row per image; the columns that are factors count.")] = None,
    given: Annotated[list[str] | None, typer.Option(help="Instead of a table: factor=value,value …; may be given again. Others stay open.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Images altogether: the requests are asked again and again in turn, or the first ones only.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps of sampling, for families that have them.")] = None,
    solver: Annotated[str | None, typer.Option(help="Solver of sampling, for families that have one.")] = None,
    engine: Annotated[str, typer.Option(help='"local", or "ray" (the cluster of RAY_ADDRESS, else one that is started here).')] = "local",
    workers: Annotated[int | None, typer.Option(help="Processes; left out, one per GPU, or one on a CPU. They change no image.")] = None,
    shard_size: Annotated[int | None, typer.Option(help="Images per file, at most 1,024 (64 MB) when left out.")] = None,
    device: Annotated[str, typer.Option(help='"auto" (all GPUs, else the CPU), "cpu", "cuda", or some of them, "cuda:0,cuda:2".')] = "auto",
    threads: Annotated[int, typer.Option(help="Of every worker; recorded, since they decide the last bit.")] = 1,
    reject_copies_of: Annotated[str | None, typer.Option(help="A saved cohort, usually the training images: near copies are drawn again.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also write a contact sheet of the first images, a PNG.")] = None,
) -> None:
    """Draw synthetic images and save them as a cohort: sharded, resumable, the same images whoever draws them."""
    import synthkit as sk
    from synthkit.commands.sources import generator_at

    if given if table is not None else n is None and not given:
        raise sk.SchemaError("give either a table of requests, perhaps with --n, or --n, --given or both")
    fitted = generator_at(generator)
    chosen = {name: value for name, value in (("steps", steps), ("solver", solver)) if value is not None}
    fitted = fitted.using(**chosen) if chosen else fitted
    wanted = table if table is not None else _requests(fitted.schema, given or [])
    try:
        made = sk.generate(fitted, wanted, out=out, seed=seed, n=n, engine=engine, workers=workers, shard_size=shard_size, device=device, threads=threads,
                           reject_copies_of=reject_copies_of)  # fmt: skip
    except KeyboardInterrupt:
        typer.echo("\nstopped: what is finished is kept; the same command goes on where it stopped", err=True)
        raise
    typer.echo(f"{made.images} images by {fitted.card.name}, {fitted.evaluations} network evaluation(s) each, seed {seed}")
    if made.images <= COUNTED:
        counts = made.cohort.counts()
        known = counts[counts["level"] != "missing"]
        typer.echo(known.to_string(index=False) if len(known) else "no factor was given")
    for line in made.caveats():
        typer.echo(line)
    typer.echo(f"\nCohort:  {made.folder}  (synthkit.load reads it)\nRoot:    {made.root}")
    if sheet is not None:
        typer.echo(f"Sheet:   {_sheet(made.first(SHOWN), sheet)}")


def _requests(schema: "Schema", given: list[str]) -> "pd.DataFrame":
    """One row for every combination of the given values, or one that leaves all open."""
    import pandas as pd

    from synthkit.errors import SchemaError

    values: dict[str, list[str]] = {}
    for text in given:
        name, equals, listed = text.partition("=")
        if not equals or name in values:
            raise SchemaError(f"--given {text!r}: give each factor once as factor=value, or factor=value,value")
        schema[name]
        values[name] = listed.split(",")
    return schema.grid(**values) if values else pd.DataFrame(index=range(1))


def _sheet(fake: "Cohort", path: Path) -> Path:
    """The first images as one PNG that says what it shows."""
    from synthkit.core.figures import plane, png, sheet
    from synthkit.core.files import write_atomically
    from synthkit.errors import StoreError

    pictures = [plane(fake.images[i]) for i in range(len(fake))]
    scale = max(1, 128 // fake.space.size[-1])
    said = {"Description": f"synthetic images made by synthkit: {fake.provenance.source}"}
    try:
        write_atomically(path, png(sheet(pictures, columns=min(COLUMNS, len(pictures))), scale=scale, text=said))
    except OSError as error:
        raise StoreError(f"--sheet {path} cannot be written ({error.strerror or error}); the cohort is whole: give another file, and the same command draws "
                         "nothing anew") from error  # fmt: skip
    return path
