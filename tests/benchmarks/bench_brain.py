"""Heads in T1, T2, FLAIR and CT: do samples show what is asked, how well is CT drawn from T1, and does the record help?

    python tests/benchmarks/bench_brain.py [--generator brain-phantom-48] [--minutes 75] [--folder bench-brain] [--count 24] [--record] [--write]

Everything is judged by exact truth: volumes by a segmenter that learnt from other subjects (its own error on exact images stands beside),
completed CT by the CT of the same subject, in HU inside the head. Beside the generator's CT stand the CT of the nearest other subject by T1
and that of a regression U-Net (L1) of the same width, told the same and trained for --minutes on the same subjects. A run that broke off
goes on. `--write` puts the recorded figures into the shipped checkpoint's card.
"""
import argparse
import json
import platform
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import synthkit as sk
from synthkit.core.budget import Minutes
from synthkit.core.intervals import bootstrap
from synthkit.generators.checkpoint import SHIPPED
from synthkit.nets.hiding import Hiding
from synthkit.nets.network import Batch, Trainable
from synthkit.nets.unet import UNet
from synthkit.training.data import TrainingData
from synthkit.training.plan import Plan
from synthkit.training.trainer import train

LEARNT, TAUGHT, TESTED, SUBJECTS = 1000, 2000, 3000, 2000
RECORD = ["mmse", "haemoglobin", "dementia", "glioma", "anaemia"]
WINDOW = sk.BrainPhantom().space.channels[3]


class Regression(Trainable):
    """The CT by least absolute error from T1 and the factors, some of them hidden."""

    def __init__(self, size: tuple[int, ...], hiding: Hiding, width: int):
        super().__init__()
        self.net = UNet(channels=2, size=size, condition_width=width, widths=(32, 64, 96, 112), embedding=192, straight=False)
        self.hiding = hiding

    def ct(self, t1: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.net(torch.cat([t1, torch.zeros_like(t1)], 1), torch.ones(len(t1), device=t1.device), c)[:, 1:]

    def training_step(self, batch: Batch) -> torch.Tensor:
        return (self.ct(batch.x[:, :1], self.hiding(batch)).float() - batch.x[:, 3:]).abs().mean()


@cache
def learnt(size: int) -> sk.Cohort:
    return sk.BrainPhantom(size=size).cohort(SUBJECTS, seed=LEARNT)


def regression(brain: sk.BrainPhantom, minutes: float, folder: Path) -> Regression:
    heads = learnt(brain.size)
    torch.manual_seed(0)
    network = Regression(heads.space.size, Hiding(tuple(heads.schema.blocks()), 0.3), heads.schema.width)
    data = TrainingData(heads, heads.schema.encode(heads.table), batch_size=8, seed=0)
    plan = Plan(Minutes(minutes), batch_size=8, learning_rate=1e-3, run=folder / "regression", identity={"regression": minutes}, title="regression")
    print("regression: images seen", train(network, data, plan).images_seen)
    return network


def hidden(heads: sk.Cohort, names: list[str]) -> sk.Cohort:
    """The same heads with some factors unknown."""
    table = heads.table.assign(**{name: pd.Series([None] * len(heads), dtype=object) for name in names})
    return sk.Cohort(heads.images, table, heads.schema, heads.provenance, heads.notes)


def hu(cohort: sk.Cohort) -> torch.Tensor:
    return (cohort.images.tensor()[:, 3] + 1) / 2 * (WINDOW.high - WINDOW.low) + WINDOW.low


def row(name: str, each: np.ndarray, units: np.ndarray) -> dict[str, object]:
    low, high = bootstrap(lambda rows: float(each[rows].mean()), units)
    return {"CT": name, "value": float(each.mean()), "low": low, "high": high, "n": len(each)}


def completing(generator: sk.Generator, brain: sk.BrainPhantom, network: Regression | None, test: sk.Cohort, draws: int) -> list[dict[str, object]]:
    """MAE inside the head of each way to a CT, and how much the 90 % interval holds."""
    exact, units = hu(test), test.table["patient_id"].to_numpy()
    head = brain.masks(test)["intracranial"] | brain.masks(test)["skull"]

    def error(name: str, shown: torch.Tensor) -> dict[str, object]:
        return row(name, np.array([float((a - b).abs()[m].mean()) for a, b, m in zip(shown, exact, head)]), units)

    library = learnt(brain.size)
    t1 = [library.images.tensor(range(a, min(a + 100, SUBJECTS)))[:, 0].flatten(1) for a in range(0, SUBJECTS, 100)]
    nearest = torch.cat([torch.cdist(test.images.tensor()[:, 0].flatten(1), part) for part in t1], 1).argmin(1)
    found = [error(f"nearest of {SUBJECTS} by T1", hu(library[nearest.numpy()]))]
    ways = {"": test, ", record hidden": hidden(test, RECORD), ", all factors hidden": hidden(test, list(test.schema.names))}
    if network is not None:
        for name, heads in ways.items():
            c, parts = torch.from_numpy(test.schema.encode(heads.table)), []
            with torch.inference_mode():
                for a in range(0, len(test), 8):
                    parts.append(network.ct(test.images.tensor(range(a, min(a + 8, len(test))))[:, :1], c[a : a + 8])[:, 0])
            ct = (torch.cat(parts).clamp(-1, 1) + 1) / 2 * (WINDOW.high - WINDOW.low) + WINDOW.low
            found.append(error(f"regression U-Net{name}", ct))
    told = {"from T1": (["T2", "FLAIR", "CT"], ways), "from T1, T2, FLAIR": (["CT"], {"": test})}
    for source, (missing, ways) in told.items():
        for name, heads in ways.items():
            drawn = sk.completion(generator, heads, missing=missing, draws=draws)
            frame = drawn.against(test, inside=head).frame().set_index("measure")
            of_ct = frame[frame.index.str.startswith("CT: ")]
            found += [{"CT": f"{measure.removeprefix('CT: ')} {source}{name}", **values.to_dict()} for measure, values in of_ct.iterrows()]
    return found


def agreeing(told: pd.Series, seen: pd.Series, units: np.ndarray) -> dict[str, float]:
    """Correlation with its interval, which forgives a segmenter that finds too much or too little of everything, and R2, which does not."""
    wanted, read = told.to_numpy(float), seen.to_numpy(float)
    low, high = bootstrap(lambda rows: float(np.corrcoef(wanted[rows], read[rows])[0, 1]), units)
    r2 = 1 - np.square(wanted - read).sum() / np.square(wanted - wanted.mean()).sum()
    return {"correlation": float(np.corrcoef(wanted, read)[0, 1]), "low": low, "high": high, "n": len(told), "R2": float(r2)}


def adhering(generator: sk.Generator, brain: sk.BrainPhantom, test: sk.Cohort) -> list[dict[str, object]]:
    """Volumes that a segmenter finds in samples against those that were asked for, and in exact images against the truth."""
    teach = brain.cohort(160, seed=TAUGHT)
    masks = {name: mask for name, mask in brain.masks(teach).items() if name in ("ventricles", "tumour", "brain")}
    finder = sk.Segmenter(batch_size=4).fit(teach, masks, budget=sk.Steps(300), seed=0, progress=False)
    ml, rows = (brain.space.spacing_mm[0] ** 3) / 1000, []
    asked = {"all factors": test, "record alone": hidden(test, [name for name in test.schema.names if name not in (*RECORD, "age", "sex")]),
             "age and sex alone": hidden(test, [name for name in test.schema.names if name not in ("age", "sex")])}  # fmt: skip
    shown = {"exact images": test, **{name: generator.sample(heads.table, seed=1) for name, heads in asked.items()}}
    for name, heads in shown.items():
        found = finder.masks(heads)
        for organ, factor in (("ventricles", "ventricle_volume"), ("tumour", "tumour_volume"), ("brain", "brain_volume")):
            told = test.table[factor].fillna(0.0) if organ == "tumour" else test.table[factor]
            seen = pd.Series(found[organ].flatten(1).sum(1).numpy() * ml)
            rows.append({"shown": name, "volume": organ, **agreeing(told.astype(float), seen, test.table["patient_id"].to_numpy())})
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--generator", default="brain-phantom-48")
    options.add_argument("--minutes", type=float, default=75, help="of the regression; 0 leaves it out")
    options.add_argument("--only-regression", action="store_true")
    options.add_argument("--size", type=int, default=48)
    options.add_argument("--folder", type=Path, default=Path("bench-brain"))
    options.add_argument("--count", type=int, default=24)
    options.add_argument("--draws", type=int, default=19)
    options.add_argument("--parts", nargs="*", default=["adherence", "completion"], help="which of both to measure")
    options.add_argument("--record", action="store_true")
    options.add_argument("--write", action="store_true")
    args = options.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    brain = sk.BrainPhantom(size=args.size)
    network = regression(brain, args.minutes, args.folder) if args.minutes else None
    if args.only_regression:
        return
    generator = sk.Generator.load(args.generator) if Path(args.generator).is_dir() else sk.Generator.pretrained(args.generator)
    shipped, place = generator, Path(__file__).parent / "results" / "brain-phantom.json"
    generator, test = generator.using(steps=6, solver="adams", shift=2), brain.cohort(args.count, seed=TESTED)
    found: dict[str, list[dict[str, object]]] = {}
    if "adherence" in args.parts:
        found["adherence"] = adhering(generator, brain, brain.cohort(4 * args.count, seed=TESTED + 1))
    if "completion" in args.parts:
        found["completion"] = completing(generator, brain, network, test, args.draws)
    for rows in found.values():
        print(pd.DataFrame(rows).round(3).to_string())
    if args.record:
        about = json.loads(place.read_text()) if place.is_file() else {}
        about |= {"date": f"{date.today()}", "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
                  "generator": generator.card.name, "sampling": "6 steps, adams, shift 2",
                  "training": {name: generator.card.training[name] for name in ("budget", "images seen", "precision")},
                  **({"regression minutes": args.minutes} if "completion" in found else {}), **found}  # fmt: skip
        place.write_text(json.dumps(about, indent=1, default=str) + "\n")
    if args.write:
        about = json.loads(place.read_text())
        measured = [{"what": f"{one['volume']} volume, {one['shown']}", "measure": "correlation", "value": one["correlation"],
                     **{key: one[key] for key in ("low", "high", "n")}}
                    for one in about["adherence"]]  # fmt: skip
        measured += [{"what": "CT inside the head", "measure": one["CT"], **{key: one[key] for key in ("value", "low", "high", "n")}}
                     for one in about.get("completion", [])]  # fmt: skip
        replace(shipped, card=replace(shipped.card, measured=measured)).save(SHIPPED / args.generator, half=True)


if __name__ == "__main__":
    main()
