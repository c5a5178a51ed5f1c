"""The command line: `synthkit quickstart`, `train`, `generate`, `evaluate`, `compare`, `privacy`, `keys`, `verify`, `replay`, `trace`,
`serve`, `watch`, `notebook`, `workshop`, `lab`, `data`, `doctor`."""
from pathlib import Path
from typing import Annotated

import typer

from synthkit.commands.compare import compare
from synthkit.commands.evidence import data_diff, keys, replay, trace, verify
from synthkit.commands.generate import generate
from synthkit.commands.lifecycle import serve, watch
from synthkit.commands.notebook import notebook
from synthkit.commands.privacy import privacy
from synthkit.commands.train import train
from synthkit.commands.workshop import pack, selftest
from synthkit.errors import SynthkitError

app = typer.Typer(help="Synthetic medical imaging: load, generate, check, edit, explain.", no_args_is_help=True, pretty_exceptions_enable=False)
data_app = typer.Typer(help="Data sets of the catalog.", no_args_is_help=True)
app.add_typer(data_app, name="data")
workshop_app = typer.Typer(help="A workshop in a room without a network.", no_args_is_help=True)
app.add_typer(workshop_app, name="workshop")


@app.command()
def quickstart(
    data: Annotated[str, typer.Option(help="Catalog name or a folder with images and their table.")] = "chest-phantom",
    table: Annotated[str | None, typer.Option(help="The folder's table of labels.")] = None,
    size: Annotated[int | None, typer.Option(help="Bring the folder's images to this size in pixels.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the report and the synthetic cohort.")] = Path("synthkit-out"),
    train: Annotated[bool, typer.Option("--train", help="Train a generator here instead of the shipped one, which is for the phantom.")] = False,
    budget: Annotated[str, typer.Option(help='"smoke", "lesson", "full", "10 min" or "500 steps".')] = "lesson",
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
) -> None:
    """Load, generate, check, edit, explain, and write report.html."""
    from synthkit.quickstart import quickstart as run

    result = run(source=data, table=table, size=size, out=out, train=train, budget=budget, seed=seed, say=typer.echo)
    typer.echo(f"\nReport:  {result.report}\nSheet:   {result.sheet}\nCohort:  {result.synthetic}  (synthkit.load reads it)\nNext:    synthkit lab")


app.command()(train)
app.command()(generate)
for command in (keys, verify, replay, trace):
    app.command()(command)
data_app.command("diff")(data_diff)
for command in (serve, watch, notebook):
    app.command()(command)
for command in (pack, selftest):
    workshop_app.command()(command)


@app.command()
def lab(arguments: Annotated[list[str] | None, typer.Argument(help="Passed on to jupyter lab.")] = None) -> None:
    """Open JupyterLab on a copy of the notebooks."""
    from synthkit.lab import lab as run

    raise typer.Exit(run(arguments or [], say=typer.echo))


@app.command()
def evaluate(
    real: Annotated[str, typer.Argument(help="Real images: a saved cohort, a folder of images, or a catalog name.")],
    fake: Annotated[str, typer.Argument(help="Synthetic images, the same.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, scores.csv and images.csv.")],
    train: Annotated[str | None, typer.Option(help="What the generator was trained on, or further real images.")] = None,
    judge: Annotated[str | None, typer.Option(help="Real patients kept for judging whether factors are shown.")] = None,
    by: Annotated[list[str] | None, typer.Option(help="A factor to repeat the scores by; may be given again.")] = None,
    extractor: Annotated[list[str] | None, typer.Option(help='"encoder", "radiomics", "timm:NAME", a .pt2 file …; may be given again.')] = None,
    table: Annotated[str | None, typer.Option(help="The table of labels of folders of images.")] = None,
    size: Annotated[int | None, typer.Option(help="Bring folders of images to this size in pixels.")] = None,
    seed: Annotated[int, typer.Option(help="Of splits and resampling.")] = 0,
) -> None:
    """Score synthetic images against real ones, check each image, and write a report."""
    import synthkit as sk
    from synthkit.assessment import assess

    def opened(source: str) -> sk.Cohort:
        saved = (Path(source) / "cohort.json").is_file()  # it has its table and size
        return sk.load(source) if saved else sk.load(source, table=table, size=size)

    more = {name: opened(source) for name, source in (("train", train), ("judge", judge)) if source}
    done = assess(opened(real), opened(fake), out=out, by=by or (), extractor=extractor or None, seed=seed, say=typer.echo, **more)
    shown = done.quality.frame()[["metric", "group", "value", "low", "high", "floor", "reading"]]
    typer.echo(f"\n{shown.round(3).to_string(index=False)}\n\nReport:  {done.report}\nScores:  {done.scores}\nImages:  {done.images}")


app.command()(compare)
app.command()(privacy)


@app.command()
def doctor() -> None:
    """Versions, processor, GPU, browser, data: what is there, what is missing, and the command that mends it."""
    from synthkit.doctor import examine

    findings = examine()
    for finding in findings:
        typer.echo(finding.line())
    raise typer.Exit(int(any(f.needed and not f.good for f in findings)))


@data_app.command("list")
def data_list() -> None:
    """All data sets, and whether they are here."""
    from synthkit.data.catalog import catalog

    table = catalog()[["name", "images", "size", "licence", "available"]]
    typer.echo(f"{table.to_string(index=False)}\n\nsynthkit data show NAME tells more, and how to get it.")


@data_app.command("show")
def data_show(name: str) -> None:
    """Source, licence, terms, citation and factors of one data set."""
    from synthkit.data.catalog import entry

    typer.echo(entry(name).text())


@data_app.command("check")
def data_check(name: str) -> None:
    """Compare the local files with their recorded digests."""
    from synthkit.data.catalog import check

    found = check(name)
    typer.echo(found.to_string(index=False))


@data_app.command("prepare")
def data_prepare(name: str, source: Annotated[Path, typer.Option("--from", help="Folder of the official download.")]) -> None:
    """Make a catalog data set from its official download."""
    from synthkit.data.catalog import prepare

    typer.echo(f"written: {prepare(name, source)}")


def main() -> None:
    """Run the command line; a caller's mistake is one line and exit status 2."""
    try:
        app(standalone_mode=True)
    except SynthkitError as error:
        typer.secho(f"{type(error).__name__}: {error}", fg="red", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
