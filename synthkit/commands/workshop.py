"""`synthkit workshop`: pack one for a room without a network, and test an installation."""
from pathlib import Path
from typing import Annotated

import typer


def pack(
    out: Annotated[Path, typer.Option(help="Folder for wheels, notebooks, index.html and checksums.")],
    extra: Annotated[list[str] | None, typer.Option(help='An extra of synthkit to pack as well, such as "mlops"; may be given again.')] = None,
    source: Annotated[Path | None, typer.Option(help="The project's folder; the one this synthkit runs from when left out.")] = None,
    times: Annotated[bool, typer.Option(help="Run every notebook in its smallest budget and print how long it took.")] = True,
    install: Annotated[bool, typer.Option(help="Install from the wheels alone into a fresh environment and test it.")] = True,
    pip: Annotated[list[str] | None, typer.Option(help="A further word for pip, such as --pip=--extra-index-url=ADDRESS; may be given again.")] = None,
) -> None:
    """Pack a workshop: wheels of this platform, notebooks, a page for whoever teaches, checksums. Exit status 1 if a notebook fails."""
    from synthkit.lifecycle.workshop.pack import pack as run

    done = run(out, extras=extra or (), source=source, times=times, install=install, options=pip or (), say=typer.echo)
    typer.echo(f"\n{done.files} files, {done.megabytes:.0f} MB\nPage:      {done.page}\nChecksums: {done.folder / 'SHA256SUMS'}")
    for line in done.failed:
        typer.secho(f"FAILED {line}", fg="red", err=True)
    raise typer.Exit(int(bool(done.failed)))


def selftest(
    pack: Annotated[Path | None, typer.Option(help="Folder of a packed workshop, whose checksums are then compared.")] = None,
) -> None:
    """Does what a workshop needs work on this machine? Exit status 0 only if all does."""
    from synthkit.lifecycle.workshop.selftest import selftest as run

    found = run(pack)
    for line in found:
        typer.echo(f"{'ok' if line.passed else 'FAILED':<8}{line.what}: {line.detail}")
    raise typer.Exit(int(not all(line.passed for line in found)))
