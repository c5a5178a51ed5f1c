"""`synthkit privacy`: what a generator and its images give away of the patients it was trained on."""
from pathlib import Path
from typing import Annotated

import typer

SUBJECTS = 2048  # of the phantom


def privacy(
    generator: Annotated[str, typer.Argument(help="Folder of a saved generator, or one that comes with synthkit.")],
    data: Annotated[str, typer.Argument(help="Saved cohort, folder or catalog name that holds its training patients; the others in it are held out.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, attacks.csv and pairs.csv.")],
    holdout: Annotated[str | None, typer.Option(help="Patients whom it never saw, where they lie elsewhere.")] = None,
    fake: Annotated[str | None, typer.Option(help="Its images; left out, up to 1,000 are drawn.")] = None,
    table: Annotated[str | None, typer.Option(help="The table of labels of folders of images.")] = None,
    size: Annotated[int | None, typer.Option(help="Bring folders of images to this size in pixels.")] = None,
    images: Annotated[int | None, typer.Option(help="How many subjects of the chest phantom to draw.")] = None,
    seed: Annotated[int, typer.Option(help="Of drawing and shuffling.")] = 0,
) -> None:
    """Attack a generator and its images: near copies, nearest patients, membership; the verdict is one of three."""
    import synthkit as sk
    from synthkit.commands.sources import folder_for, generator_at, opened
    from synthkit.core.files import write_atomically

    fitted = generator_at(generator)
    cohort = opened(data, table=table, size=size, images=images, seed=seed, drawn=SUBJECTS)
    known = fitted.knows(cohort)
    train = cohort[known]
    if not len(train):
        raise sk.DataError(f"{fitted.card.name} learnt from none of the patients in {data}; give the images that it was trained on")
    if holdout is not None:
        apart = opened(holdout, table=table, size=size, images=None, seed=seed, drawn=SUBJECTS)
    else:
        apart = cohort[~known] if (~known).any() else None
    drawn = opened(fake, table=table, size=size, images=None, seed=seed, drawn=SUBJECTS) if fake is not None else None
    folder_for(out)
    typer.echo(f"{len(train)} images of patients it was trained on, {0 if apart is None else len(apart)} of others")
    found = sk.privacy(fitted, train=train, holdout=apart, fake=drawn, seed=seed)
    write_atomically(out / "attacks.csv", found.attacks.to_csv(index=False).encode())
    write_atomically(out / "pairs.csv", found.pairs.to_csv(index=False).encode())
    page = sk.Report(found.title, [found]).save(out / "report.html")
    if len(found.attacks):
        typer.echo(found.attacks[["attack", "eye", "value", "low", "high", "expected", "p"]].to_string(index=False, max_colwidth=40))
    typer.echo(f"\n{found.verdict}: {found.reason}\n\nReport:  {page}\nAttacks: {out / 'attacks.csv'}\nPairs:   {out / 'pairs.csv'}")
