"""What each family cost to train, and costs to use."""
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from synthkit.core.cohort import Cohort
from synthkit.studies.families.family import Family
from synthkit.studies.families.footprint import Footprint, footprint
from synthkit.studies.families.scoreboard import COST, Scoreboard

MEGABYTE = 2**20
COUNTED, ONE_RUN = "counted", "one run"


def cost_rows(board: Scoreboard, family: Family, like: Cohort, *, measure: bool) -> None:
    """Training, parameters, disk, network evaluations and, unless switched off, time and memory of sampling."""
    generator, told = family.generator, family.generator.card.training
    note = ONE_RUN if family.trained_here else "as its card says; another training than the others'"
    exact = {
        "training (min)": (told["seconds"] / 60 if "seconds" in told else None, note, "lower"),
        "training steps": (told.get("steps"), note, ""),
        "training images seen": (told.get("images seen"), note, ""),
        "parameters (millions)": (sum(p.numel() for p in generator.trained.parameters()) / 1e6, COUNTED, "lower"),
        "on disk (MB)": (_on_disk(family), COUNTED, "lower"),
        "network evaluations per image": (generator.evaluations, COUNTED, "lower"),
    }
    for name, (value, reading, better) in exact.items():
        if value is not None:
            board.add(family.name, COST, measure=name, group="all", value=float(value), n=1, better=better, reading=reading)
    if measure:
        found = footprint(generator, like, training=family.trained_here)
        if isinstance(found, str):
            board.notes.append(f"{family.name}: time and memory were not measured ({found}).")
        else:
            _measured(board, family.name, found)


def _measured(board: Scoreboard, name: str, found: Footprint) -> None:
    spent = 1000 * np.array(found.seconds)
    place = f"{found.device}, {found.threads} thread(s)" if found.device == "cpu" else found.device
    said = f"median and range of {len(spent)} runs of {found.batch} images, warm, on {place}"
    board.add(name, COST, measure="time per image (ms)", group="all", value=float(np.median(spent)), low=float(spent.min()), high=float(spent.max()),
               n=len(spent), better="lower", reading=said)  # fmt: skip
    memory = {"memory of sampling (MB)": (found.sampling_bytes, found.batch), "memory of training (MB)": (found.training_bytes, None)}
    for measure, (count, batch) in memory.items():
        if count is not None:
            of = f"a batch of {batch}" if batch else "two steps of its own batch size"
            board.add(name, COST, measure=measure, group="all", value=count / MEGABYTE, n=1, better="lower", reading=f"peak over {of}, beyond the libraries")


def _on_disk(family: Family) -> float:
    with TemporaryDirectory() as folder:
        saved = family.generator.save(Path(folder) / "generator")
        return sum(path.stat().st_size for path in saved.rglob("*") if path.is_file()) / MEGABYTE
