"""Hybrid experiments on the chest phantom and on real rare classes: what synthetic images add to k real patients.

    python tests/benchmarks/bench_hybrid.py SETTING [--k 20] [--draw 0] [--steps 200] [--run FOLDER] [--smoke] [--record]

Settings:
    phantom-own       pneumothorax at site B; the generator learns from the same k-shot patients.
    phantom-site-a    pneumothorax at site B; the generator was pretrained at site A (--generator FOLDER) and is fine-tuned.
    ham-df, ham-vasc  dermatofibroma, vascular lesions; the generator was pretrained on training patients with the other diagnoses.
    nih-cardiomegaly  cardiomegaly in chest X-rays; the generator learns from the same k-shot patients.

`--draw` is the seed of the k patients and, on real data, of the split of the patients. `--record` writes the tables under results/.
"""
import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import synthkit as sk
from synthkit.core.budget import Budget
from synthkit.generators.base import Recipe
from synthkit.studies.hybrid.hybrid import hybrid
from synthkit.studies.hybrid.result import STORED

OPTIONS = {"widths": (16, 32, 48, 64)}
FINDING = "pneumothorax"


@dataclass(frozen=True)
class Setting:
    """One experiment: its cohorts, its rare class and its generator."""

    target: str
    level: str
    real: sk.Cohort
    valid: sk.Cohort
    test: sk.Cohort
    generator: sk.Generator | Recipe
    fine_tune: Budget | None = None


def films(count: int, ill: int, *, seed: int) -> sk.Cohort:
    """Phantom films of site B, the first `ill` of them with a pneumothorax and the others without."""
    phantom = sk.ChestPhantom(64)
    table = phantom.factors_table(5 * count, seed=seed)
    subjects = table[(table["site"] == "B") & (table[FINDING] == "absent")][:count].reset_index(drop=True)
    like = phantom.cohort(1, seed=seed)
    sides = [phantom.counterfactual_table(part, {FINDING: level}) for part, level in ((subjects[:ill], "present"), (subjects[ill:], "absent"))]
    return rendered(phantom, pd.concat(sides, ignore_index=True), like)


def guidance(args: argparse.Namespace, target: str) -> dict[str, float]:
    """Of sampling: the rare factor alone."""
    return {target: args.guidance} if args.guidance != 1 else {}


def rendered(phantom: Any, table: pd.DataFrame, like: sk.Cohort) -> sk.Cohort:
    """The images of a table of subjects."""
    raw = like.space.to_raw(phantom.render(table) * 2 - 1)
    return sk.Cohort.of(raw, table, schema=like.schema, space=like.space, provenance=like.provenance)


def phantom_cohorts(args: argparse.Namespace) -> tuple[sk.Cohort, sk.Cohort, sk.Cohort]:
    """Training (twice k films with the finding, to draw from), validation and test films; their shares are stated in the record."""
    sizes = ((60 + 2 * args.k, 2 * args.k), (60, 12), (100, 20)) if args.smoke else ((400 + 2 * args.k, 2 * args.k), (400, 40), (1500, 150))
    return tuple(films(count, ill, seed=1000 + number) for number, (count, ill) in enumerate(sizes))


def own(args: argparse.Namespace) -> sk.Diffusion:
    """The recipe of a generator that learns from the k-shot patients."""
    target = "cardiomegaly" if args.setting.startswith("nih") else FINDING
    return sk.Diffusion(steps=args.sampling_steps or sk.Diffusion().steps, guidance=guidance(args, target))


def phantom_own(args: argparse.Namespace) -> Setting:
    return Setting(FINDING, "present", *phantom_cohorts(args), own(args))


def phantom_site_a(args: argparse.Namespace) -> Setting:
    return Setting(FINDING, "present", *phantom_cohorts(args), sk.Generator.load(args.generator), f"{2 if args.smoke else args.fine_tune} steps")


def split(cohort: sk.Cohort, factor: str, level: str, *, draw: int) -> tuple[sk.Cohort, ...]:
    """Patients to train on, to choose on and to test on, those of the rare class apart so that each part has its share; another split for every draw."""
    names = cohort.table["patient_id"]
    ill = names.isin(names[cohort.table[factor] == level]).to_numpy()
    # One image stands for each patient, so that the shares are those of patients, however many images they have.
    sides = [cohort[np.flatnonzero(side & ~names.duplicated())].split((0.4, 0.2, 0.4), seed=draw) for side in (ill, ~ill)]
    chosen = [pd.concat([first.table["patient_id"], second.table["patient_id"]]) for first, second in zip(*sides)]
    return tuple(cohort[np.flatnonzero(names.isin(part))] for part in chosen)


def ham(level: str) -> Callable[[argparse.Namespace], Setting]:
    def made(args: argparse.Namespace) -> Setting:
        train, valid, test = split(sk.load("ham10000-64"), "dx", level, draw=args.draw)
        elsewhere = train.where(f"dx != '{level}'")
        budget = "2 steps" if args.smoke else f"{args.pretraining} steps"
        generator = sk.Diffusion().fit(elsewhere, budget=budget, seed=0, run=args.run and Path(args.run) / "pretraining")
        return Setting("dx", level, train, valid, test, generator, f"{2 if args.smoke else args.fine_tune} steps")

    return made


def nih(args: argparse.Namespace) -> Setting:
    train, valid, test = split(sk.load("nih-cxr64"), "cardiomegaly", "present", draw=args.draw)
    return Setting("cardiomegaly", "present", train, valid, test, own(args))


SETTINGS = {"phantom-own": phantom_own, "phantom-site-a": phantom_site_a, "ham-df": ham("df"), "ham-vasc": ham("vasc"), "nih-cardiomegaly": nih}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("setting", choices=SETTINGS)
    options.add_argument("--k", type=int, default=20)
    options.add_argument("--draw", type=int, default=0, help="seed of the k patients, and on real data of the split")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--shares", type=float, nargs="+", default=[0.5, 1, 2])
    options.add_argument("--steps", type=int, default=200, help="of each classifier")
    options.add_argument("--generator", help="folder of the pretrained generator")
    options.add_argument("--sampling-steps", type=int, default=0, help="of the diffusion; 0 keeps those of the generator")
    options.add_argument("--guidance", type=float, default=1, help="weight of the rare factor in sampling")
    options.add_argument("--generator-budget", default="2000 steps")
    options.add_argument("--pretraining", type=int, default=2000, help="steps on the other diagnoses")
    options.add_argument("--fine-tune", type=int, default=400, help="steps on the k-shot patients")
    options.add_argument("--jobs", type=int)
    options.add_argument("--run", help="folder to resume from")
    options.add_argument("--smoke", action="store_true", help="a few steps of everything, to see that it runs")
    options.add_argument("--record", action="store_true")
    options.add_argument("--store", help="name under which the result comes with synthkit, for sk.Hybrid.stored")
    args = options.parse_args()
    setting = SETTINGS[args.setting](args)
    generator = setting.generator
    if isinstance(generator, sk.Generator):
        steps = {"steps": args.sampling_steps} if args.sampling_steps else {}
        generator = generator.using(guidance=guidance(args, setting.target), **steps)
    result = hybrid(
        sk.Classifier(setting.target, options=OPTIONS), real=setting.real, valid=setting.valid, test=setting.test, generator=generator,
        rare={setting.target: setting.level, "k": args.k, "seed": args.draw}, fine_tune=setting.fine_tune, run=args.run, jobs=args.jobs,
        shares=(0.1,) if args.smoke else args.shares, seeds=range(1 if args.smoke else args.seeds), budget=sk.Steps(4 if args.smoke else args.steps),
        generator_budget="2 steps" if args.smoke else args.generator_budget,
    )  # fmt: skip
    report(result, args)


def report(result: Any, args: argparse.Namespace) -> None:
    frame = result.frame()
    first = ["part", "arm", "against", "value", "low", "high", "baseline", "difference", "diff_low", "diff_high", "relative", "rel_low", "rel_high", "verdict"]
    print(result.title)
    print(frame[frame["measure"] == "AUPRC"][first].round(3).to_string(index=False))
    print(frame[(frame["part"] == "headline") & (frame["measure"] != "AUPRC")][["measure", *first[1:]]].round(3).to_string(index=False))
    print("\n".join(result.caveats()))
    if args.store:
        result.save(STORED / f"{args.store}.json")
    if args.record:
        place = Path(__file__).parent / "results" / f"hybrid-{args.setting}-k{args.k}-draw{args.draw}.json"
        settings = {name: value for name, value in vars(args).items() if name not in ("run", "record", "jobs", "generator", "store")}
        rows = json.loads(frame.replace({np.nan: None}).round(5).to_json(orient="records"))
        record = {"date": str(date.today()), "settings": settings, "title": result.title, "rows": rows, "caveats": result.caveats()}
        place.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
