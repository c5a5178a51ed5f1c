"""`synthkit train`: fit a generator of any family."""
from pathlib import Path
from typing import Annotated

import typer

IMAGES = 4096  # of the phantom


def train(
    data: Annotated[str, typer.Argument(help="Catalog name or a folder with images and their table.")],
    out: Annotated[Path, typer.Option(help="Folder for the fitted generator.")],
    family: Annotated[str, typer.Option(help='"diffusion", "vae", "gan", "latent", "student" (with --start).')] = "diffusion",
    option: Annotated[list[str] | None, typer.Option(help="A setting of the family, key=value; may be given again.")] = None,
    images: Annotated[int | None, typer.Option(help="How many subjects of the chest phantom to draw.")] = None,
    table: Annotated[str | None, typer.Option(help="The folder's table of labels.")] = None,
    size: Annotated[int | None, typer.Option(help="Image size in pixels.")] = None,
    budget: Annotated[str, typer.Option(help='"smoke", "lesson", "full", "10 min" or "500 steps".')] = "lesson",
    balance: Annotated[str | None, typer.Option(help="A factor whose levels are drawn equally often.")] = None,
    start: Annotated[str | None, typer.Option(help="A fitted generator (folder or name) to go on from, or to teach a student.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16.")] = False,
) -> None:
    """Fit a generator; an interrupted run goes on when the same line is given again."""
    from synthkit.commands.recipes import recipe_named
    from synthkit.commands.sources import folder_for, generator_at, opened
    from synthkit.core.budget import resolve

    recipe = recipe_named(family, option or ())
    resolve(budget, recipe.budgets)
    teacher = generator_at(start) if start else None
    recipe.require_start(teacher)
    cohort = opened(data, table=table, size=size, images=images, seed=seed, drawn=IMAGES)
    generator = recipe.fit(cohort, budget=budget, seed=seed, balance=balance, start=teacher, run=folder_for(out) / "run")
    typer.echo(f"generator: {generator.save(out / 'generator', half=half)}  (synthkit.Generator.load reads it)")
