"""`synthkit compare`: several families on the same data, as a page and a table."""
from pathlib import Path
from typing import Annotated

import typer

IMAGES = 2048  # of the phantom


def compare(
    data: Annotated[str, typer.Argument(help="Catalog name or a folder with images and their table.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, families.csv and the generators.")],
    families: Annotated[str, typer.Option(help="Families to train, with commas; the first is what the others are held against.")] = "diffusion,vae,gan",
    generator: Annotated[list[str] | None, typer.Option(help="A fitted generator to compare as well (folder or name); may be given again.")] = None,
    budget: Annotated[str, typer.Option(help='Of each family: "5 min" for equal time, "500 steps", "smoke", "lesson", "full".')] = "5 min",
    images: Annotated[int | None, typer.Option(help="How many subjects of the chest phantom to draw.")] = None,
    table: Annotated[str | None, typer.Option(help="The folder's table of labels.")] = None,
    size: Annotated[int | None, typer.Option(help="Image size in pixels.")] = None,
    count: Annotated[int, typer.Option(help="Images to ask each family for.")] = 512,
    extractor: Annotated[str | None, typer.Option(help='"encoder" (the default), "radiomics", "timm:NAME", a .pt2 file …')] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    footprints: Annotated[bool, typer.Option(help="Measure time and memory, in processes of their own.")] = True,
) -> None:
    """Train several families in one budget and compare them; what is finished is not trained again when the line is repeated."""
    import synthkit as sk
    from synthkit.commands.recipes import recipe_named
    from synthkit.commands.sources import PHANTOM, folder_for, generator_at, opened
    from synthkit.core.budget import resolve
    from synthkit.core.files import write_atomically
    from synthkit.generators.base import Recipe
    from synthkit.studies.compare import compare as run
    from synthkit.studies.families.family import require_names

    names = require_names([name.strip() for name in families.split(",") if name.strip()] + list(generator or ()))
    recipes = len(names) - len(generator or ())
    candidates = {name: recipe_named(name) if place < recipes else generator_at(name) for place, name in enumerate(names)}
    for candidate in candidates.values():
        if isinstance(candidate, Recipe):
            resolve(budget, candidate.budgets)
    cohort = opened(data, table=table, size=size, images=images, seed=seed, drawn=IMAGES)
    truth = sk.ChestPhantom(size=64 if size is None else size) if data == PHANTOM else None
    runs = folder_for(out) / "runs"
    found = run(candidates, cohort, truth=truth, budget=budget, seed=seed, count=count, run=runs, extractor=extractor, footprints=footprints, say=typer.echo)
    write_atomically(out / "families.csv", found.frame().to_csv(index=False).encode())
    page = sk.Report(found.title, [found, found.real, *found.samples.values()]).save(out / "report.html")
    typer.echo(f"\n{found.overview().to_string(index=False)}\n\n* differs from {names[0]} (simultaneous 95 % intervals)")
    typer.echo(f"Report:  {page}\nTable:   {out / 'families.csv'}\nFitted:  {runs}")
