"""`synthkit generate`: images from a fitted generator, by a table of requests or by a few factors."""
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pandas as pd

    from synthkit.core.cohort import Cohort
    from synthkit.core.schema import Schema

COLUMNS, SHOWN = 12, 60


def generate(
    generator: Annotated[str, typer.Argument(help='Folder of a saved generator, or one that comes with synthkit, such as "chest-phantom-64".')],
    out: Annotated[Path, typer.Option(help="Folder for the cohort and sheet.png.")],
    table: Annotated[Path | None, typer.Option(help="Requests, CSV or Parquet: one row per image; the columns that are factors count.")] = None,
    count: Annotated[int | None, typer.Option(help="Images of each combination of the given factors.")] = None,
    given: Annotated[list[str] | None, typer.Option(help="factor=value, or factor=value,value for several; may be given again. Others stay open.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps of sampling, for families that have them.")] = None,
    solver: Annotated[str | None, typer.Option(help="Solver of sampling, for families that have one.")] = None,
) -> None:
    """Draw synthetic images and save them as a cohort with a contact sheet."""
    from synthkit.commands.sources import folder_for, generator_at
    from synthkit.errors import SchemaError

    if (table is None) == (count is None) or (table is not None and given):
        raise SchemaError("give either --table, or --count and perhaps --given")
    fitted = generator_at(generator)
    chosen = {name: value for name, value in (("steps", steps), ("solver", solver)) if value is not None}
    fitted = fitted.using(**chosen) if chosen else fitted
    wanted = _read(table) if table is not None else _requests(fitted.schema, count, given or [])
    folder_for(out)
    fake = fitted.sample(wanted, seed=seed)
    saved = fake.save(out / "cohort")
    picture = _sheet(fake, out / "sheet.png")
    typer.echo(f"{len(fake)} images by {fitted.card.name}, {fitted.evaluations} network evaluation(s) each, seed {seed}")
    counts = fake.counts()
    typer.echo(counts[counts["level"] != "missing"].to_string(index=False) if (counts["level"] != "missing").any() else "no factor was given")
    typer.echo(f"\nCohort:  {saved}  (synthkit.load reads it)\nSheet:   {picture}")


def _read(path: Path) -> "pd.DataFrame":
    """The table of requests in a file."""
    import pandas as pd

    from synthkit.errors import DataError

    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else _csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table of requests ({error}); give a CSV, TSV or Parquet file") from error


def _csv(path: Path) -> "pd.DataFrame":
    """Ids as they are written, since they key the noise; only an empty cell leaves a factor open."""
    import pandas as pd

    ids = {name: str for name in ("image_id", "patient_id")}
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=ids, keep_default_na=False, na_values=[""])


def _requests(schema: "Schema", count: int, given: list[str]) -> "pd.DataFrame":
    """`count` rows for every combination of the given values."""
    import pandas as pd

    from synthkit.errors import SchemaError

    values: dict[str, list[str]] = {}
    for text in given:
        name, equals, listed = text.partition("=")
        if not equals or name in values:
            raise SchemaError(f"--given {text!r}: give each factor once as factor=value, or factor=value,value")
        schema[name]
        values[name] = listed.split(",")
    if count < 1:
        raise SchemaError(f"--count {count}: ask for one image or more")
    return schema.grid(each=count, **values) if values else pd.DataFrame(index=range(count))


def _sheet(fake: "Cohort", path: Path) -> Path:
    """The first images as one PNG that says what it shows."""
    from synthkit.core.figures import plane, png, sheet
    from synthkit.core.files import write_atomically

    pictures = [plane(fake.images[i]) for i in range(min(SHOWN, len(fake)))]
    scale = max(1, 128 // fake.space.size[-1])
    said = {"Description": f"synthetic images made by synthkit: {fake.provenance.source}"}
    write_atomically(path, png(sheet(pictures, columns=min(COLUMNS, len(pictures))), scale=scale, text=said))
    return path
