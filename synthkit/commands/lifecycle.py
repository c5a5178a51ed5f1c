"""`synthkit serve` and `synthkit watch`: a generator in service."""
from pathlib import Path
from typing import Annotated

import typer

SUBJECTS = 2048  # of the phantom


def serve(
    name: Annotated[str, typer.Argument(help="Of the champion in the MLflow registry.")] = "generator",
    port: Annotated[int, typer.Option(help="On which it listens.")] = 5001,
    host: Annotated[str, typer.Option(help="Address it listens on; 0.0.0.0 is every network of this machine.")] = "127.0.0.1",
    tracking: Annotated[str | None, typer.Option(help="MLflow's database or server; MLFLOW_TRACKING_URI when left out.")] = None,
) -> None:
    """Serve the champion: POST a table of factors and a seed to /invocations, and get marked synthetic images."""
    from synthkit.lifecycle.serve import serve as run
    from synthkit.lifecycle.tracking import track

    if tracking is not None:
        track(tracking)
    raise typer.Exit(run(name, port=port, host=host))


def watch(
    new: Annotated[str, typer.Argument(help="New real patients: a saved cohort, a folder of images, or a catalog name.")],
    train: Annotated[str, typer.Option(help="What the champion learnt from, the same.")],
    gate: Annotated[list[str], typer.Option(help='What a successor must keep, "KID<0.05" or "Adherence AUC:effusion>0.8"; may be given again.')],
    out: Annotated[Path, typer.Option(help="Folder of this watch: log, successor, report.html.")],
    name: Annotated[str, typer.Option(help="Of the champion in the MLflow registry.")] = "generator",
    judge: Annotated[str | None, typer.Option(help="Real patients kept for judging; needed for adherence.")] = None,
    budget: Annotated[str, typer.Option(help='Of the training, "500 steps" or "10 min".')] = "500 steps",
    alpha: Annotated[float, typer.Option(help="Chance of a false alarm.")] = 0.01,
    fewest: Annotated[int, typer.Option(help="Images below which a gate refuses.")] = 100,
    table: Annotated[str | None, typer.Option(help="The table of labels of folders of images.")] = None,
    size: Annotated[int | None, typer.Option(help="Bring folders of images to this size in pixels.")] = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow's database or server; MLFLOW_TRACKING_URI when left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
) -> None:
    """Hold new patients against the champion's; where they drifted, train, measure, and promote or refuse. Exit status 1 only if a successor is refused."""
    import synthkit as sk
    from synthkit.commands.sources import opened
    from synthkit.lifecycle.gates import read_gate
    from synthkit.lifecycle.promote import REFUSED

    rules = read_gate(gate, fewest=fewest)
    if tracking is not None:
        sk.track(tracking)
    sk.champion(name)
    cohorts = [opened(one, table=table, size=size, images=None, seed=seed, drawn=SUBJECTS) if one else None for one in (new, train, judge)]
    found = sk.watch(cohorts[0], train=cohorts[1], judge=cohorts[2], gate=rules, run=out, name=name, alpha=alpha, budget=budget, fewest=fewest, seed=seed,
                     say=typer.echo)  # fmt: skip
    sections = [found, *(one for one in (found.drift, found.promotion) if one is not None)]
    page = sk.Report(found.title, sections).save(out / "report.html")
    typer.echo(f"\n{found.title}\nReport:  {page}\nLog:     {out / 'watch.jsonl'}")
    raise typer.Exit(int(found.outcome == REFUSED))
