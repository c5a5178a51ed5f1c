"""`synthkit notebook`: run a notebook as a job."""
from pathlib import Path
from typing import Annotated

import typer


def notebook(
    name: Annotated[str, typer.Argument(help='Of a notebook that came with synthkit, "04_quality" or "quality", or the path of another.')],
    out: Annotated[Path, typer.Option(help="Folder for the notebook with its outputs, and its page.")],
    setting: Annotated[list[str] | None, typer.Option("--set", help="parameter=value, such as budget=smoke; may be given again.")] = None,
) -> None:
    """Run a notebook from top to bottom; exit status 0 only if every cell ran."""
    from synthkit.lifecycle.notebooks import read_settings, run_notebook

    done = run_notebook(name, out=out, settings=read_settings(setting or ()))
    typer.echo(f"{done.name}: {done.seconds:.0f} s{', FAILED in ' + done.failed if done.failed else ''}\nNotebook: {done.notebook}\nPage:     {done.page}")
    raise typer.Exit(int(bool(done.failed)))
