"""Privacy: are copies found, are clean generators left alone, and what does the search cost beside plain ones?

    python tests/benchmarks/bench_privacy.py time [--queries 400 --references 100000] [--record]     # beside blockwise NumPy and scikit-learn, in one run
    python tests/benchmarks/bench_privacy.py verdicts [--seeds 20] [--minutes 12] [--record]          # chest phantom: clean, planted, memorising, rejection
    python tests/benchmarks/bench_privacy.py nih [--minutes 20] [--record]                            # real films, without and with differential privacy
    python tests/benchmarks/bench_privacy.py price [--minutes 8] [--record]                           # the same, started from phantoms too; KID and adherence
"""
import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

import synthkit as sk
from synthkit.core.figures import plane, png, sheet
from synthkit.core.intervals import wilson
from synthkit.core.provenance import Provenance
from synthkit.core.space import Channel, Space
from synthkit.metrics.copying.eye import PixelEye
from synthkit.metrics.copying.guard import NEXT, CopyGuard
from synthkit.metrics.copying.search import Gallery
from synthkit.studies.privacy.planting import planted

RESULTS = Path(__file__).parent / "results"
BLOCK = 2048
FAST = {"steps": 4, "solver": "adams", "shift": 2}


def shapes(count: int, seed: int) -> sk.Cohort:
    """Smooth random images of 64 x 64, drawn in no time."""
    draws, parts = torch.Generator().manual_seed(seed), []
    space = Space((64, 64), (Channel("grey"),)).sixteen_bit()
    for start in range(0, count, 10_000):
        coarse = torch.randn(min(10_000, count - start), 1, 8, 8, generator=draws)
        parts.append(space.to_raw((0.4 * F.interpolate(coarse, size=(64, 64), mode="bilinear")).clamp(-1, 1)))
    table = pd.DataFrame({"patient_id": [f"{seed}-{i}" for i in range(count)]})
    return sk.Cohort.of(np.concatenate(parts), table, schema=sk.Schema(()), space=space, provenance=Provenance("real", "shapes"))


def ours(queries: sk.Cohort, references: sk.Cohort) -> np.ndarray:
    return Gallery.of(PixelEye(2), references).nearest(queries, count=1 + NEXT).similarity


def plain_numpy(queries: sk.Cohort, references: sk.Cohort) -> np.ndarray:
    """All pairs, block by block, view by view."""
    eye, best = PixelEye(2), np.full((len(queries), 1 + NEXT), -1.0, np.float32)
    for start in range(0, len(references), BLOCK):
        rows = eye.rows(references.images.tensor(range(start, min(start + BLOCK, len(references))))).numpy()
        for first in range(0, len(queries), 256):
            seen = eye.seen(queries.images.tensor(range(first, min(first + 256, len(queries))))).numpy()
            alike = np.max([seen[:, view] @ rows.T for view in range(seen.shape[1])], axis=0)
            both = np.concatenate([best[first : first + 256], alike], axis=1)
            best[first : first + 256] = -np.sort(-np.partition(both, -(1 + NEXT), axis=1)[:, -(1 + NEXT) :], axis=1)
    return best


def plain_sklearn(queries: sk.Cohort, references: sk.Cohort) -> np.ndarray:
    """scikit-learn's brute-force neighbours of every view, then the best of all views."""
    from sklearn.neighbors import NearestNeighbors

    eye = PixelEye(2)
    rows = torch.cat([eye.rows(references.images.tensor(range(i, min(i + BLOCK, len(references))))) for i in range(0, len(references), BLOCK)]).numpy()
    seen = torch.cat([eye.seen(queries.images.tensor(range(i, min(i + 256, len(queries))))) for i in range(0, len(queries), 256)]).numpy()
    search = NearestNeighbors(n_neighbors=1 + NEXT, algorithm="brute").fit(rows)
    best = [dict() for _ in range(len(queries))]
    for view in range(seen.shape[1]):
        for found, distances, places in zip(best, *search.kneighbors(seen[:, view])):
            for distance, place in zip(distances, places):
                found[place] = max(found.get(place, -1.0), 1 - distance**2 / 2)
    return np.array([sorted(found.values(), reverse=True)[: 1 + NEXT] for found in best])


CONTENDERS = {"synthkit": ours, "blockwise NumPy": plain_numpy, "scikit-learn brute": plain_sklearn}


def held(what: str) -> float:
    """Memory of this process in MB: now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**10 for line in lines if line.startswith(what))


def one(name: str, queries: int, references: int) -> dict[str, object]:
    left, right = shapes(queries, 1), shapes(references, 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on (Linux)
    before, began = held("VmRSS"), time.perf_counter()
    found = CONTENDERS[name](left, right)
    seconds = time.perf_counter() - began
    return {"search": name, "queries": queries, "references": references, "seconds": seconds,
            "memory beyond the images (MB)": held("VmHWM") - before,
            "mean of the nearest": float(np.mean(found[:, 0])), "mean of all": float(np.mean(found))}  # fmt: skip


def timing(args: argparse.Namespace) -> dict[str, object]:
    rows = []
    for name, queries in [*((name, args.queries) for name in CONTENDERS), ("synthkit", args.all)]:
        line = [sys.executable, __file__, "time", "--one", name, "--queries", f"{queries}", "--references", f"{args.references}"]
        rows.append(json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout))
        print(rows[-1], flush=True)
    return {"rows": rows, "threads": torch.get_num_threads()}


def verdicts(args: argparse.Namespace) -> dict[str, object]:
    chest, rows = sk.ChestPhantom(64), []
    gen = sk.Generator.pretrained("chest-phantom-64").using(**FAST)
    train = chest.cohort(4096, seed=0)  # the first of the 32,768 that it learnt from
    guard, innocent = CopyGuard.of(train), []
    for seed in range(args.seeds):
        holdout = chest.cohort(500, seed=40_000 + seed)
        fake = gen.sample(chest.factors_table(500, seed=50_000 + seed), seed=seed)
        innocent.append([guard.copies(fake).sum(), guard.copies(holdout).sum()])
        found = sk.privacy(gen, train=train, holdout=holdout, fake=fake, seed=seed)
        attacks = found.attacks.set_index("attack")
        rows.append({"generator": "clean", "seed": seed, "verdict": found.verdict, "least p x tests": float(attacks["p"].min() * attacks["p"].count()),
                     "AUC of the loss": float(attacks.loc["loss tells members from new patients", "value"]),
                     **{f"power at {row.share:.0%}": row.found for row in found.power.itertuples()},
                     "caught": float(found.power["caught"].iloc[0])})  # fmt: skip
        if seed < 5:
            copies = planted(train, seed=seed, count=10)
            names = [f"copy-{seed}-{i}" for i in range(10)]
            copies = replace(copies, table=copies.table.assign(image_id=names, patient_id=names)[["image_id", "patient_id", *fake.schema.names]])
            mixed = fake[10:] + replace(copies, provenance=fake.provenance)
            told = sk.privacy(None, train=train, holdout=holdout, fake=mixed, seed=seed)
            among = set(told.pairs["image_id"]) & set(names)
            rows.append({"generator": "2 % planted", "seed": seed, "verdict": told.verdict, "copies among the 20 worst pairs": len(among)})
        print(rows[-1], flush=True)
    few = chest.cohort(40, seed=7000)
    parrot = sk.Diffusion().fit(few, budget=sk.Minutes(args.minutes), seed=0).using(**FAST)
    for name, table in (("their own factors", few.table), ("150 new factors", chest.factors_table(150, seed=5))):
        drawn = parrot.sample(table[list(few.schema.names)], seed=0)
        told = sk.privacy(parrot, train=few, holdout=chest.cohort(200, seed=31), fake=drawn)
        rows.append({"generator": f"40 patients, {args.minutes:g} minutes, {name}", "verdict": told.verdict, "attacks": told.attacks.to_dict("records")})
        print(rows[-1], flush=True)
    copies, images, caught = guard.copies(planted(train, seed=9, count=1000)), 500 * args.seeds, np.sum(innocent, axis=0)
    counts = {"planted": [int(copies.sum()), 1000], "synthetic": [int(caught[0]), images], "new patients": [int(caught[1]), images]}
    rejection = {name: {"rejected": k, "of": n, "interval": wilson(k, n)} for name, (k, n) in counts.items()}
    print(rejection, flush=True)
    return {"rows": rows, "rejection": rejection}


def nih(args: argparse.Namespace) -> dict[str, object]:
    """Real films: the verdict on a generator, the worst pairs as a picture, and what a bound of epsilon 8 costs."""
    train, holdout = sk.load("nih-cxr64").split((0.67, 0.33), by="patient_id", seed=0)
    patients, rows = train.table["patient_id"].nunique(), []
    print(f"{len(train)} films of {patients} patients to learn from, {len(holdout)} of {holdout.table['patient_id'].nunique()} held out", flush=True)
    started = time.perf_counter()
    bounded = sk.Diffusion(privacy=sk.DP(epsilon=8, delta=1e-3), batch_size=min(64, patients // 2))
    bounded.fit(train, budget=sk.Steps(4), seed=0)
    steps = max(50, int(args.minutes * 60 / (time.perf_counter() - started) * 4))
    fitted = {"no bound": sk.Diffusion().fit(train, budget=sk.Minutes(args.minutes), seed=0), "epsilon 8": bounded.fit(train, budget=sk.Steps(steps), seed=0)}
    for name, gen in fitted.items():
        fake = gen.using(**FAST).sample(train.table[list(train.schema.names)], seed=0)
        told = sk.privacy(gen, train=train, holdout=holdout, fake=fake)
        quality = sk.evaluate(real=holdout, fake=fake, train=train, judge=None, metrics=[sk.KID(), sk.Precision(), sk.Recall()]).frame()
        training = {key: gen.card.training.get(key) for key in ("seconds", "steps", "privacy")}
        rows.append({"generator": name, **training, "verdict": told.verdict, "reason": told.reason,
                     "attacks": told.attacks.to_dict("records"), "power": told.power.to_dict("records"),
                     "quality": quality[["metric", "value", "low", "high", "floor", "n_fake"]].to_dict("records")})  # fmt: skip
        print(json.dumps(rows[-1], indent=1, default=float), flush=True)
        place = {one: row for row, one in enumerate(told.train.table["image_id"])}
        pairs = [image for row, one in enumerate(told.pairs["train_image_id"]) for image in (told.fake.images[row], told.train.images[place[one]])]
        # Real pixels: for looking at, never for the repository.
        Path(args.pictures, f"worst-{name.replace(' ', '-')}.png").write_bytes(png(sheet([plane(image) for image in pairs], columns=8), scale=2))
    return {"patients": patients, "images": len(train), "rows": rows}


def price(args: argparse.Namespace) -> dict[str, object]:
    """What a bound of epsilon 8 costs on real films in KID and adherence, from nothing and from a start that has seen phantoms only."""
    train, judge, test = sk.load("nih-cxr64").split((0.6, 0.2, 0.2), by="patient_id", seed=0)
    patients = train.table["patient_id"].nunique()
    bounded = sk.Diffusion(privacy=sk.DP(epsilon=8, delta=1e-3), batch_size=min(64, patients // 2))
    started = time.perf_counter()
    bounded.fit(train, budget=sk.Steps(4), seed=0)
    steps, minutes = sk.Steps(max(50, int(args.minutes * 60 / (time.perf_counter() - started) * 4))), sk.Minutes(args.minutes)
    drawn = sk.ChestPhantom(64).cohort(8192, seed=77)
    columns = {name: drawn.table[name] if name in drawn.schema else None for name in train.schema.names}
    films = sk.Cohort(drawn.images, drawn.table[["image_id", "patient_id"]].assign(**columns), train.schema, drawn.provenance)
    phantoms = sk.Diffusion(batch_size=bounded.batch_size).fit(films, budget=minutes, seed=0)
    careful = replace(bounded, learning_rate=2e-4)
    arms = {
        "phantoms alone": lambda: phantoms,
        "no bound": lambda: sk.Diffusion().fit(train, budget=minutes, seed=0),
        "no bound, from phantoms": lambda: sk.Diffusion(learning_rate=2.5e-4).fit(train, budget=minutes, seed=0, start=phantoms),
        "epsilon 8": lambda: bounded.fit(train, budget=steps, seed=0),
        "epsilon 8, from phantoms": lambda: careful.fit(train, budget=steps, seed=0, start=phantoms),
        "epsilon 8, from phantoms, fewer steps": lambda: careful.fit(train, budget=sk.Steps(steps.count // 4), seed=0, start=phantoms),
    }  # fmt: skip
    rows, wanted = [], test.table[list(test.schema.names)]
    for name, fit in arms.items():
        gen = fit()
        fake = gen.using(**FAST).sample(pd.concat([wanted] * 3, ignore_index=True), seed=0)
        quality = sk.evaluate(real=test, fake=fake, train=train, judge=judge, metrics=[sk.KID(), sk.Precision(), sk.Recall()]).frame()
        rows.append({"generator": name, "steps": gen.card.training["steps"], "privacy": gen.card.training.get("privacy"),
                     "quality": quality[["metric", "group", "value", "low", "high", "floor", "reading", "n_fake"]].to_dict("records")})  # fmt: skip
        print(name, gen.card.training["steps"], quality[["metric", "group", "value", "low", "high", "floor", "reading"]].to_string(), flush=True)
        Path(args.pictures, f"price-{name.replace(' ', '-')}.png").write_bytes(png(sheet([plane(fake.images[i]) for i in range(32)], columns=8), scale=2))
    return {"patients": patients, "images": len(train), "held out": len(test), "rows": rows}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("part", choices=("time", "verdicts", "nih", "price"))
    options.add_argument("--queries", type=int, default=400)
    options.add_argument("--all", type=int, default=10_000, help="queries of synthkit's last search")
    options.add_argument("--references", type=int, default=100_000)
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--minutes", type=float, default=12)
    options.add_argument("--pictures", default=".", help="where the worst pairs of real films are drawn")
    options.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    options.add_argument("--record", action="store_true")
    args = options.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.queries, args.references)))
        return
    found = {"time": timing, "verdicts": verdicts, "nih": nih, "price": price}[args.part](args)
    if args.record:
        (RESULTS / f"privacy-{args.part}.json").write_text(json.dumps({"date": f"{date.today()}", **found}, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main()
