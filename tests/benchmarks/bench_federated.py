"""Several hospitals: pooled training against each for itself, averaged weights and exchanged synthetic images, at equal steps.

    python tests/benchmarks/bench_federated.py phantom [--steps 480] [--smoke] [--record]   # four sites that differ in scanner, age and prevalence
    python tests/benchmarks/bench_federated.py nih [--steps 480] [--smoke] [--record]       # nih-cxr64, patients over three sites
    python tests/benchmarks/bench_federated.py kill [--record]                              # processes over loopback, one killed in round 2 of 5

Every arm takes the same number of steps in all, wherever they are taken; "fedavg, each site" takes as many at each site, which is equal
time where the sites work at once.
"""
import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

import synthkit as sk
from synthkit.generators.generator import Generator

RESULTS = Path(__file__).parent / "results"
RECIPE = sk.Diffusion(options={"widths": (32, 48, 64)})
FAST = {"steps": 6, "solver": "adams", "shift": 2}
SITES = {"north": ("A", (20, 45), 0.1, 400), "south": ("B", (55, 90), 0.6, 200), "east": ("A", (55, 90), 0.6, 250), "west": ("B", (20, 45), 0.1, 150)}


def films(phantom: sk.ChestPhantom, name: str, count: int, *, seed: int) -> sk.Cohort:
    """Films of one site: its scanner, its ages and its share of effusions."""
    scanner, (young, old), share, _ = SITES[name]
    table = phantom.factors_table(40 * count, seed=seed)
    table = table[(table["site"] == scanner) & table["age"].between(young, old)]
    ill = table[table["effusion"] == "present"][: round(share * count)]
    well = table[table["effusion"] == "absent"][: count - len(ill)]
    table = pd.concat([ill, well]).reset_index(drop=True)
    like = phantom.cohort(1, seed=seed)
    raw = like.space.to_raw(phantom.render(table) * 2 - 1)
    return sk.Cohort.of(raw, table, schema=like.schema, space=like.space, provenance=like.provenance)


def phantom_setting(smoke: bool) -> dict[str, Any]:
    phantom, small = sk.ChestPhantom(size=32), 4 if smoke else 1
    train = {name: films(phantom, name, told[3] // small, seed=100 + number) for number, (name, told) in enumerate(SITES.items())}
    test = {name: films(phantom, name, 128 // small, seed=200 + number) for number, name in enumerate(SITES)}
    other = {name: films(phantom, name, 128 // small, seed=300 + number) for number, name in enumerate(SITES)}
    return {"train": train, "test": test, "other": other, "judge": phantom}


def nih_setting(smoke: bool) -> dict[str, Any]:
    data = sk.load("nih-cxr64", size=32)
    pool, test, other = data.split((0.5, 0.25, 0.25), by="patient_id", seed=0)
    parts = pool.split((1 / 3, 1 / 3, 1 / 3), by="patient_id", seed=1)
    return {"train": dict(zip(("one", "two", "three"), parts)), "test": {"all": test}, "other": {"all": other}, "judge": None}


def joined(parts: dict[str, sk.Cohort]) -> sk.Cohort:
    whole, *more = parts.values()
    for part in more:
        whole = whole + part
    return whole


def arms(train: dict[str, sk.Cohort], steps: int) -> dict[str, Callable[[], dict[str, Any]]]:
    """What each arm fits: generators by site (or one for all), bytes sent and images that were needed."""
    rounds, each = 10, steps // (10 * len(train))

    def federated(strategy: str, local_steps: int) -> dict[str, Any]:
        gen = sk.federate(RECIPE, train, rounds=rounds, local_steps=local_steps, strategy=strategy, seed=0)
        found = sk.federation(gen)
        return {"all": gen, "bytes": found.bytes, "lost": len(found.lost())}

    def alone() -> dict[str, Any]:
        return {"each": {name: RECIPE.fit(part, budget=sk.Steps(rounds * each), seed=0) for name, part in train.items()}, "bytes": 0}

    def exchanged() -> dict[str, Any]:
        shared = sk.exchange(RECIPE, train, budget=sk.Steps(steps // 2), local_budget=sk.Steps(steps // (2 * len(train))), seed=0)
        rows = shared.frame()
        return {"all": shared.generator, "bytes": int(rows["bytes_sent"].sum()), "sent": rows[["site", "images", "sent"]].to_dict("records")}

    return {
        "pooled": lambda: {"all": RECIPE.fit(joined(train), budget=sk.Steps(steps), seed=0), "bytes": sum(c.images.raw().nbytes for c in train.values())},
        "local only": alone, "fedavg": lambda: federated("fedavg", each), "fedprox": lambda: federated("fedprox", each),
        "exchanged": exchanged, "fedavg, each site": lambda: federated("fedavg", steps // rounds),
    }  # fmt: skip


def drawn(made: dict[str, Any], test: dict[str, sk.Cohort]) -> dict[str, sk.Cohort]:
    """Synthetic films for the requests of every test set; sites for themselves draw their own share."""
    found = {}
    for name, cohort in test.items():
        want = cohort.table[list(cohort.schema.names)]
        if "all" in made:
            found[name] = made["all"].using(**FAST).sample(want, seed=1)
        elif name in made["each"]:
            found[name] = made["each"][name].using(**FAST).sample(want, seed=1)
        else:  # one test set for all: each site draws an equal part of it
            rows = [part.reset_index(drop=True) for part in (want.iloc[start :: len(made["each"])] for start in range(len(made["each"])))]
            found[name] = joined({site: gen.using(**FAST).sample(part.assign(image_id=[f"{site}{i}" for i in range(len(part))]), seed=1)
                                  for (site, gen), part in zip(made["each"].items(), rows)})  # fmt: skip
    return found


def measured(fake: dict[str, sk.Cohort], setting: dict[str, Any], pool: sk.Cohort) -> list[dict[str, Any]]:
    """KID and adherence over all, and KID site by site."""
    judge = setting["judge"] or joined(setting["other"])
    whole = sk.evaluate(real=joined(setting["test"]), fake=joined(fake), train=pool, judge=judge, metrics=[sk.KID()]).frame()
    rows = [{"site": "all", **row} for row in whole.to_dict("records")]
    for name, cohort in fake.items() if len(fake) > 1 else ():
        rows.append({"site": name, **kid(setting["test"][name], cohort, pool)})
    return rows


def kid(real: sk.Cohort, other: sk.Cohort, pool: sk.Cohort) -> dict[str, Any]:
    """KID with its interval; the floor of a site is measured apart, between its own films."""
    row = sk.evaluate(real=real, fake=other, train=pool, metrics=[sk.KID()]).frame().iloc[0]
    return {name: row[name] for name in ("metric", "value", "low", "high", "n_real", "n_fake")}


def floors(setting: dict[str, Any], pool: sk.Cohort) -> dict[str, Any]:
    """KID between real films of each site that nothing was trained on."""
    return {name: kid(cohort, setting["other"][name], pool) for name, cohort in setting["test"].items()}


def compared(setting: dict[str, Any], steps: int) -> dict[str, Any]:
    pool, found = joined(setting["train"]), {}
    for name, fit in arms(setting["train"], steps).items():
        began = time.monotonic()
        try:
            made = fit()
        except sk.FitError as error:
            found[name] = {"seconds": round(time.monotonic() - began, 1), "failed": str(error)}
            print(name, error, flush=True)
            continue
        seconds = time.monotonic() - began
        rows = measured(drawn(made, setting["test"]), setting, pool)
        found[name] = {"seconds": round(seconds, 1), **{key: made[key] for key in ("bytes", "lost", "sent") if key in made}, "scores": rows}
        lines = (f"{row['site']} {row['metric']} {row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]" for row in rows)
        print(name, f"{seconds:.0f} s", *lines, sep="\n  ", flush=True)
    sites = {name: len(part) for name, part in setting["train"].items()}
    return {"steps in all": steps, "floors": floors(setting, pool), "sites": sites, "arms": found, "verdict": verdict(found)}


def verdict(found: dict[str, Any]) -> dict[str, Any]:
    """Whether an arm's KID lies above that of pooled training by no more than the width of the real-against-real floor."""
    over_all = {arm: next(row for row in told["scores"] if row["site"] == "all" and row["metric"] == "KID") for arm, told in found.items() if "scores" in told}
    pooled = over_all["pooled"]
    width = pooled["floor_high"] - pooled["floor_low"]
    excess = {arm: row["value"] - pooled["value"] for arm, row in over_all.items()}
    return {"floor width": width, "excess over pooled": excess, "within": {arm: bool(value <= width) for arm, value in excess.items()}}


def kill() -> dict[str, Any]:
    """Four processes over loopback; the node of one site is killed with round 1 on record."""
    sys.path.append(str(Path(__file__).parents[1]))
    from loopback import hospitals, killed, rows_of, wait_for
    from toys import SCHEMA, SMALL_NET, toy_cohort

    sites = {name: toy_cohort(24, prefix=name, seed=number) for number, name in enumerate(("north", "south", "west"))}
    recipe = sk.Diffusion(options=SMALL_NET, batch_size=16, steps=8, learning_rate=4e-3)
    with tempfile.TemporaryDirectory() as folder:
        began, place = time.monotonic(), Path(folder)
        with hospitals(place, sites, recipe, rounds=5, local_steps=10, timeout_s=150) as nodes:
            wait_for(lambda: len(rows_of(place)) >= 3, 200)
            killed(nodes["south"])
            wait_for((place / "out" / "generator" / "generator.json").is_file, 500)
        fake = Generator.load(place / "out" / "generator").sample(SCHEMA.grid(lesion=["present"]), seed=0)
    return {"seconds": round(time.monotonic() - began, 1), "rounds": 5, "events": fake.provenance.parents[0].recipe["federated"]["events"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("setting", choices=("phantom", "nih", "kill"))
    parser.add_argument("--steps", type=int, default=480)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    began, steps = time.monotonic(), 40 if args.smoke else args.steps
    if args.setting == "kill":
        found = kill()
    else:
        found = compared((phantom_setting if args.setting == "phantom" else nih_setting)(args.smoke), steps)
    found |= {"date": date.today().isoformat(), "seconds in all": round(time.monotonic() - began, 1)}
    text = json.dumps(found, indent=1, default=lambda value: value.item() if isinstance(value, np.generic) else str(value))
    if args.record:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"federated-{args.setting}.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
