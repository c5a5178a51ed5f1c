"""`synthkit keys`, `verify`, `replay`, `trace` and `data diff`: whether data are what they were, and where they come from."""
from pathlib import Path
from typing import Annotated

import typer


def keys(
    trust: Annotated[Path | None, typer.Option(help="Public key (signing.pub) of somebody else whose signatures shall pass here.")] = None,
) -> None:
    """Make this machine's signing key once, and tell whose signatures are believed; what is saved from then on is signed."""
    from synthkit.core.signing import fingerprint, make_key, read_public, trusted
    from synthkit.core.signing import trust as believe

    if trust is not None:
        typer.echo(f"trusted from now on: {believe(trust)}")
    path, new = make_key()
    word = "made" if new else "there"
    typer.echo(f"own key {fingerprint(read_public(path))}, {word}. Hand out {path}; the private half beside it never leaves this machine.")
    for key, place in trusted().items():
        typer.echo(f"  believed: {fingerprint(key)}  {place}")


def verify(
    cohort: Annotated[Path, typer.Argument(help="Folder of a saved cohort.")],
    key: Annotated[Path | None, typer.Option(help="Public key of who must have signed it.")] = None,
) -> None:
    """Compare every byte, record and signature of a saved cohort with what was saved; exit status 0 only if nothing differs."""
    import synthkit as sk

    found = sk.verify(cohort, key=key)
    for row in found.frame().itertuples():
        typer.echo(f"{row.result:>9}  {row.part}: {row.detail}")
    typer.echo(found.title)
    for line in found.caveats():
        typer.echo(line)
    raise typer.Exit(int(not found.passed))


def replay(
    cohort: Annotated[Path, typer.Argument(help="Folder of a saved cohort.")],
    n: Annotated[int, typer.Option(help="How many images to make again, chosen by chance.")] = 64,
    generator: Annotated[list[Path] | None, typer.Option(help="Folder of a generator that may have made them; may be given again.")] = None,
    sources: Annotated[Path | None, typer.Option(help="Folder of the cohort with the originals of edited images.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice.")] = 0,
) -> None:
    """Make images again from their lineage: EXACT, TOLERANT with figures, or FAILED; exit status 0 only without a failure."""
    import synthkit as sk

    found = sk.replay(cohort, n=n, generators=generator or (), sources=sk.load(sources) if sources else None, seed=seed)
    frame = found.frame()
    worst = frame[frame["grade"] != "EXACT"].head(20)
    if len(worst):
        typer.echo(worst.to_string(index=False, max_colwidth=80))
    typer.echo(found.title)
    for line in found.caveats():
        typer.echo(line)
    raise typer.Exit(int(not found.passed))


def trace(
    image: Annotated[str, typer.Argument(help="Exported DICOM, PNG or NIfTI file, or the image_id of a cohort.")],
    cohort: Annotated[Path | None, typer.Option(help="Folder of the cohort with that image_id.")] = None,
    train: Annotated[Path | None, typer.Option(help="Folder of a cohort that it may have been learnt from, to be compared by digest.")] = None,
) -> None:
    """Where an image comes from: record, request, generator and training data, by digests; exit status 0 only if its pixels are those of its record."""
    import synthkit as sk

    found = sk.trace(image, cohort=cohort, train=train)
    for row in found.frame().itertuples():
        typer.echo(f"{row.link}: {row.what}" + (f"\n    sha256 {row.digest}" if row.digest else ""))
    raise typer.Exit(int(not found.holds or found.learnt is False))


def data_diff(
    before: Annotated[Path, typer.Argument(help="Folder of a saved cohort.")], after: Annotated[Path, typer.Argument(help="Folder of another version.")]
) -> None:
    """What changed between two saved cohorts; exit status 0 only if nothing did."""
    import synthkit as sk

    found = sk.diff(before, after)
    typer.echo(found.title)
    for row in found.frame().itertuples():
        typer.echo(f"  {row.what}: {row.images} image(s); {row.detail}")
    raise typer.Exit(int(not found.same))
